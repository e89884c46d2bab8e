"""Our own schema without the indexes that matter, filled, and asked as its readers ask.

Also run by itself, against the server of DATABASE_URL: `python stripped.py`, after `migrate`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

FILL = """
INSERT INTO odds_sport SELECT 'sport_' || n, '', 'Sport ' || n, true, false
FROM generate_series(1, 40) n;
INSERT INTO odds_bookmaker (key, title, is_exchange, commission, active)
SELECT 'book' || n, 'Book ' || n, false, 0, true FROM generate_series(1, 8) n;
INSERT INTO odds_event (key, sport_id, commence_time, date_only, home_team, away_team)
SELECT md5(n::text), 'sport_' || 1 + n % 40, now() + (n - 2000) * interval '1 hour', false, 'H', 'A'
FROM generate_series(1, 3000) n;
INSERT INTO odds_price (event_id, bookmaker_id, market, outcome, price, last_update)
SELECT e.id, b.id, 'h2h', o.outcome, 2.5, now()
FROM odds_event e, odds_bookmaker b, (VALUES ('H'), ('A')) o (outcome) WHERE e.id % 4 = 0;
UPDATE odds_event e SET markets = '{h2h}'
WHERE EXISTS (SELECT FROM odds_price p WHERE p.event_id = e.id);
INSERT INTO odds_pricechange (price_id, recorded_at, event_id, price)
SELECT id, now() + n * interval '1 ms', event_id, price FROM odds_price, generate_series(1, 2) n;
ANALYZE odds_event; ANALYZE odds_price; ANALYZE odds_bookmaker; ANALYZE odds_sport;
ANALYZE odds_pricechange
"""
STRIP = """
DROP INDEX event_of_sport; DROP INDEX event_by_time; DROP INDEX history_of_event;
ALTER TABLE odds_price DROP CONSTRAINT one_price_an_outcome;
ALTER TABLE odds_event DROP CONSTRAINT odds_event_key_key CASCADE
"""
KEY = "DROP INDEX IF EXISTS odds_event_key_a620d407_like"
SPORT = "sport_7"


def prepare(cursor):
    """Fill, strip and ask; what was asked is all that the server's statistics hold."""
    from odds import answers, boards, history, partitions

    partitions.make_sure_of(datetime.now(UTC))
    for statement in (FILL + ";" + STRIP + ";" + KEY).split(";"):
        cursor.execute(statement)
    cursor.execute("SELECT key FROM odds_event ORDER BY id LIMIT 1")
    key = cursor.fetchone()[0]
    cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    cursor.execute("SELECT pg_stat_statements_reset()")
    for _ in range(2):
        boards.board(SPORT, market="h2h", total=1)
        boards.event(key)
        boards.sports()
        answers.odds(SPORT)
        answers.event_odds(key)
        answers.odds(answers.UPCOMING)
        history.moves(key, 0)


def main():
    import django

    django.setup()
    from django.db import connection

    from performance.queries import plans, services

    with connection.cursor() as cursor:
        prepare(cursor)
    found = services.optimizer.advise()
    with connection.cursor() as cursor:
        # On the connection that advised: what was imagined there must be gone.
        plan = plans.explain(cursor, "SELECT id FROM odds_event WHERE key = 'x'")
    migrate(services.optimizer.migration("odds", found))
    told = {
        "version": plans.server_version(),
        "advices": [advice.as_dict() for advice in found],
        "plan_after_advising": plan["Node Type"],
        "advised_after_migrating": len(services.optimizer.advise()),
    }
    json.dump(told, sys.stdout)


def migrate(text):
    """Run a migration as `migrate` would, without a file."""
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    namespace = {}
    exec(compile(text, "migration", "exec"), namespace)
    migration = namespace["Migration"]("9999_advised", "odds")
    with connection.schema_editor(atomic=False) as editor:
        migration.apply(MigrationLoader(connection).project_state(), editor)


if __name__ == "__main__":
    main()
