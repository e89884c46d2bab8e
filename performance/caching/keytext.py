"""Keys as people write them: `board["soccer_epl"]`, a family and its arguments as JSON.

So they read in messages, and what is read there can be given back to a command or a form. The
store's own name of a value (`protipp:v:board:1:<schema>:<digest>`) says the family and no more.
"""

from __future__ import annotations

import inspect
import re
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from performance.caching import runtime as runtimes
from performance.caching.conf import conf
from performance.caching.errors import UnknownFamily, UnreadableKey

if TYPE_CHECKING:
    from performance.caching.families import Family

_STORED = re.compile(r"(?P<family>.+):(?P<version>\d+):(?P<schema>[0-9a-f]+):(?P<digest>[0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class StoredName:
    """What the store's name of a value says. There is no way from the digest to the arguments."""

    key: str
    family: str
    version: int
    schema: str


def read_key(text: str) -> tuple[Family[..., Any], tuple[Any, ...]]:
    """Return the family and the arguments, each of the type that the function declares.

    Defaults are filled in. UnknownFamily lists those that there are; UnreadableKey says what the
    family takes.

    A JSON list becomes the tuple, and a text the date or Decimal, that the loader would get from
    its callers: otherwise it would be another key.
    """
    name, bracket, rest = text.strip().partition("[")
    family = _family(name)
    if not bracket:
        raise UnreadableKey(text, family.name, signature(family))
    try:
        given = msgspec.json.decode(bracket + rest, type=list[msgspec.Raw])
        declared = list(inspect.signature(family.__wrapped__).parameters.items())
        hints = _hints(family)
        if len(given) > len(declared):
            raise UnreadableKey(text, family.name, signature(family))
        arguments = [
            _frozen(msgspec.json.decode(raw, type=hints.get(parameter, Any)))
            for raw, (parameter, _) in zip(given, declared, strict=False)
        ]
        return family, family.bind(arguments, {})
    except (msgspec.MsgspecError, TypeError) as error:
        raise UnreadableKey(text, family.name, signature(family)) from error


def signature(family: Family[..., Any]) -> str:
    """Return how the family is called, such as `board(sport: str)`."""
    parameters = inspect.signature(family.__wrapped__).parameters.values()
    return f"{family.name}({', '.join(map(str, parameters))})".replace("'", "")


def stored_name(key: str) -> StoredName | None:
    """Return what the store's name of a value says; None for a lease, a generation, or no key."""
    prefix = f"{conf().namespace}:v:"
    match = _STORED.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    if match is None:
        return None
    return StoredName(key, match["family"], int(match["version"]), match["schema"])


def _family(name: str) -> Family[..., Any]:
    found: Family[..., Any] | None = runtimes.families().get(name.strip())
    if found is None:
        raise UnknownFamily(name, sorted(runtimes.families()))
    return found


def _hints(family: Family[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(family.__wrapped__)
    except (NameError, TypeError):  # a name that only a type checker sees
        return {}


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
