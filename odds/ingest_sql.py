"""The statements of ingest. Each takes a whole batch: their number is the same for any size."""

from __future__ import annotations

CREATE_INCOMING = """
CREATE TEMPORARY TABLE IF NOT EXISTS odds_incoming (
    k integer NOT NULL,            -- which price of the batch this is
    n integer NOT NULL,            -- its place in the batch: of one price, later ones win
    event_id bigint NOT NULL,
    bookmaker_id smallint NOT NULL,
    market text NOT NULL,
    outcome text NOT NULL,
    point numeric(9, 3),
    price numeric(12, 6),          -- null: withdrawn
    last_update timestamptz
) ON COMMIT DELETE ROWS
"""

EMPTY_INCOMING = "TRUNCATE pg_temp.odds_incoming"

COPY_INCOMING = "COPY pg_temp.odds_incoming FROM STDIN"

TAKE_PRICE_IDS = """
SELECT nextval('odds_price_id_seq'::regclass) FROM generate_series(1, %s)
"""

COPY_PRICES = """
COPY odds_price (
    id, event_id, bookmaker_id, market, outcome, point, price, last_update, changed_at, seen_at,
    suspended_at
) FROM STDIN
"""

COPY_CHANGES = """
COPY odds_pricechange (price_id, recorded_at, event_id, price, last_update) FROM STDIN
"""

KEEP_MARKETS = """
UPDATE odds_event e SET markets = ARRAY(SELECT jsonb_array_elements_text(given.markets) ORDER BY 1)
FROM unnest(%s::bigint[], %s::jsonb[]) AS given (id, markets) WHERE e.id = given.id
"""

# Every writer locks its events here first, in the order of their keys and in one statement, so
# two batches about the same events follow each other and never wait in a circle. The impossible
# condition locks what is there without writing it. The ids that conflicts use up are bigints. It
# returns the keys of the events that were not there.
LOCK_EVENTS = """
INSERT INTO odds_event (key, sport_id, commence_time, date_only, home_team, away_team)
SELECT * FROM unnest(
    %s::text[], %s::text[], %s::timestamptz[], %s::boolean[], %s::text[], %s::text[]
) AS given (key, sport_id, commence_time, date_only, home_team, away_team)
ORDER BY key
ON CONFLICT (key) DO UPDATE SET key = excluded.key WHERE false
RETURNING key
"""

READ_EVENTS = """
SELECT key, id, sport_id, commence_time, date_only, home_team, away_team
FROM odds_event WHERE key = ANY(%s::text[])
"""

# Readers hold what they have read of an event as long as its revision stands (`held`), so whatever
# changes an event or its prices changes that too, in the same statement. A clock and not a count:
# a database that was set back to an earlier state must not give a number out again.
_REVISED = (
    "revision = greatest(e.revision + 1, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint)"
)

# The sheets of a corrected event say the same, and are of its new revision.
CORRECT_EVENTS = f"""
WITH corrected AS (
UPDATE odds_event e
SET commence_time = given.commence_time, date_only = given.date_only,
    home_team = given.home_team, away_team = given.away_team, {_REVISED}
FROM unnest(
    %s::text[], %s::timestamptz[], %s::boolean[], %s::text[], %s::text[]
) AS given (key, commence_time, date_only, home_team, away_team)
WHERE e.key = given.key
RETURNING e.id, e.revision
)
UPDATE odds_sheet s SET revision = c.revision FROM corrected c WHERE s.event_id = c.id
"""

ADD_SPORTS = """
INSERT INTO odds_sport (key, "group", title, active, has_outrights)
SELECT key, CASE WHEN key ~ '^(soccer|football_data)_' THEN 'Soccer' ELSE '' END, title,
    true, false
FROM unnest(%s::text[], %s::text[]) AS given (key, title)
ORDER BY key
ON CONFLICT (key) DO NOTHING
"""

