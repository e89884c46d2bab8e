"""What becomes of a family's values: bytes for the store, and what memory may hand to many."""

from __future__ import annotations

from typing import Any

import cachebox
import msgspec

from performance.caching import keys
from performance.caching.bodies import Body


class Codec:
    """One a family. `schema` is checked at each decoding; bytes are kept as an encoded Body."""

    def __init__(self, schema: Any, *, encoded: bool) -> None:
        stored = Body if schema is bytes else schema
        self.schema_hash = keys.schema_hash(stored)
        self.immutable = keys.is_immutable(stored)
        self.as_it_is = self.immutable and stored is not Body
        """True when what memory holds is what a caller gets."""
        self._is_body = schema is bytes
        self.compressed = self._is_body and encoded
        """True when the bytes are encoded already, so that compressing them gains nothing."""
        self._checked: cachebox.LRUCache[str, int] = cachebox.LRUCache(1024)
        self._decode = msgspec.msgpack.Decoder(stored).decode

    def encode(self, value: Any) -> tuple[Any, bytes]:
        """Return the value as a `Found` holds it, and its bytes for the store.

        TypeError when msgspec or the schema cannot hold it.
        """
        if not self._is_body:
            payload = msgspec.msgpack.encode(value)
            return self.hold(payload), payload
        # Of what was encoded just now nothing needs to be unpacked to be believed.
        body = value if isinstance(value, Body) else Body.of(value, encoded=self.compressed)
        if body.gzip is not None:
            self._checked.insert(body.etag, hash(body.gzip))
        return body, msgspec.msgpack.encode(body.kept())

    def kept(self, held: Any) -> Any:
        """Return what memory keeps of what a `Found` holds."""
        return held.kept() if self._is_body else held

    def hold(self, payload: bytes) -> Any:
        """Return what memory keeps: the value if nobody can change it, else its bytes.

        msgspec.MsgspecError when the payload is not what the schema says.
        """
        value = self._decode(payload)
        if self.compressed and value.plain is None:
            zipped = hash(value.gzip)
            if self._checked.get(value.etag) != zipped:
                value.check()
                self._checked.insert(value.etag, zipped)
        return value if self.immutable else payload

    def give(self, held: Any) -> Any:
        """Return to a caller what `hold` kept; a mutable value is the caller's own."""
        value = held if self.immutable else self._decode(held)
        return value.identity if self._is_body else value
