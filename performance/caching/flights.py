"""One computation at a time for a key in this process; the others wait for it, within a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any


class _Flight:
    __slots__ = ("done", "error", "owner", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.owner = threading.get_ident()
        self.value: Any = None
        self.error: BaseException | None = None


class Flights:
    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._lock = threading.Lock()

    def run(self, key: Hashable, compute: Callable[[], Any], *, wait_s: float) -> tuple[Any, bool]:
        """Return what `compute` gives, and whether we waited for somebody else's.

        `key` must hold whatever makes two computations different, the generations seen too:
        whoever came after an invalidation must not be given what was read before it. An error is
        shared by those who waited. After `wait_s` a waiter computes by itself.
        """
        with self._lock:
            flight = self._flights.get(key)
            leading = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if leading:
            return self._lead(key, flight, compute), False
        # A loader that asks for its own key would wait for itself.
        if flight.owner == threading.get_ident() or not flight.done.wait(wait_s):
            return compute(), False
        if flight.error is not None:
            raise flight.error
        return flight.value, True

    def _lead(self, key: Hashable, flight: _Flight, compute: Callable[[], Any]) -> Any:
        try:
            flight.value = compute()
        except BaseException as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.done.set()
        return flight.value
