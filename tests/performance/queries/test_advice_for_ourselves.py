"""On our own schema, stripped of its indexes, the advisor finds back what matters and no more."""

from django.db import connection

from performance.queries import services

from . import stripped

MATTER = {
    ("odds_event", "key"),
    ("odds_event", "sport_id"),
    ("odds_price", "event_id"),
    ("odds_pricechange", "event_id"),
}


def test_the_indexes_that_matter_are_found_back_nothing_useless_and_then_it_rests(db):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        stripped.prepare(cursor)
        advices = services.optimizer.advise()
        found = {(one.table, one.columns[0]) for one in advices}

        assert MATTER <= found <= MATTER | {("odds_event", "commence_time")}
        assert all(one.gain_ratio > 0.3 and one.size_bytes > 0 for one in advices)

        for advice in advices:
            cursor.execute(f"CREATE INDEX {advice.name} {advice.definition}")
        assert services.optimizer.advise() == []
