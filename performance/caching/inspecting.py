"""One stored value under the glass: what it is worth, why, and what it says. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from performance.caching import keytext, looking, vault
from performance.caching import runtime as runtimes
from performance.caching.bodies import Body
from performance.caching.conf import conf
from performance.caching.copies import Ticket, assess, ticket
from performance.caching.envelope import TOKEN_BYTES, Envelope, State, Unreadable, unseal

SHOWN_BYTES = 32 * 1024
"""More of a value is not shown: a page is no place for four megabytes."""


@dataclass(frozen=True, slots=True)
class TagState:
    """One tag of a value: the generation that it was computed from, and the one there is now."""

    tag: str
    seen: str
    now: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Inspected:
    """Times in seconds; None where nothing is stored, or nothing says so."""

    key: str
    family: str
    stored_as: str
    state: str
    """fresh, stale, fallback, miss or unreadable."""
    why: str
    age_s: float | None = None
    fresh_for_s: float | None = None
    kept_for_s: float | None = None
    cost_ms: float | None = None
    stored_bytes: int | None = None
    payload_bytes: int | None = None
    compressed: bool = False
    in_memory: bool = False
    """In the memory of the process that answers; every process has its own."""
    tags: tuple[TagState, ...] = ()
    value: str | None = None
    """The value as JSON, text as it is; at most SHOWN_BYTES of it."""
    cut: bool = False


def inspect(text: str) -> Inspected:
    """Look at `board["soccer_epl"]`, or at the store's own name of a value.

    UnknownFamily and UnreadableKey for what is neither; StoreAway without a store. Two round trips.
    """
    name = keytext.stored_name(text.strip())
    if name is not None:
        return _by_stored_name(name)
    family, arguments = keytext.read_key(text)
    this = ticket(family, arguments)
    key = family.readable_key(arguments)
    stored, kept_for_s = _fetch(this.key)
    in_memory = family.memory.get(arguments) is not None
    if stored is None:
        why = (
            "Nothing is stored: it was never asked for, or has run out, or was purged or evicted."
            if this.policy.strategy != "memory"
            else "The family keeps its values in each process's memory only."
        )
        return Inspected(key, family.name, this.key, "miss", why, in_memory=in_memory)
    generations = this.runtime.store.read(list(this.generation_keys))
    try:
        envelope = _open(stored, this.key)
    except Unreadable as error:
        return _unreadable(key, family.name, this.key, stored, error)
    state = assess(family, this, [stored, *generations]).state
    tags = _tags(this, envelope, generations)
    return Inspected(
        key,
        family.name,
        this.key,
        state.value,
        _why(state, tags),
        in_memory=in_memory,
        tags=tags,
        fresh_for_s=_fresh_for_s(this, envelope, state),
        **_facts(envelope, stored, kept_for_s),
        **_shown(envelope.payload, is_body=family.schema is bytes),
    )


def _by_stored_name(name: keytext.StoredName) -> Inspected:
    """Show what a name of the store holds: without arguments nobody can say what its tags are."""
    family = runtimes.families().get(name.family)
    stored, kept_for_s = _fetch(name.key)
    if stored is None:
        return Inspected(name.key, name.family, name.key, "miss", "Nothing is stored under it.")
    try:
        envelope = _open(stored, name.key)
    except Unreadable as error:
        return _unreadable(name.key, name.family, name.key, stored, error)
    seen = [token[:TOKEN_BYTES].hex() for token in envelope.generations]
    return Inspected(
        name.key,
        name.family,
        name.key,
        "stored",
        "The store's name does not say the arguments, so neither its tags nor whether it would "
        "still be served. Give the arguments to see both.",
        tags=tuple(TagState("–", token, "–", "unknown") for token in seen),
        **_facts(envelope, stored, kept_for_s),
        **_shown(envelope.payload, is_body=family is not None and family.schema is bytes),
    )


def _fetch(key: str) -> tuple[bytes | None, float | None]:
    with looking.guarded() as client:
        pipeline = client.pipeline(transaction=False)
        pipeline.get(key)
        pipeline.pttl(key)
        stored, left_ms = pipeline.execute()
    return stored, left_ms / 1000 if left_ms >= 0 else None


def _open(stored: bytes, key: str) -> Envelope:
    name = keytext.stored_name(key)
    schema = name.schema if name else ""
    return unseal(stored, schema=schema, max_bytes=conf().max_value_bytes, unlock=vault.unlock(key))


def _unreadable(
    key: str, family: str, stored_as: str, stored: bytes, error: Unreadable
) -> Inspected:
    why = f"What is stored is no entry of ours (its {error} is wrong): readers compute instead."
    return Inspected(key, family, stored_as, "unreadable", why, stored_bytes=len(stored))


def _facts(envelope: Envelope, stored: bytes, kept_for_s: float | None) -> dict[str, Any]:
    return {
        "age_s": max(0.0, runtimes.current().clock() - envelope.created_s),
        "kept_for_s": kept_for_s,
        "cost_ms": envelope.cost_ms,
        "stored_bytes": len(stored),
        "payload_bytes": len(envelope.payload),
        "compressed": len(stored) < len(envelope.payload),
    }


def _fresh_for_s(this: Ticket, envelope: Envelope, state: State) -> float | None:
    if state is not State.FRESH:
        return None
    ends_s = this.policy.fresh_until_s(envelope.created_s, envelope.soft_s, envelope.ttl_s)
    return max(0.0, ends_s - this.runtime.clock())


def _tags(
    this: Ticket, envelope: Envelope, generations: Sequence[bytes | None]
) -> tuple[TagState, ...]:
    if len(envelope.generations) != len(this.tags):
        return ()
    found = zip(this.tags, envelope.generations, generations, strict=True)
    return tuple(
        TagState(tag, seen.hex(), "" if now is None else now.hex(), _verdict(seen, now))
        for tag, seen, now in found
    )


def _verdict(seen: bytes, now: bytes | None) -> str:
    if seen == now:
        return "same"
    if now is None:
        return "gone"
    if len(now) != len(seen):
        return "being changed"
    return "softly invalidated" if seen[:TOKEN_BYTES] == now[:TOKEN_BYTES] else "invalidated"


_WHY = {
    State.FRESH: "It is served as it is.",
    State.STALE: "It is served once more while it is refreshed behind: it is past its time, or "
    "was invalidated softly.",
    State.FALLBACK: "It is served only when refreshing fails.",
}


def _why(state: State, tags: Sequence[TagState]) -> str:
    if state is not State.MISS:
        return _WHY[state]
    if not tags:
        return "It was stored under other tags than it has now, so it is never served."
    changed = [f"{tag.tag} is {tag.verdict}" for tag in tags if tag.verdict != "same"]
    if not changed:
        return "It is older than its family allows even when refreshing fails."
    return f"It is never served again: {', '.join(changed)}."


def _shown(payload: bytes, *, is_body: bool) -> dict[str, Any]:
    try:
        value = msgspec.msgpack.decode(payload, type=Body if is_body else Any)
    except msgspec.MsgspecError:
        return {"value": None}
    text = _text(value.identity if isinstance(value, Body) else value)
    return {"value": text[:SHOWN_BYTES], "cut": len(text) > SHOWN_BYTES}


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    try:
        return msgspec.json.format(value, indent=2).decode()
    except msgspec.DecodeError:
        pass  # a page, not JSON: as it is
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"{len(value):,} bytes that are no text, beginning {value[:32].hex(' ')}"
