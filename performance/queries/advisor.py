"""Index advice with proof: the planner's own cost before and after, on a bounded copy.

The copy is a temporary table of the same name and indexes, which shadows the real one inside a
transaction that is rolled back. So the real table is never locked for writing, nothing remains,
and the statement is explained exactly as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.apps import apps
from django.db import Error, connection, models, transaction

from performance.queries import indexes, statistics
from performance.queries.activity import rows as fetch_rows
from performance.queries.candidates import Candidate, candidates
from performance.queries.conf import conf

EXPLAINABLE = ("select", "update", "delete", "with")


@dataclass(frozen=True, slots=True)
class Advice:
    """An index worth having. Costs are the planner's units; sizes in bytes, scaled to the table."""

    table: str
    columns: tuple[str, ...]
    name: str
    sql: str
    """The statement that it was proved on."""
    calls: int
    cost_before: float
    cost_after: float
    size_bytes: int
    writes: int
    """Rows inserted, updated and deleted since the server's statistics began: each pays for it."""

    @property
    def gain_ratio(self) -> float:
        return 1 - self.cost_after / self.cost_before

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gain_ratio": round(self.gain_ratio, 3)}


def advise(limit: int = 50) -> list[Advice]:
    """Return proved indexes for the server's `limit` costliest statements, greatest saving first.

    Costs a copy of at most `advice_copy_rows` rows for each candidate; run it by hand or at night.
    An index that begins with another advised one's columns replaces it.
    """
    rows_of = {row["table"]: row["rows"] for row in indexes.tables()}
    large = {table for table, rows in rows_of.items() if rows >= conf().advice_rows}
    columns_of = {table: names for table, names in _columns().items() if table in large}
    best: dict[Candidate, Advice] = {}
    for statement in statistics.statements(limit=limit):
        if not statement.sql.lower().startswith(EXPLAINABLE):
            continue
        for candidate in candidates(statement.sql, columns_of):
            advice = prove(candidate, statement, rows=rows_of[candidate.table])
            if advice and advice.gain_ratio >= conf().advice_gain_ratio:
                known = best.get(candidate)
                if known is None or advice.gain_ratio > known.gain_ratio:
                    best[candidate] = advice
    return sorted(
        _without_covered(best.values()),
        key=lambda one: (one.cost_before - one.cost_after) * one.calls,
        reverse=True,
    )


def prove(candidate: Candidate, statement: statistics.Statement, *, rows: int) -> Advice | None:
    """Explain the statement without and with the index; None where it cannot be explained.

    Everything happens in a savepoint or transaction that is rolled back.
    """
    quote = connection.ops.quote_name
    table = quote(candidate.table)
    columns = ", ".join(quote(column) for column in candidate.columns)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '30s'")
            cursor.execute(f"CREATE TEMP TABLE {table} (LIKE public.{table} INCLUDING ALL)")
            copied = _copy(cursor, table)
            cursor.execute(f"ANALYZE {table}")
            before = _cost(cursor, statement.sql)
            cursor.execute(f"CREATE INDEX advised ON {table} ({columns})")
            after = _cost(cursor, statement.sql)
            cursor.execute("SELECT pg_relation_size('advised')")
            size_bytes = cursor.fetchone()[0]
            cursor.execute(
                "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables "
                "WHERE relid = ('public.' || %s)::regclass",
                [table],
            )
            row = cursor.fetchone()
            transaction.set_rollback(True)
    except Error:
        # A statement the planner will not take by itself (its tables are gone, it is not ours).
        return None
    return Advice(
        table=candidate.table,
        columns=candidate.columns,
        name=candidate.name,
        sql=statement.sql,
        calls=statement.calls,
        cost_before=before,
        cost_after=after,
        size_bytes=int(size_bytes * max(rows / copied, 1)) if copied else 0,
        writes=row[0] if row else 0,
    )


def _copy(cursor: Any, table: str) -> int:
    cursor.execute(
        f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM public.{table} LIMIT %s",
        [conf().advice_copy_rows],
    )
    copied: int = cursor.rowcount
    return copied


def _cost(cursor: Any, sql: str) -> float:
    """Return the planner's total cost of `sql`, whose parameters are still $1, $2 …

    GENERIC_PLAN needs PostgreSQL 16; before, such a statement cannot be explained and fails.
    """
    # The text has $1 for parameters and may hold %: psycopg must not look for its own in it.
    cursor.execute("EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + sql)
    plan = cursor.fetchone()[0]
    plan = json.loads(plan) if isinstance(plan, str) else plan
    cost: float = plan[0]["Plan"]["Total Cost"]
    return cost


def _columns() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in fetch_rows(
        """
        SELECT c.relname AS "table", a.attname AS "column"
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND a.attnum > 0
          AND NOT a.attisdropped ORDER BY c.relname, a.attnum
        """
    ):
        found.setdefault(row["table"], []).append(row["column"])
    return found


def _without_covered(advices: Iterable[Advice]) -> list[Advice]:
    """Drop what another advised index of the table begins with, unless it saves clearly more."""
    all_of_them = list(advices)
    return [
        one
        for one in all_of_them
        if not any(
            other is not one
            and other.table == one.table
            and other.columns[: len(one.columns)] == one.columns
            for other in all_of_them
        )
    ]


def migration_text(app_label: str, advices: list[Advice]) -> str | None:
    """Return a migration that adds the advised indexes of one app without locking, or None.

    Needs no atomic transaction, as CREATE INDEX CONCURRENTLY does. Add the same lines to each
    model's Meta.indexes, or the next makemigrations will want to take them away again.
    """
    operations = []
    for advice in advices:
        model = _model(app_label, advice.table)
        if model is None:
            continue
        fields = [_field_name(model, column) for column in advice.columns]
        operations.append(
            "        AddIndexConcurrently(\n"
            f"            {model._meta.model_name!r},\n"
            f"            models.Index(fields={fields!r}, name={advice.name!r}),\n"
            "        ),\n"
        )
    if not operations:
        return None
    previous = _last_migration(app_label)
    return (
        "from django.contrib.postgres.operations import AddIndexConcurrently\n"
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        "    atomic = False\n\n"
        f"    dependencies = [({app_label!r}, {previous!r})]\n\n"
        "    operations = [\n" + "".join(operations) + "    ]\n"
    )


def _model(app_label: str, table: str) -> type[models.Model] | None:
    for model in apps.get_app_config(app_label).get_models():
        if model._meta.db_table == table:
            return model
    return None


def _field_name(model: type[models.Model], column: str) -> str:
    for one in model._meta.concrete_fields:
        if one.column == column:
            return one.name
    raise LookupError(f"{model.__name__} has no field for the column {column!r}.")


def _last_migration(app_label: str) -> str:
    from django.db.migrations.loader import MigrationLoader

    name: str = MigrationLoader(None).graph.leaf_nodes(app_label)[0][1]
    return name
