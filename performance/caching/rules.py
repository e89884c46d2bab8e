"""The invalidation rules of a CacheConfig row: what besides its own tags ends a family's values.

- `tag:sport:soccer_epl`: whoever invalidates that tag; every entry carries it from then on.
- `model:odds.Price`: any write to the model's table, seen in the SQL, after its COMMIT.
- `every:60s` (s, m, h, d): each full multiple of that in Unix time, the same moment everywhere.
- `key:board*`: purging a family whose name fits, or one of its values (`key:board["soccer*`).

Pure but for the log: texts in, a Rules out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from performance.caching import policy as policies
from performance.caching.errors import UnusableRule
from performance.caching.policy import Override, Policy

logger = logging.getLogger(__name__)

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_TEXT = 200
MOST_RULES = 32
_EVERY = re.compile(r"([0-9]{1,9})([smhd])")
_MODEL = re.compile(r"([A-Za-z_]\w*)\.([A-Za-z_]\w*)", re.ASCII)
_TAG = re.compile(r"[!-~]+")  # what keys and headers carry: ASCII without spaces


@dataclass(frozen=True, slots=True)
class Rules:
    """What the texts of one row come to."""

    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """Labels in lower case, as `odds.price`."""
    every_s: float = 0
    """The shortest of them; 0 is none."""
    keys: tuple[str, ...] = ()
    """Patterns of readable keys, such as `board*` or `board["soccer_epl"]`."""


NONE = Rules()


def parse(texts: Iterable[str]) -> Rules:
    """Return the rules that `texts` say; UnusableRule names the first that says none.

    >>> parse(["every:5m", "every:60s", "model:odds.Price"])
    Rules(tags=(), models=('odds.price',), every_s=60, keys=())
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise UnusableRule(repr(texts), "the rules must be a list of texts")
    texts = list(texts)
    if len(texts) > MOST_RULES:
        raise UnusableRule(f"{len(texts)} rules", f"a row may have {MOST_RULES} at most")
    tags, models, keys, every_s = [], [], [], 0
    for text in texts:
        kind, what = _split(text)
        if kind == "tag":
            tags.append(_fitting(_TAG, text, what, "a tag is ASCII without spaces")[0])
        elif kind == "model":
            models.append(_fitting(_MODEL, text, what, "a model is app_label.Model")[0].lower())
        elif kind == "every":
            found = _fitting(_EVERY, text, what, "a time is a whole number and s, m, h or d")
            seconds = int(found[1]) * UNITS_S[found[2]]
            if not seconds:
                raise UnusableRule(text, "it must be at least one second")
            every_s = min(every_s or seconds, seconds)
        else:
            keys.append(_fitting(_TAG, text, what, "a pattern is ASCII without spaces")[0])
    return Rules(_once(tags), _once(models), every_s, _once(keys))


def parse_known(texts: Iterable[str]) -> Rules:
    """Like `parse` for rows that are in force; those that say nothing are left out, and logged.

    The admin refuses such a rule: somebody changed the row behind its back.
    """
    try:
        return parse(texts)
    except UnusableRule as error:
        logger.error("The rules of a cache are not in force. %s", error)
        return NONE


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _split(text: object) -> tuple[str, str]:
    if not isinstance(text, str):
        raise UnusableRule(repr(text), "it is no text")
    if len(text) > LONGEST_TEXT:
        raise UnusableRule(f"{text[:40]}…", f"it has more than {LONGEST_TEXT} characters")
    kind, colon, what = text.strip().partition(":")
    if not colon or kind not in ("tag", "model", "every", "key"):
        raise UnusableRule(text, "it begins with none of tag:, model:, every: and key:")
    return kind, what.strip()


def _fitting(pattern: re.Pattern[str], text: str, what: str, wanted: str) -> re.Match[str]:
    found = pattern.fullmatch(what)
    if found is None:
        raise UnusableRule(text, wanted)
    return found


def carried(rules: Rules, own: str, families: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that the entries of family `own` carry by its rules.

    A `key:` pattern stands for the own tags of all families whose name fits its part before `[`.
    """
    patterns = [pattern.partition("[")[0] for pattern in rules.keys]
    fitting = (
        f"family:{name}"
        for name in families
        if name != own and any(fnmatchcase(name, pattern) for pattern in patterns)
    )
    return _once((*rules.tags, *fitting))


def touches(rules: Rules, key: str) -> bool:
    """Return whether purging the one value `key`, such as `board["a"]`, ends a family's values."""
    # A bracket is a class to fnmatch; here it is the bracket of the key.
    return any(fnmatchcase(key, pattern.replace("[", "[[]")) for pattern in rules.keys)


def apply(
    defaults: Policy, override: Override | None, rules: Rules, also: tuple[str, ...]
) -> Policy:
    return policies.apply(defaults, override, every_s=rules.every_s, also=also)
