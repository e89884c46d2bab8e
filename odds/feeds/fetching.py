"""One HTTP GET, bounded in time, in bytes and in what it unpacks to."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import httpx

from odds.errors import FeedRefused, FeedUnavailable


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(
    client: httpx.Client,
    url: str,
    params: Mapping[str, str],
    *,
    source: str,
    secret: str,
    timeout_s: float,
    most_bytes: int,
) -> Answer:
    """Return the answer, whatever its status. `secret` is masked in every error.

    Raises FeedUnavailable when there is none within `timeout_s` (all of it: a server that sends a
    byte a second does not hold us), FeedRefused when it is larger than `most_bytes`.
    """
    deadline = time.monotonic() + timeout_s
    try:
        with client.stream(
            "GET",
            url,
            params=params,
            headers={"Accept-Encoding": "gzip", "Accept": "application/json"},
            timeout=timeout_s,
            follow_redirects=False,  # a redirect would carry the key to another address
        ) as response:
            body = _read(response, source, deadline, timeout_s, most_bytes)
            return Answer(response.status_code, response.headers, body)
    except httpx.HTTPError as error:
        # `from None`: httpx's own error holds the request, whose address holds the key.
        reason = f"{type(error).__name__}: {error}".replace(secret or "\0", "***").rstrip(": ")
    except zlib.error as error:
        raise FeedRefused(source, f"the answer is no valid gzip ({error})") from None
    raise FeedUnavailable(source, reason)


def _read(
    response: httpx.Response, source: str, deadline: float, timeout_s: float, most_bytes: int
) -> bytes:
    zipped = response.headers.get("content-encoding", "").lower() == "gzip"
    unzip = zlib.decompressobj(wbits=31)
    body = bytearray()
    for chunk in response.iter_raw():
        if time.monotonic() > deadline:
            raise FeedUnavailable(source, f"the answer was not complete after {timeout_s:g} s")
        # Never unpack more than is taken: a bomb of a kilobyte holds a megabyte.
        body += unzip.decompress(chunk, most_bytes + 1 - len(body)) if zipped else chunk
        if len(body) > most_bytes:
            raise FeedRefused(source, f"the answer is larger than {most_bytes} bytes")
    if zipped and body and not unzip.eof:
        raise FeedRefused(source, "the answer ends in the middle of its gzip")
    return bytes(body)
