"""An answer's bytes in every encoding that we give it in, made once and kept. Pure."""

from __future__ import annotations

import gzip
import hashlib
import zlib

import brotli
import msgspec

ENCODE_FROM_BYTES = 512
BROTLI_QUALITY = 5
GZIP_LEVEL = 6
IDENTITY_LIMIT_BYTES = 64 * 1024 * 1024


class Body(msgspec.Struct, frozen=True, array_like=True):
    """`br` and `gzip` are None where encoding was not wanted or does not pay.

    Where there is a `gzip`, a body that is kept has no `plain`: few clients want it, it is most of
    the bytes to store and to read, and it comes out of the other at about 2 ms a megabyte.
    """

    plain: bytes | None
    etag: str
    """Hash of the identity bytes; each encoding adds its name, for a strong ETag of its own."""
    br: bytes | None = None
    gzip: bytes | None = None

    @classmethod
    def of(cls, identity: bytes, *, encoded: bool) -> Body:
        """Encode once (about 0.4 ms for 10 KB); TypeError when it is not bytes."""
        if not isinstance(identity, bytes):
            raise TypeError(
                f"The loader of a family with schema=bytes returned {type(identity).__name__}; "
                "it must return bytes."
            )
        etag = _hash(identity)
        if not encoded or len(identity) < ENCODE_FROM_BYTES:
            return cls(identity, etag)
        br = brotli.compress(identity, quality=BROTLI_QUALITY)
        # A fixed time, or the same answer would have other bytes under the same strong ETag.
        zipped = gzip.compress(identity, compresslevel=GZIP_LEVEL, mtime=0)
        worth = len(identity) * 0.95
        return cls(
            identity,
            etag,
            br if len(br) < worth else None,
            zipped if len(zipped) < worth else None,
        )

    def kept(self) -> Body:
        """Return it as it is stored and held: without what its gzip says already."""
        if self.plain is None or self.gzip is None:
            return self
        return Body(None, self.etag, self.br, self.gzip)

    @property
    def identity(self) -> bytes:
        """The bytes as they were given."""
        return _unzip(self.gzip or b"") if self.plain is None else self.plain

    def check(self) -> None:
        """Say by msgspec.ValidationError that a stored body cannot give its identity.

        Costs its decompression, so it is done once a body and process.
        """
        try:
            sound = _hash(self.identity) == self.etag
        except zlib.error:
            sound = False
        if not sound:
            raise msgspec.ValidationError("the stored body is not what its ETag says")

    def choose(self, accept_encoding: str) -> tuple[bytes, str, str]:
        """Return (bytes, encoding, ETag) for what the client accepts; encoding "" is identity."""
        if accept_encoding and (self.br is not None or self.gzip is not None):
            accepted = accepted_codings(accept_encoding)
            if self.br is not None and "br" in accepted:
                return self.br, "br", f'"{self.etag}-br"'
            if self.gzip is not None and "gzip" in accepted:
                return self.gzip, "gzip", f'"{self.etag}-gzip"'
        return self.identity, "", f'"{self.etag}"'


def _hash(identity: bytes) -> str:
    """SHA-256, which processors have an instruction for, to 128 bits."""
    return hashlib.sha256(identity).hexdigest()[:32]


def _unzip(zipped: bytes) -> bytes:
    """Return at most IDENTITY_LIMIT_BYTES: a bomb ends there, and its hash is then wrong."""
    return zlib.decompressobj(wbits=31).decompress(zipped, IDENTITY_LIMIT_BYTES)


_memo: dict[str, frozenset[str]] = {}
MEMO_LIMIT = 256


def accepted_codings(header: str) -> frozenset[str]:
    """Return which of br and gzip an Accept-Encoding header allows; q=0 forbids.

    >>> sorted(accepted_codings("gzip, deflate, br;q=0"))
    ['gzip']
    """
    known = _memo.get(header)
    if known is not None:
        return known
    qualities: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        quality = 1.0
        if (found := parameters.strip()).startswith("q="):
            try:
                quality = float(found[2:])
            except ValueError:
                quality = 0.0
        qualities[name.strip()] = quality
    rest = qualities.get("*", 0.0)
    accepted = frozenset(name for name in ("br", "gzip") if qualities.get(name, rest) > 0)
    if len(_memo) < MEMO_LIMIT:  # browsers send a few; whoever sends thousands fills nothing
        _memo[header] = accepted
    return accepted
