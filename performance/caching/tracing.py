"""Spans of what a cache does that takes time, for whoever traces requests; nothing until asked.

A hit makes none: it costs less than a span would.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol


class Tracer(Protocol):
    """What is needed of a tracer; OpenTelemetry's has it."""

    def start_as_current_span(
        self, name: str, *, attributes: dict[str, Any]
    ) -> AbstractContextManager[Any]: ...


_tracer: Tracer | None = None


def trace(tracer: Tracer | None) -> None:
    """Make spans with `tracer` from now on: `cache.compute` around a miss, whoever computes,
    `cache.load` around a loader, `cache.invalidate` around telling the store; None ends it."""
    global _tracer
    _tracer = tracer


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    if _tracer is None:
        return nullcontext()
    named = {f"cache.{key}": value for key, value in attributes.items()}
    return _tracer.start_as_current_span(name, attributes=named)
