"""Where a candidate index is tried: HypoPG's imagination, or a bounded copy that is rolled back."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from django.db import Error, transaction

from performance.queries import indexes
from performance.queries.candidates import Candidate, quoted
from performance.queries.conf import conf

WRITE_ROWS = 2_000
ROUNDS = 3


class Ground(Protocol):
    """A place inside one transaction where indexes can be tried and taken away again."""

    name: str
    """How the proof is called where it is shown."""

    def add(self, candidate: Candidate) -> str | None:
        """Add the index and return its handle; None where it cannot be made."""

    def drop(self, handle: str) -> None: ...

    def size_bytes(self, handle: str, candidate: Candidate) -> int: ...

    def forget(self) -> None:
        """Take away what a rollback does not."""


class HypoGround:
    """HypoPG: indexes that only the planner sees, on the real table and its real statistics."""

    name = "HypoPG"

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    def add(self, candidate: Candidate) -> str | None:
        create = f"CREATE INDEX {candidate.definition()}"
        try:
            with transaction.atomic():
                self.cursor.execute("SELECT indexrelid FROM hypopg_create_index(%s)", [create])
                return str(self.cursor.fetchone()[0])
        except Error:
            return None  # a type without an order, a partitioned table before HypoPG knew them

    def drop(self, handle: str) -> None:
        self.cursor.execute("SELECT hypopg_drop_index(%s::oid)", [handle])

    def size_bytes(self, handle: str, candidate: Candidate) -> int:
        self.cursor.execute("SELECT hypopg_relation_size(%s::oid)", [handle])
        size: int = self.cursor.fetchone()[0]
        return size

    def forget(self) -> None:
        # They live in the backend's memory: the connection's next EXPLAIN would still see them.
        self.cursor.execute("SELECT hypopg_reset()")


class CopyGround:
    """Temporary tables of the same names and indexes, which shadow the real ones.

    The real tables are only read, and so never locked against writers; a statement is planned
    exactly as it stands. Costs one copy of at most `advice_copy_rows` rows a table.
    """

    name = "a bounded copy"

    def __init__(self, cursor: Any, rows_of: Mapping[str, int], tables: Collection[str]) -> None:
        self.cursor = cursor
        self.rows_of = rows_of
        self.copied: dict[str, int] = {}
        self.made = 0
        for table in sorted(tables):
            self._copy(table)

    def _copy(self, table: str) -> None:
        real = quoted(table)
        self.cursor.execute(f"CREATE TEMP TABLE {real} (LIKE public.{real} INCLUDING ALL)")
        # Spread over the whole table: its first rows may be of one day or one customer.
        share = 100 * conf().advice_copy_rows / max(self.rows_of.get(table, 1), 1)
        sample = f"TABLESAMPLE SYSTEM ({share:.6f}) REPEATABLE (1)" if share < 100 else ""
        self.cursor.execute(
            f"INSERT INTO {real} OVERRIDING SYSTEM VALUE SELECT * FROM public.{real} {sample} "
            "LIMIT %s",
            [conf().advice_copy_rows],
        )
        self.copied[table] = self.cursor.rowcount
        self.cursor.execute(f"ANALYZE {real}")

    def add(self, candidate: Candidate) -> str | None:
        self.made += 1
        name = f"advised_{self.made}"
        table = f"pg_temp.{quoted(candidate.table)}"
        try:
            with transaction.atomic():
                self.cursor.execute(f"CREATE INDEX {name} {candidate.definition(on=table)}")
        except Error:
            return None
        return name

    def drop(self, handle: str) -> None:
        self.cursor.execute(f"DROP INDEX pg_temp.{handle}")

    def size_bytes(self, handle: str, candidate: Candidate) -> int:
        self.cursor.execute(f"SELECT pg_relation_size('pg_temp.{handle}')")
        size: int = self.cursor.fetchone()[0]
        copied = self.copied.get(candidate.table) or 1
        return int(size * max(self.rows_of.get(candidate.table, 0) / copied, 1))

    def forget(self) -> None:
        pass


class MixedGround:
    """HypoPG for plain tables, a copy for partitioned ones, whose parts it does not reach."""

    name = "HypoPG"

    def __init__(self, hypo: HypoGround, copy: CopyGround) -> None:
        self.hypo, self.copy = hypo, copy

    def of(self, candidate: Candidate) -> Ground:
        return self.copy if candidate.table in self.copy.copied else self.hypo

    def add(self, candidate: Candidate) -> str | None:
        return self.of(candidate).add(candidate)

    def drop(self, handle: str) -> None:
        ground: Ground = self.copy if handle.startswith("advised_") else self.hypo
        ground.drop(handle)

    def size_bytes(self, handle: str, candidate: Candidate) -> int:
        return self.of(candidate).size_bytes(handle, candidate)

    def forget(self) -> None:
        self.hypo.forget()


def open_ground(cursor: Any, rows_of: Mapping[str, int], tables: Collection[str]) -> Ground:
    """Return the best ground that this server and our role allow, for candidates on `tables`."""
    if not has_hypopg(cursor):
        return CopyGround(cursor, rows_of, tables)
    partitioned = indexes.partitioned() & set(tables)
    return MixedGround(HypoGround(cursor), CopyGround(cursor, rows_of, partitioned))


def has_hypopg(cursor: Any) -> bool:
    """Say whether HypoPG can be used; it is made where the server has it and our role may."""
    cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'hypopg'")
    if cursor.fetchone():
        return True
    cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'hypopg'")
    if not cursor.fetchone():
        return False
    try:
        with transaction.atomic():
            cursor.execute("CREATE EXTENSION hypopg")
    except Error:
        return False  # only an administrator may; the copy proves as well
    return True


def write_slowdown(cursor: Any, candidate: Candidate) -> float | None:
    """Return how much longer an INSERT takes with the index, 0.25 for a quarter; measured.

    Two thousand of the table's own rows go into an empty copy with its indexes, without and with
    the new one, three times each; the fastest counts. None where the rows cannot be copied.
    """
    real = quoted(candidate.table)
    trial = quoted(f"advised_{candidate.table}"[:60])

    def fastest_s() -> float:
        times = []
        for _ in range(ROUNDS):
            cursor.execute(f"TRUNCATE {trial}")
            started = time.perf_counter()
            cursor.execute(
                f"INSERT INTO {trial} OVERRIDING SYSTEM VALUE SELECT * FROM public.{real} "
                f"LIMIT {WRITE_ROWS}"
            )
            times.append(time.perf_counter() - started)
        return min(times)

    try:
        with transaction.atomic():
            cursor.execute(f"CREATE TEMP TABLE {trial} (LIKE public.{real} INCLUDING ALL)")
            before_s = fastest_s()
            cursor.execute(f"CREATE INDEX {candidate.definition(on=trial)}")
            after_s = fastest_s()
            cursor.execute(f"DROP TABLE {trial}")
    except Error:
        return None
    return max(0.0, after_s / before_s - 1)
