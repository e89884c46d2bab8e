"""What the catalogue says about our indexes and tables: unused, duplicate, invalid, large."""

from __future__ import annotations

from typing import Any

from performance.queries.activity import rows


def unused() -> list[dict[str, Any]]:
    """Return the indexes that no scan has used since the statistics began, largest first.

    Unique ones and primary keys are left out: they hold a promise, used or not.
    """
    return rows(
        """
        SELECT s.relname AS "table", s.indexrelname AS "index",
               pg_relation_size(s.indexrelid) AS size_bytes
        FROM pg_stat_user_indexes s JOIN pg_index i USING (indexrelid)
        WHERE s.idx_scan = 0 AND NOT i.indisunique AND i.indisvalid
        ORDER BY size_bytes DESC
        """
    )


def duplicate() -> list[dict[str, Any]]:
    """Return the plain indexes whose columns another index of the table begins with."""
    return rows(
        """
        SELECT a.indrelid::regclass::text AS "table", a.indexrelid::regclass::text AS "index",
               b.indexrelid::regclass::text AS covered_by,
               pg_relation_size(a.indexrelid) AS size_bytes
        FROM pg_index a JOIN pg_index b ON b.indrelid = a.indrelid AND b.indexrelid <> a.indexrelid
        JOIN pg_class ca ON ca.oid = a.indexrelid JOIN pg_class cb ON cb.oid = b.indexrelid
        JOIN pg_namespace n ON n.oid = ca.relnamespace AND n.nspname = 'public'
        WHERE NOT a.indisunique AND a.indisvalid AND b.indisvalid
          AND a.indexprs IS NULL AND b.indexprs IS NULL
          AND a.indpred IS NULL AND b.indpred IS NULL
          AND ca.relam = cb.relam
          AND (b.indkey::text || ' ') LIKE (a.indkey::text || ' %')
          AND (b.indclass::text || ' ') LIKE (a.indclass::text || ' %')
          AND (a.indkey::text <> b.indkey::text OR a.indexrelid > b.indexrelid)
        ORDER BY size_bytes DESC
        """
    )


def invalid() -> list[dict[str, Any]]:
    """Return the indexes that a failed CREATE INDEX CONCURRENTLY left: they cost and never help."""
    return rows(
        """
        SELECT indrelid::regclass::text AS "table", indexrelid::regclass::text AS "index"
        FROM pg_index WHERE NOT indisvalid ORDER BY 1, 2
        """
    )


def row_counts() -> dict[str, int]:
    """Return how many rows each table of the schema has by the statistics, its parts added up."""
    found = rows(
        """
        SELECT c.relname AS "table", sum(greatest(s.n_live_tup, l.reltuples, 0))::bigint AS rows
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        CROSS JOIN LATERAL (
            SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf
            UNION ALL SELECT c.oid WHERE c.relkind = 'r' AND NOT c.relispartition
        ) part
        JOIN pg_class l ON l.oid = part.relid
        LEFT JOIN pg_stat_user_tables s ON s.relid = l.oid
        WHERE c.relkind = 'p' OR (c.relkind = 'r' AND NOT c.relispartition)
        GROUP BY c.relname
        """
    )
    return {row["table"]: row["rows"] for row in found}


def partitioned() -> set[str]:
    """Return the names of the tables that are parted; an index on one is built under a lock."""
    return {
        row["table"]
        for row in rows('SELECT partrelid::regclass::text AS "table" FROM pg_partitioned_table')
    }


def tables() -> list[dict[str, Any]]:
    """Return each table with its size, rows, scans and vacuum, largest first."""
    return rows(
        """
        SELECT relname AS "table", pg_total_relation_size(relid) AS size_bytes,
               n_live_tup AS rows, n_dead_tup AS dead_rows, seq_scan AS sequential_scans,
               coalesce(idx_scan, 0) AS index_scans,
               greatest(last_vacuum, last_autovacuum)::text AS vacuumed_at
        FROM pg_stat_user_tables ORDER BY size_bytes DESC LIMIT 30
        """
    )