ADD_BOOKMAKERS = """
INSERT INTO odds_bookmaker (key, title, is_exchange, commission, active)
SELECT key, title, is_exchange, commission, true
FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::numeric[])
    AS given (key, title, is_exchange, commission)
ORDER BY key
ON CONFLICT (key) DO NOTHING
"""

# `events` narrows each look at odds_price to the batch's own; without it the planner reads all of
# the table to hash it, and an import slows down with what was imported before.
#
# One merge for all. `seen` is each quote beside what is stored; `fresh` leaves out the late ones;
# `moves` are the fresh ones that differ from what came before. The history of a price is strictly
# ordered: its next time is at least a microsecond after `changed_at`, which is its last one.
_SEEN = """
WITH seen AS (
    SELECT i.*, p.id AS price_id, p.changed_at, p.last_update AS stored_update,
        CASE WHEN p.suspended_at IS NULL THEN p.price END AS stored {windows}
    FROM pg_temp.odds_incoming i
    LEFT JOIN odds_price p ON p.event_id = ANY(%(events)s::bigint[])
        AND p.event_id = i.event_id AND p.market = i.market
        AND p.bookmaker_id = i.bookmaker_id AND p.outcome = i.outcome
        AND p.point IS NOT DISTINCT FROM i.point
    {window}
)"""

# The common case: each price once. Windows over fifty thousand rows would double the work.
_MOVES_ONCE = (
    _SEEN.format(windows="", window="")
    + """, fresh AS (
    SELECT *, stored AS previous, last_update AS newest, true AS is_latest FROM seen
    WHERE last_update IS NULL OR stored_update IS NULL OR last_update >= stored_update
), moves AS MATERIALIZED (
    SELECT *, true AS is_last,
        greatest(%(at)s::timestamptz, changed_at + interval '1 microsecond') AS recorded_at
    FROM fresh WHERE price IS DISTINCT FROM previous
"""
)

# Some prices several times. A run of quotes of one price that ends where the price already stands,
# and is not newer, is a batch that comes again: only its last quote counts, or history would be
# told twice.
_MOVES_REPEATED = (
    _SEEN.format(
        windows=""",
        greatest(p.last_update, max(i.last_update) OVER earlier) AS newest_before,
        max(i.last_update) OVER whole AS newest,
        last_value(i.price) OVER whole AS final,
        count(*) OVER whole AS steps""",
        window="""WINDOW
        earlier AS (PARTITION BY k ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
        whole AS (
            PARTITION BY k ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        )""",
    )
    + """, fresh AS (
    SELECT *, lag(price, 1, stored) OVER (PARTITION BY k ORDER BY n) AS previous,
        n = max(n) OVER (PARTITION BY k) AS is_latest
    FROM seen
    WHERE last_update IS NULL OR newest_before IS NULL OR last_update >= newest_before
), moves AS MATERIALIZED (
    SELECT *, n = max(n) OVER (PARTITION BY k) AS is_last,
        greatest(%(at)s::timestamptz, changed_at + interval '1 microsecond')
            + (row_number() OVER (PARTITION BY k ORDER BY n) - 1) * interval '1 microsecond'
            AS recorded_at
    FROM fresh
    WHERE price IS DISTINCT FROM previous
        AND NOT (
            steps > 1 AND price_id IS NOT NULL AND final IS NOT DISTINCT FROM stored
            AND (newest IS NULL OR newest <= stored_update)
        )
"""
)

