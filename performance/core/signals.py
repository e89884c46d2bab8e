"""How a room reports a number without knowing who listens; only monitoring does.

`observe` and `gauge` are the hot path: until a recorder is installed they cost one call of an
empty function. Kinds in use: `request`, `sql`, `cache`, `task`, `http_out`, `socket`, `price_age`.
"""

from __future__ import annotations

from typing import Protocol

from django.dispatch import Signal

measured = Signal()
"""Sent for rare events worth a mark on a chart. Arguments: `kind`, `key`, `value`, `unit`."""

invalidated = Signal()
"""Sent once the cache's store has forgotten some tags, so never before COMMIT; for whoever keeps
copies outside. Arguments: `tags` as answers' headers write them, only those that public answers may
carry, and `soft`: whether copies may be served stale. Receivers do not wait: readers stand behind.
"""


class Recorder(Protocol):
    def observe(self, kind: str, key: str, seconds: float, ok: bool = True) -> None: ...

    def count(self, kind: str, key: str, amount: int = 1) -> None: ...

    def gauge(self, kind: str, key: str, value: float) -> None: ...


class _Nobody:
    """The recorder until monitoring installs its own."""

    def observe(self, kind: str, key: str, seconds: float, ok: bool = True) -> None:
        pass

    def count(self, kind: str, key: str, amount: int = 1) -> None:
        pass

    def gauge(self, kind: str, key: str, value: float) -> None:
        pass


recorder: Recorder = _Nobody()
"""Call it through the module (`signals.recorder.observe(...)`): it is replaced at start."""


def install(new: Recorder) -> None:
    global recorder
    recorder = new
