"""What a database needs looking after: bloat, vacuum, wraparound, sequences, and who replicates."""

from __future__ import annotations

from typing import Any

from django.db import Error, transaction

from performance.queries.activity import rows

# Estimates from statistics, as ioguix's pgsql-bloat-estimation describes the arithmetic: what the
# rows would take in fresh pages against the pages that there are. Reads the catalogue alone.
_TABLE_BLOAT = """
SELECT s.relname AS "table", pg_relation_size(c.oid) AS size_bytes,
       greatest(0, pg_relation_size(c.oid) - ceil(c.reltuples * (24 + 4 + w.width)
           / (current_setting('block_size')::int - 24))
           * current_setting('block_size')::int)::bigint
           AS wasted_bytes
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
CROSS JOIN LATERAL (
    SELECT sum((1 - null_frac) * avg_width) + count(*) / 8 AS width FROM pg_stats
    WHERE schemaname = s.schemaname AND tablename = s.relname
) w
WHERE c.reltuples > 1000 AND w.width > 0
ORDER BY wasted_bytes DESC LIMIT 15
"""

_INDEX_BLOAT = """
SELECT t.relname AS "table", c.relname AS "index", pg_relation_size(c.oid) AS size_bytes,
       greatest(0, pg_relation_size(c.oid) - ceil(c.reltuples * (8 + 4 + w.width) / 0.9
           / (current_setting('block_size')::int - 40))
           * current_setting('block_size')::int)::bigint
           AS wasted_bytes
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'public'
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT sum((1 - s.null_frac) * s.avg_width) AS width FROM pg_attribute x JOIN pg_stats s
        ON s.schemaname = 'public' AND s.tablename = t.relname AND s.attname = x.attname
    WHERE x.attrelid = t.oid AND x.attnum = ANY(i.indkey)
) w
WHERE c.reltuples > 1000 AND w.width > 0 AND i.indexprs IS NULL
ORDER BY wasted_bytes DESC LIMIT 15
"""

_VACUUM = """
SELECT s.relname AS "table", s.n_live_tup AS rows, s.n_dead_tup AS dead_rows,
       greatest(s.last_vacuum, s.last_autovacuum)::text AS vacuumed_at,
       greatest(s.last_analyze, s.last_autoanalyze)::text AS analyzed_at,
       age(c.relfrozenxid) AS xid_age
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid AND c.relkind <> 'p'
ORDER BY s.n_dead_tup DESC, s.relname LIMIT 20
"""

_WRAPAROUND = """
SELECT datname AS database, age(datfrozenxid) AS xid_age, mxid_age(datminmxid) AS multixact_age,
       age(datfrozenxid)::float8 / 2147483648 AS used_ratio,
       current_setting('autovacuum_freeze_max_age')::bigint AS frozen_at_age
FROM pg_database WHERE datallowconn ORDER BY xid_age DESC
"""

_SEQUENCES = """
SELECT sequencename AS sequence, data_type::text AS data_type,
       coalesce(last_value, 0) AS last_value,
       least(max_value, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647
           ELSE max_value END) AS max_value,
       coalesce(last_value, 0)::float8 / least(max_value, CASE a.atttypid WHEN 21 THEN 32767
           WHEN 23 THEN 2147483647 ELSE max_value END) AS used_ratio
FROM pg_sequences s
LEFT JOIN pg_depend d ON d.objid = format('%I.%I', s.schemaname, s.sequencename)::regclass
    AND d.classid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE s.schemaname = 'public' ORDER BY used_ratio DESC, sequencename LIMIT 15
"""

_REPLICATION = """
SELECT application_name, coalesce(client_addr::text, 'socket') AS client, state, sync_state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS behind_bytes,
       extract(epoch FROM write_lag)::float8 AS write_lag_s,
       extract(epoch FROM replay_lag)::float8 AS replay_lag_s
FROM pg_stat_replication ORDER BY application_name, client
"""

_SLOTS = """
SELECT slot_name AS slot, slot_type AS kind, active,
       pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS kept_bytes,
       coalesce(wal_status, 'none') AS wal_status
FROM pg_replication_slots ORDER BY slot_name
"""

_BLOCKS = {
    "table_bloat": _TABLE_BLOAT,
    "index_bloat": _INDEX_BLOAT,
    "vacuum": _VACUUM,
    "wraparound": _WRAPAROUND,
    "sequences": _SEQUENCES,
    "replication": _REPLICATION,
    "slots": _SLOTS,
}


def blocks() -> dict[str, Any]:
    """Return each list of rows by its name, and under `missing` what could not be read and why.

    Seven catalogue queries; one that our role may not ask leaves the others standing.
    """
    found: dict[str, Any] = {}
    missing: list[str] = []
    for name, sql in _BLOCKS.items():
        try:
            with transaction.atomic():
                found[name] = rows(sql)
        except Error as error:
            found[name] = []
            missing.append(f"{name.replace('_', ' ')}: {str(error).splitlines()[0]}")
    if missing:
        missing.append("A role with pg_monitor sees them: GRANT pg_monitor TO our role.")
    return {**found, "missing": missing}
