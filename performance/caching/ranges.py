"""Which bytes of an answer a client wants, as RFC 9110 (14.2) has it: one range or all. Pure."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{0,18})|-\s*([0-9]{1,18}))\s*", re.ASCII)

NOWHERE = (0, 0)
"""A range that begins behind the end: the answer is 416."""


def wanted(header: str, if_range: str, etag: str, length: int) -> tuple[int, int] | None:
    """Return (first byte, one behind the last), NOWHERE, or None for the whole answer.

    Several ranges, other units and what is no range are answered whole, as the RFC allows. So is
    any range when `if_range` names another ETag, a weak one or a date.

    >>> wanted("bytes=-500", "", '"e"', 10_000)
    (9500, 10000)
    """
    found = _ONE.fullmatch(header) if header else None
    if found is None or (if_range and if_range.strip() != etag):
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        count = min(int(suffix), length)
        return (length - count, length) if count else NOWHERE
    begin = int(first)
    if last and int(last) < begin:
        return None
    if begin >= length:
        return NOWHERE
    return begin, min(int(last) + 1 if last else length, length)
