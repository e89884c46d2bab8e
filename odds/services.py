"""The door of odds: what the project's other parts may call."""

from __future__ import annotations

from odds.ingest import IngestReport, ingest

__all__ = ["IngestReport", "ingest"]
