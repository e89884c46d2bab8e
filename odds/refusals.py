"""What could not be taken, kept apart with its reason until staff have looked at it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from odds.feeds.parsed import Skipped
from odds.models import RefusedQuote
from odds.quote_checks import Refusal

KEEP = """
INSERT INTO odds_refusedquote (source, fingerprint, quote, reason, times)
SELECT source, fingerprint, quote, reason, times FROM unnest(
    %s::text[], %s::text[], %s::jsonb[], %s::text[], %s::integer[]
) AS given (source, fingerprint, quote, reason, times)
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE
SET times = odds_refusedquote.times + excluded.times, last_seen_at = now(), quote = excluded.quote
"""
TEXT_LENGTH = 200
REASON_LENGTH = 400


def keep(source: str, refused: Sequence[Refusal], *, most: int) -> None:
    """Store `refused` quotes, at most `most` of them, in one statement; none costs nothing."""
    rows = [(_as_json(refusal.quote), refusal.reason) for refusal in refused[:most]]
    _store(source, rows)


def keep_answer(source: str, reason: str, sample: str) -> None:
    """Store the beginning of a whole answer that could not be taken."""
    _store(source, [({"answer": _clean(sample)}, reason)])


def keep_skipped(source: str, skipped: Sequence[Skipped], *, most: int) -> None:
    """Store cells and recordings that a parser left out, at most `most` of them."""
    rows = [
        ({"column": _clean(one.column), "value": _clean(one.value)}, one.reason)
        for one in skipped[:most]
    ]
    _store(source, rows)


def forget_older_than(days: int, *, now: datetime) -> int:
    """Delete what was last seen more than `days` days ago; returns how many rows."""
    deleted, _ = RefusedQuote.objects.filter(last_seen_at__lt=now - timedelta(days=days)).delete()
    return deleted


def _store(source: str, rows: list[tuple[dict[str, Any], str]]) -> None:
    if not rows:
        return
    merged: dict[str, list[Any]] = {}
    for quote, reason in rows:
        reason = _clean(reason)[:REASON_LENGTH]
        # Neither its time nor a whole answer is part of what was wrong: the same error page a
        # minute later, with another number on it, is the same row.
        identity = json.dumps([source, {**quote, "last_update": "", "answer": ""}, reason])
        fingerprint = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        row = merged.setdefault(fingerprint, [source[:120], fingerprint, "", reason, 0])
        row[2] = json.dumps(quote)
        row[4] += 1
    with connection.cursor() as cursor:
        cursor.execute(KEEP, [list(column) for column in zip(*merged.values(), strict=True)])


def _as_json(quote: Any) -> dict[str, Any]:
    return {
        name: None if (value := getattr(quote, name)) is None else _clean(str(value))[:TEXT_LENGTH]
        for name in quote.__struct_fields__
    }


def _clean(text: str) -> str:
    """PostgreSQL keeps neither NUL nor lone surrogates."""
    return text.replace("\0", "␀").encode("utf-8", "replace").decode()
