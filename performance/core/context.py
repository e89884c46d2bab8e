"""What is being served right now, for whoever counts or comments: one ContextVar, no imports."""

from __future__ import annotations

from contextvars import ContextVar

route: ContextVar[str] = ContextVar("route", default="")
"""The URL pattern, task or command that runs, such as `events/<str:key>/`; empty outside of any."""

actor: ContextVar[str] = ContextVar("actor", default="")
"""Who does the act that runs, by user name; empty outside of an act."""
