import pytest

from performance.queries.n_plus_one import remedy

EVENT = 'SELECT "odds_event"."id", "odds_event"."key" FROM "odds_event"'


@pytest.mark.parametrize(
    ("sql", "others", "said"),
    [
        (
            'SELECT "odds_sport"."key" FROM "odds_sport" WHERE "odds_sport"."key" = %s LIMIT 21',
            [EVENT],
            'select_related("sport") to the query of Event',
        ),
        (
            'SELECT * FROM "odds_price" WHERE "odds_price"."event_id" = %s',
            [EVENT],
            'prefetch_related("prices") to the query of Event',
        ),
        (
            'SELECT * FROM "odds_event" WHERE "odds_event"."key" = %s',
            [],
            "Event.objects.filter(key__in=[…])",
        ),
        ('SELECT * FROM "odds_sport" WHERE "odds_sport"."key" = %s', [], "Sport.objects.in_bulk"),
        ("SELECT 1 FROM nowhere WHERE a = %s", [], "= ANY(%s)"),
        ("no SQL (", ["neither ("], "= ANY(%s)"),
    ],
)
def test_the_remedy_names_what_to_add_and_where(sql, others, said):
    assert said.lower() in remedy(sql, others).lower()
