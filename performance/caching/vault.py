"""Values encrypted and signed where they lie in the store, when the settings name secrets.

AES-256-GCM over the payload. Signed with it are the value's name in the store and the head of its
envelope (times, generations), so that whoever can write to the store can change no value, make none
up, and put none in another's place. The head itself stays readable: it is what purges look for.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache, partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from performance.caching.conf import conf
from performance.caching.envelope import Crypt, Unreadable

NONCE_BYTES = 12


class Vault:
    """The first of `secrets` locks, each of them opens: so they can be changed without a miss."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._keys = [AESGCM(hashlib.sha256(secret.encode()).digest()) for secret in secrets]

    def lock(self, name: bytes, data: bytes, head: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._keys[0].encrypt(nonce, data, name + b"\0" + head)

    def unlock(self, name: bytes, locked: bytes, head: bytes) -> bytes:
        """Return what was locked; Unreadable when none of the secrets has locked it as it is."""
        nonce, rest = locked[:NONCE_BYTES], locked[NONCE_BYTES:]
        for key in self._keys:
            try:
                return key.decrypt(nonce, rest, name + b"\0" + head)
            except (InvalidTag, ValueError):  # ValueError: too short to be one of ours
                continue
        raise Unreadable("signature")


def lock(key: str) -> Crypt | None:
    """Return what locks the value of that name in the store; None when values lie open."""
    secrets = conf().secrets
    return partial(_vault(tuple(secrets)).lock, key.encode()) if secrets else None


def unlock(key: str) -> Crypt | None:
    secrets = conf().secrets
    return partial(_vault(tuple(secrets)).unlock, key.encode()) if secrets else None


@lru_cache(maxsize=4)
def _vault(secrets: tuple[str, ...]) -> Vault:
    return Vault(secrets)
