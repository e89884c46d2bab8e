"""A market of a size that shows what does not scale: 1,000,000 prices, 20,000,000 changes.

The current prices are the simulator's, through the real ingest; the history is made out of them in
the server, in partitions of a day, because ingesting twenty million quotes would take an hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

EVENTS_A_BATCH = 1_000
DAYS = 20
"""Days of history; each price moved once on each of them, at an instant of its own."""


def fill(*, prices: int = 1_000_000, days: int = DAYS) -> tuple[int, int]:
    """Fill an empty, migrated database; returns (prices, changes) that are there.

    A million prices with twenty days take about five minutes and 4 GB.
    """
    stored = _ingest(prices)
    changes = _history(days)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for table in ("odds_price", "odds_event", "odds_bookmaker", "odds_pricechange"):
            cursor.execute(f"VACUUM (ANALYZE) {table}")
    return stored, changes


def _ingest(prices: int) -> int:
    """Ingest whole simulated markets of a thousand matches, each by a seed of its own."""
    from odds.feeds.simulate import Market, everything
    from odds.services import ingest

    stored, seed = 0, 0
    while stored < prices:
        seed += 1
        market = Market(
            seed=seed,
            epoch=datetime.now(UTC).replace(microsecond=0),
            events=EVENTS_A_BATCH,
            bookmakers=13,
        )
        stored += ingest(everything(market, 0)).inserted
    return stored


def _history(days: int) -> int:
    """Give every price one change a day, back from yesterday; one statement a day."""
    from odds import partitions

    changes = 0
    today = datetime.now(UTC).date()
    for back in range(1, days + 1):
        day = today - timedelta(days=back)
        partitions.ensure(day)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            # As ingest leaves it: in order of time, so neighbours are of many events.
            cursor.execute(
                """
                INSERT INTO odds_pricechange (price_id, recorded_at, event_id, price, last_update)
                SELECT id, at, event_id, round(price * (0.97 + 0.06 * random())::numeric, 2) + 0.1,
                    at - interval '3 seconds'
                FROM (
                    SELECT *, %s::timestamptz + random() * interval '23 hours 59 minutes' AS at
                    FROM odds_price
                ) moved
                ORDER BY at
                """,
                [f"{day} 00:00+00"],
            )
            changes += cursor.rowcount
    return changes