_STORE = f"""), revised AS (
    UPDATE odds_event e SET {_REVISED},
        markets = CASE WHEN f.added IS NULL OR f.added <@ e.markets::text[] THEN e.markets
            ELSE ARRAY(SELECT DISTINCT unnest(e.markets || f.added) ORDER BY 1) END
    FROM (
        SELECT event_id, array_agg(DISTINCT market)
            FILTER (WHERE price_id IS NULL AND price IS NOT NULL) AS added
        FROM fresh GROUP BY event_id
    ) f
    WHERE e.id = ANY(%(events)s::bigint[]) AND e.id = f.event_id
), new_ids AS MATERIALIZED (
    SELECT k, nextval('odds_price_id_seq'::regclass) AS id
    FROM (SELECT DISTINCT k FROM moves WHERE price_id IS NULL) AS unknown
), inserted AS (
    INSERT INTO odds_price (
        id, event_id, bookmaker_id, market, outcome, point, price, last_update,
        changed_at, seen_at, suspended_at
    )
    SELECT new_ids.id, event_id, bookmaker_id, market, outcome, point, coalesce(price, previous),
        newest, recorded_at, %(at)s, CASE WHEN price IS NULL THEN recorded_at END
    FROM moves JOIN new_ids USING (k)
    WHERE is_last
), changed AS (
    UPDATE odds_price p
    SET price = coalesce(m.price, m.previous, p.price),
        last_update = CASE
            WHEN m.price IS NULL THEN greatest(p.last_update, m.newest) ELSE m.newest
        END,
        changed_at = m.recorded_at,
        seen_at = greatest(%(at)s, p.seen_at),
        suspended_at = CASE WHEN m.price IS NULL THEN m.recorded_at END
    FROM moves m
    WHERE p.id = m.price_id AND m.is_last AND p.event_id = ANY(%(events)s::bigint[])
), confirmed AS (
    UPDATE odds_price p
    SET seen_at = greatest(%(at)s, p.seen_at), last_update = greatest(p.last_update, f.newest)
    FROM fresh f
    WHERE p.id = f.price_id AND f.is_latest AND p.event_id = ANY(%(events)s::bigint[])
        AND NOT EXISTS (SELECT FROM moves m WHERE m.k = f.k)
), history AS (
    INSERT INTO odds_pricechange (price_id, recorded_at, event_id, price, last_update)
    SELECT coalesce(price_id, new_ids.id), recorded_at, event_id, price, last_update
    FROM moves LEFT JOIN new_ids USING (k)
), counts AS (
    SELECT count(*) FILTER (WHERE price_id IS NULL AND is_last) AS inserted,
        count(*) FILTER (
            WHERE price IS NOT NULL AND NOT (price_id IS NULL AND is_last)
        ) AS changed,
        count(*) FILTER (
            WHERE price IS NULL AND NOT (price_id IS NULL AND is_last)
        ) AS withdrawn,
        count(*) AS moved
    FROM moves
)
SELECT c.inserted, c.changed, c.withdrawn,
    (SELECT count(*) FROM fresh) - c.moved AS unchanged,
    (SELECT count(*) FROM seen) - (SELECT count(*) FROM fresh) AS late,
    (
        SELECT coalesce(json_agg(pair), '[]')
        FROM (SELECT DISTINCT event_id, market FROM moves) AS pair
    )::text AS touched,
    CASE WHEN c.moved <= %(most_changes)s THEN (
        SELECT coalesce(json_agg(json_build_object(
            'event', e.key, 'sport', e.sport_id, 'bookmaker', b.key, 'market', m.market,
            'outcome', m.outcome, 'point', trim_scale(m.point), 'price', trim_scale(m.price),
            'previous', trim_scale(m.stored), 'last_update', m.newest
        ) ORDER BY m.n), '[]')
        FROM moves m
        JOIN odds_event e ON e.id = m.event_id
        JOIN odds_bookmaker b ON b.id = m.bookmaker_id
        WHERE m.is_last
    ) END::text AS changes
FROM counts c
"""

MERGE_ONCE = _MOVES_ONCE + _STORE
MERGE_REPEATED = _MOVES_REPEATED + _STORE

# A plan made for a batch of ten quotes would crawl with fifty thousand, whose rows fit this memory.
PLAN_FOR_THIS_BATCH = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
    set_config('work_mem', '64MB', true)
"""

KEEP_CURSOR = """
INSERT INTO odds_feedcursor (source, cursor, updated_at) VALUES (%s, %s::jsonb, now())
ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor, updated_at = now()
"""

KEEP_MESSAGE = """
INSERT INTO odds_outboxmessage (tags, message) VALUES (%s::jsonb, %s::jsonb) RETURNING id
"""
