"""What lies in the store around a value, and what makes it fresh, stale or nothing. Pure.

Bytes: one byte of format, CRC-32 of the rest, then a msgpack array. A flipped bit, another
format, a bomb or another schema is Unreadable, which callers count and treat as a miss.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

import msgspec
import zstandard

from performance.caching.policy import Policy

FORMAT = b"\x02"
HEAD_BYTES = 5
ZSTD_LEVEL = 1
TOKEN_BYTES = 8
GENERATION_BYTES = 2 * TOKEN_BYTES
"""A generation is a hard and a soft token. Any other length is a poison: some transaction is about
to change what is under the tag, so nothing of it may be served, nor kept."""


Crypt = Callable[[bytes, bytes], bytes]
"""Given a payload and the head of its envelope, returns it locked, or unlocked."""


class Unreadable(Exception):
    """Stored bytes that are no envelope of ours; `args[0]` says why in a word or two."""


class State(Enum):
    FRESH = "fresh"
    STALE = "stale"
    """May be served while it is refreshed."""
    FALLBACK = "fallback"
    """May be served only when the refresh fails."""
    MISS = "miss"


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    schema: str
    created_s: float
    """Unix time at which the loader began, by the clock of the process that computed it."""
    soft_s: float
    """Unix time until which it is fresh."""
    ttl_s: float
    """How long the value itself says it is good for; the policy in force may say less."""
    cost_ms: float
    """What the loader took."""
    generations: tuple[bytes, ...]
    """Of the family and of each tag, as they were before the loader ran."""
    compressed: bool
    payload: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_local = threading.local()  # zstandard's objects must not be shared between threads


def seal(
    envelope: Envelope, *, compress_from_bytes: int | None, lock: Crypt | None = None
) -> bytes:
    """Return the bytes to store; None never compresses, or leaves the payload open."""
    payload = envelope.payload
    if compress_from_bytes is not None and len(payload) >= compress_from_bytes:
        smaller = _compressor().compress(payload)
        if len(smaller) < len(payload):
            envelope = msgspec.structs.replace(envelope, compressed=True, payload=smaller)
    if lock is not None:
        locked = lock(envelope.payload, _head(envelope))
        envelope = msgspec.structs.replace(envelope, payload=locked)
    body = _encoder.encode(envelope)
    return FORMAT + zlib.crc32(body).to_bytes(4, "big") + body


def unseal(stored: bytes, *, schema: str, max_bytes: int, unlock: Crypt | None = None) -> Envelope:
    """Return the envelope, its payload unlocked and decompressed; Unreadable for anything else."""
    if stored[:1] != FORMAT or len(stored) > max_bytes + 4096:
        raise Unreadable("format" if stored[:1] != FORMAT else "size")
    body = memoryview(stored)[HEAD_BYTES:]
    if zlib.crc32(body) != int.from_bytes(stored[1:HEAD_BYTES], "big"):
        raise Unreadable("checksum")
    try:
        envelope = _decoder.decode(body)
    except msgspec.MsgspecError:
        raise Unreadable("shape") from None
    if envelope.schema != schema:
        raise Unreadable("schema")
    if unlock is not None:
        opened = unlock(envelope.payload, _head(envelope))
        envelope = msgspec.structs.replace(envelope, payload=opened)
    if envelope.compressed:
        payload = _decompress(envelope.payload, max_bytes)
        return msgspec.structs.replace(envelope, compressed=False, payload=payload)
    return envelope


def _head(envelope: Envelope) -> bytes:
    """Return all of it but the payload, the same before it was stored and after."""
    times = (envelope.created_s, envelope.soft_s, envelope.ttl_s, envelope.cost_ms)
    return _encoder.encode(
        (envelope.schema, *map(float, times), envelope.generations, envelope.compressed)
    )


def _decompress(payload: bytes, max_bytes: int) -> bytes:
    try:
        # The frame's own claim comes first: decompress() would allocate whatever it says.
        if not 0 <= zstandard.frame_content_size(payload) <= max_bytes:
            raise Unreadable("size")
        return _decompressor().decompress(payload)
    except zstandard.ZstdError:
        raise Unreadable("compression") from None


def poisoned(generations: Iterable[bytes | None]) -> bool:
    """Return whether a strict transaction is open, or died, that changes what these stand for."""
    return any(there is not None and len(there) != GENERATION_BYTES for there in generations)


def judge(
    envelope: Envelope, generations: Sequence[bytes | None], *, now_s: float, policy: Policy
) -> State:
    """Say what the envelope is worth now, under the policy in force now.

    A generation is two tokens: the hard one and the soft one. Another hard token, or none at all
    (evicted), makes it a miss; another soft token makes it stale at best.
    """
    if len(generations) != len(envelope.generations):
        return State.MISS
    softened = False
    for seen, current in zip(envelope.generations, generations, strict=True):
        if seen == current:
            continue
        if current is None or seen[:TOKEN_BYTES] != current[:TOKEN_BYTES]:
            return State.MISS
        softened = True
    created_s, ttl_s = envelope.created_s, envelope.ttl_s
    if not softened and now_s < policy.fresh_until_s(created_s, envelope.soft_s, ttl_s):
        return State.FRESH
    if now_s < policy.ends_s(created_s, ttl_s, policy.stale_s):
        return State.STALE
    if now_s < policy.ends_s(created_s, ttl_s):
        return State.FALLBACK
    return State.MISS


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True)
    compressor: zstandard.ZstdCompressor = _local.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _local.decompressor
    return decompressor
