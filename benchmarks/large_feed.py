"""A feed over the large market in a process of its own, as feeds run.

`python -m benchmarks.large_feed SECONDS CHANGES_A_S` changes prices four times a second and prints
as JSON how it went. Half of the changes are of matches that begin within a day or are in play,
where prices move most.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

BATCHES_A_S = 4
PRICES = 60_000
"""Different prices that move, half of them of the matches of the coming day."""

_PRICES = """
(SELECT e.key, b.key, p.market, p.outcome, p.point, p.price
 FROM odds_event e JOIN odds_price p ON p.event_id = e.id JOIN odds_bookmaker b
    ON b.id = p.bookmaker_id
 WHERE e.commence_time BETWEEN now() - interval '4 hours' AND now() + interval '1 day'
 ORDER BY random() LIMIT %(half)s)
UNION ALL
(SELECT e.key, b.key, p.market, p.outcome, p.point, p.price
 FROM odds_event e JOIN odds_price p ON p.event_id = e.id JOIN odds_bookmaker b
    ON b.id = p.bookmaker_id
 WHERE e.commence_time > now() + interval '1 day'
 ORDER BY random() LIMIT %(half)s)
"""


def main(seconds: float, changes_a_s: int) -> None:
    import django

    django.setup()
    from django.db import connection

    from benchmarks import large_queries
    from odds.services import ingest

    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(_PRICES, {"half": PRICES // 2})
        rows = cursor.fetchall()
    chance = random.Random(5)
    batch_ms: list[float] = []
    changed, started = 0, time.monotonic()
    cpu_s, server_cpu_s = time.process_time(), large_queries.server_cpu_s()
    sys.stdout.write("moving\n")
    sys.stdout.flush()
    while (now := time.monotonic()) < started + seconds:
        picked = chance.sample(range(len(rows)), changes_a_s // BATCHES_A_S)
        changed += ingest(_batch(rows, picked, chance)).changed
        batch_ms.append((time.monotonic() - now) * 1e3)
        due = started + len(batch_ms) / BATCHES_A_S
        time.sleep(max(0.0, due - time.monotonic()))
    took_s = time.monotonic() - started
    percent = statistics.quantiles(batch_ms, n=100)
    found = {
        "changes_a_s": changed / took_s,
        "p50_ms": percent[49],
        "p99_ms": percent[98],
        "node_cpu_ms": (time.process_time() - cpu_s) * 1e3 / len(batch_ms),
        "server_cpu_ms": (large_queries.server_cpu_s() - server_cpu_s) * 1e3 / len(batch_ms),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _batch(rows: list[Any], picked: list[int], chance: random.Random) -> Any:
    from benchmarks.large_market import titles
    from odds.quotes import Batch, Quote

    now = datetime.now(UTC)
    quotes = []
    for place in picked:
        event, bookmaker, market, outcome, point, price = rows[place]
        moved = max(Decimal("1.01"), round(price * Decimal(0.98 + 0.04 * chance.random()), 2))
        if moved == price:
            moved += Decimal("0.01")
        rows[place] = (event, bookmaker, market, outcome, point, moved)
        quotes.append(
            Quote(
                event_key=event,
                bookmaker_key=bookmaker,
                market=market,
                outcome=outcome,
                point=point,
                price=moved,
                last_update=now,
            )
        )
    return Batch(source="benchmark", events=[], bookmakers=titles(), quotes=quotes)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
