"""A market of a size that shows what does not scale: 1,000,000 prices, 20,000,000 changes.

Made inside the server, because ingesting twenty million quotes would take an hour: 158
competitions, the largest with hundreds of coming matches and most with a few dozen, 13 bookmakers,
three markets; a history in which each price moved once a day. What is read lies as ingest leaves
it: the prices of an event together, its history between that of all others.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

SPORTS = 158
"""As many as The Odds API has."""
PRICES_AN_EVENT = 84.5
DAYS = 20
"""Days of history; each price moved once on each of them, at an instant of its own."""
SLIPS = 60
"""Events at which one bookmaker's price is far off, so that there are arbitrages to list."""
BOOKMAKERS = 13

_SPORTS = """
INSERT INTO odds_sport (key, "group", title, active, has_outrights)
SELECT CASE n %% 2 WHEN 0 THEN 'soccer' ELSE 'basketball' END || '_league_' || n,
    CASE n %% 2 WHEN 0 THEN 'Soccer' ELSE 'Basketball' END, 'League ' || n, true, false
FROM generate_series(1, %s) n
"""
_BOOKMAKERS = """
INSERT INTO odds_bookmaker (key, title, is_exchange, commission, active)
SELECT 'book' || n, 'Bookmaker ' || n, false, 0, true FROM generate_series(1, %s) n
"""
# The larger a competition, the closer together are its matches; some of each are in play.
_EVENTS = """
INSERT INTO odds_event (key, sport_id, commence_time, date_only, home_team, away_team,
    first_seen_at, markets)
SELECT md5(key || ' ' || i), key, date_trunc('minute', now() + (i - size * 0.015)
    * interval '12 days' / size), false, 'Home Town ' || i, 'Away City ' || i,
    now() - interval '21 days', '{h2h,spreads,totals}'
FROM (
    SELECT key, greatest(%(least)s, %(largest)s / substring(key FROM '[0-9]+$')::int) AS size
    FROM odds_sport
) s, generate_series(1, s.size) i
"""
# A share for home, a margin of some 5 % and each bookmaker's own taste; no arbitrage.
_PRICES = """
INSERT INTO odds_price (event_id, bookmaker_id, market, outcome, point, price, last_update,
    changed_at, seen_at)
SELECT e.id, b.id, o.market, o.outcome, o.point,
    round((1 / o.chance / (1.05 + 0.008 * random()))::numeric, 2), t.at, t.at, t.at
FROM (
    SELECT *, 0.25 + 0.5 * (id * 7919 %% 1000) / 1000.0 AS share,
        CASE WHEN sport_id LIKE 'soccer%%' THEN 0.26 ELSE 0 END AS drawn
    FROM odds_event
) e
CROSS JOIN odds_bookmaker b
CROSS JOIN LATERAL (VALUES
    ('h2h', e.home_team, NULL::numeric, e.share * (1 - e.drawn)),
    ('h2h', 'Draw', NULL, e.drawn),
    ('h2h', e.away_team, NULL, (1 - e.share) * (1 - e.drawn)),
    ('totals', 'Over', 2.5, 0.48), ('totals', 'Under', 2.5, 0.52),
    ('spreads', e.home_team, -0.5, 0.53), ('spreads', e.away_team, 0.5, 0.47)
) o (market, outcome, point, chance)
CROSS JOIN LATERAL (SELECT now() - (20 + b.id) * interval '1 second' AS at) t
WHERE o.chance > 0
ORDER BY e.id, o.market
"""
# In order of time, as batches come, so that neighbours are of many events.
_HISTORY = """
INSERT INTO {table} (price_id, recorded_at, event_id, price, last_update)
SELECT id, at, event_id, round(price * (0.97 + 0.06 * random())::numeric, 2),
    at - interval '3 seconds'
FROM (
    SELECT id, event_id, price,
        %s::timestamptz + random() * interval '23 hours 59 minutes' AS at
    FROM odds_price
) moved
ORDER BY at
"""


def fill(*, prices: int = 1_000_000, days: int = DAYS) -> tuple[int, int]:
    """Fill an empty, migrated database; returns (prices, changes) that are there.

    A million prices with twenty days take some minutes and 4 GB.
    """
    wanted = round(prices / PRICES_AN_EVENT)
    least = max(2, round(wanted / SPORTS * 0.72))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET maintenance_work_mem = '512MB'")
        cursor.execute("SET work_mem = '256MB'")
        cursor.execute(_SPORTS, [SPORTS])
        cursor.execute(_BOOKMAKERS, [BOOKMAKERS])
        cursor.execute(_EVENTS, {"least": least, "largest": round(wanted / 16)})
        cursor.execute(_PRICES, {})
        stored = cursor.rowcount
        cursor.execute("VACUUM (ANALYZE) odds_price")
        _kept(cursor)
        changes = sum(_day(back) for back in range(1, days + 1))
        for table in (
            "odds_event",
            "odds_bookmaker",
            "odds_sport",
            "odds_sheet",
            "odds_pricechange",
        ):
            cursor.execute(f"VACUUM (ANALYZE) {table}")
        cursor.execute("CHECKPOINT")
        cursor.execute("RESET work_mem")
    _slip()
    return stored, changes


def _kept(cursor: Any) -> None:
    """Write what ingest writes beside events and prices."""
    from odds import calendars, sheets

    cursor.execute("SELECT key FROM odds_sport")
    calendars.keep(cursor, [row[0] for row in cursor.fetchall()])
    cursor.execute("SELECT id, unnest(markets) FROM odds_event")
    sheets.keep(cursor, cursor.fetchall())


def titles() -> dict[str, str]:
    return {f"book{number}": f"Bookmaker {number}" for number in range(1, BOOKMAKERS + 1)}


def _day(back: int) -> int:
    """Give every price one change on that day: filled first, indexed after, which is quicker."""
    from odds import partitions

    day = datetime.now(UTC).date() - timedelta(days=back)
    table, after = partitions.name_of(day), day + timedelta(days=1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (LIKE {partitions.TABLE} INCLUDING DEFAULTS)")
        cursor.execute(_HISTORY.format(table=table), [f"{day} 00:00+00"])
        changes = int(cursor.rowcount)
        cursor.execute(
            f"ALTER TABLE {partitions.TABLE} ATTACH PARTITION {table} "
            f"FOR VALUES FROM ('{day} 00:00+00') TO ('{after} 00:00+00')"
        )
    partitions.settle(day)
    return changes


def _slip() -> None:
    """Let a bookmaker misprice some matches, through ingest, so that it finds the arbitrages."""
    from odds.quotes import Batch, Quote
    from odds.services import ingest

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.key, e.home_team, max(p.price) FROM odds_event e "
            "JOIN odds_price p ON p.event_id = e.id AND p.market = 'h2h' "
            "AND p.outcome = e.home_team WHERE e.commence_time > now() + interval '1 hour' "
            "GROUP BY e.id ORDER BY md5(e.key) LIMIT %s",
            [SLIPS],
        )
        rows = cursor.fetchall()
    chance = random.Random(1)
    ingest(
        Batch(
            source="benchmark",
            events=[],
            bookmakers=titles(),
            quotes=[
                Quote(
                    event_key=key,
                    bookmaker_key=f"book{1 + number % BOOKMAKERS}",
                    market="h2h",
                    outcome=home,
                    point=None,
                    price=round(price * Decimal(1.08 + 0.1 * chance.random()), 2),
                    last_update=datetime.now(UTC),
                )
                for number, (key, home, price) in enumerate(rows)
            ],
        )
    )
