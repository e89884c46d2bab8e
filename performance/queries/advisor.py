"""Index advice with proof: the planner's own cost before and after, and what it costs to write.

Each statement's candidates are tried one by one; what wins is then chosen greedily over all
statements together, so that an index which another one makes needless is never advised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection, transaction

from performance.queries import indexes, page_costs, plans, statistics
from performance.queries.activity import rows as fetch_rows
from performance.queries.candidates import Candidate, candidates
from performance.queries.conf import conf
from performance.queries.grounds import Ground, MixedGround, open_ground, write_slowdown

EXPLAINABLE = ("select", "update", "delete", "with")
NOTHING_RATIO = 0.99
MOST_ADVISED = 20
AS_GOOD_RATIO = 1.1
"""A simpler index whose plan costs at most this much more is taken in place of a larger one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """An index worth having. Costs are the planner's units; sizes in bytes, scaled to the table."""

    table: str
    columns: tuple[str, ...]
    include: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    name: str
    definition: str
    """What follows CREATE INDEX <name>."""
    sql: str
    """The statement that it saves most on."""
    calls: int
    """Of all statements that it helps."""
    statements: int
    cost_before: float
    cost_after: float
    size_bytes: int
    writes: int
    """Rows inserted, updated and deleted since the server's statistics began: each pays for it."""
    write_slowdown_ratio: float | None
    """How much longer an INSERT took with it; None where that could not be measured."""
    proved_by: str

    @property
    def gain_ratio(self) -> float:
        return 1 - self.cost_after / self.cost_before

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gain_ratio": round(self.gain_ratio, 3)}


@dataclass(slots=True)
class _Case:
    """One statement under advice; `cost` falls as indexes are chosen."""

    statement: statistics.Statement
    cost: float
    candidates: list[Candidate]
    costs: dict[Candidate, float] = field(default_factory=dict)
    """With each candidate beside what stands already; emptied when something new stands."""

    def with_each(self, cursor: Any, ground: Ground) -> dict[Candidate, float]:
        """Return `costs`; what changes nothing is dropped and not tried again."""
        if not self.costs:
            for candidate in self.candidates:
                cost = _cost_with(cursor, ground, candidate, self)
                if cost is not None and cost < self.cost * NOTHING_RATIO:
                    self.costs[candidate] = cost
            self.candidates = list(self.costs)
        return self.costs

    def winners(self) -> list[Candidate]:
        """Return the best candidate of each table: the simplest of those about as good."""
        found = []
        for table in sorted({candidate.table for candidate in self.costs}):
            enough = {
                candidate: cost
                for candidate, cost in self.costs.items()
                if candidate.table == table and _saves(self.cost, cost)
            }
            if enough:
                good = min(enough.values()) * AS_GOOD_RATIO
                found.append(min((c for c in enough if enough[c] <= good), key=lambda c: c.weight))
        return found


def advise(limit: int = 50) -> list[Advice]:
    """Return proved indexes for the server's `limit` costliest statements, greatest saving first.

    With HypoPG a candidate costs about 2 ms, on a copy the build of an index on at most
    `advice_copy_rows` rows. Everything happens in a transaction that is rolled back.
    """
    rows_of = indexes.row_counts()
    large = {table for table, rows in rows_of.items() if rows >= conf().advice_rows}
    columns_of = {table: names for table, names in _columns().items() if table in large}
    found: list[tuple[statistics.Statement, list[Candidate]]] = []
    for statement in statistics.statements(limit=limit):
        if statement.sql.lower().lstrip("( \n").startswith(EXPLAINABLE):
            suggested = candidates(statement.sql, columns_of)
            if suggested:
                found.append((statement, suggested))
    if not found:
        return []
    tables = {candidate.table for _, suggested in found for candidate in suggested}
    with _rolled_back() as cursor:
        page_costs.assume_cached(cursor, tables)
        ground = open_ground(cursor, rows_of, tables)
        cases = []
        for statement, suggested in found:
            cost = plans.cost(cursor, statement.sql)
            if cost:
                cases.append(_Case(statement, cost, suggested))
        try:
            with transaction.atomic():  # what fails in here leaves the cursor fit to forget
                return _choose(cursor, ground, cases)
        finally:
            ground.forget()


@contextmanager
def _rolled_back() -> Iterator[Any]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '60s'")
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            yield cursor
        transaction.set_rollback(True)


def _choose(cursor: Any, ground: Ground, cases: list[_Case]) -> list[Advice]:
    """Take the candidate that saves most over all statements, leave it standing, look anew."""
    chosen: list[Advice] = []
    tried: dict[tuple[int, Candidate], float | None] = {}
    while True:
        for case in cases:
            case.with_each(cursor, ground)
        best: tuple[float, Candidate, dict[int, float]] | None = None
        for candidate in dict.fromkeys(one for case in cases for one in case.winners()):
            helped = {}
            for number, case in enumerate(cases):
                cost = case.costs.get(candidate)
                if cost is None and any(one.table == candidate.table for one in case.candidates):
                    # Another statement's index may serve here too, with fewer columns or more.
                    if (number, candidate) not in tried:
                        tried[number, candidate] = _cost_with(cursor, ground, candidate, case)
                    cost = tried[number, candidate]
                if cost is not None and _saves(case.cost, cost):
                    helped[number] = cost
            saving = sum((cases[n].cost - cost) * _calls(cases[n]) for n, cost in helped.items())
            if helped and (best is None or saving > best[0]):
                best = saving, candidate, helped
        if best is None or len(chosen) == MOST_ADVISED:
            return chosen
        _, candidate, helped = best
        if _is_used(cursor, ground, candidate, cases[_most(cases, helped)]):
            handle = ground.add(candidate)
            if handle is not None:
                chosen.append(_advice(cursor, ground, handle, candidate, cases, helped))
            for number, cost in helped.items():
                cases[number].cost = cost
                cases[number].costs = {}
                tried = {pair: known for pair, known in tried.items() if pair[0] != number}
        for case in cases:
            case.costs.pop(candidate, None)
            case.candidates = [one for one in case.candidates if one != candidate]


def _advice(
    cursor: Any,
    ground: Ground,
    handle: str,
    candidate: Candidate,
    cases: list[_Case],
    helped: dict[int, float],
) -> Advice:
    most = _most(cases, helped)
    cursor.execute(
        "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables "
        "WHERE schemaname = 'public' AND relname = %s",
        [candidate.table],
    )
    row = cursor.fetchone()
    return Advice(
        table=candidate.table,
        columns=candidate.columns,
        include=candidate.include,
        where=candidate.where,
        name=candidate.name,
        definition=candidate.definition(),
        sql=cases[most].statement.sql,
        calls=sum(_calls(cases[number]) for number in helped),
        statements=len(helped),
        cost_before=cases[most].cost,
        cost_after=helped[most],
        size_bytes=ground.size_bytes(handle, candidate),
        writes=row[0] if row else 0,
        write_slowdown_ratio=write_slowdown(cursor, candidate),
        proved_by=ground.of(candidate).name if isinstance(ground, MixedGround) else ground.name,
    )


def _most(cases: list[_Case], helped: dict[int, float]) -> int:
    """Return the number of the statement on which most is saved."""
    return max(
        helped, key=lambda number: (cases[number].cost - helped[number]) * _calls(cases[number])
    )


def _is_used(cursor: Any, ground: Ground, candidate: Candidate, case: _Case) -> bool:
    """Say whether the planner would take the index with the server's own costs, too."""
    with page_costs.servers_own(cursor):
        before = plans.cost(cursor, case.statement.sql)
        after = _cost_with(cursor, ground, candidate, case)
        return before is not None and after is not None and after < before * NOTHING_RATIO


def _calls(case: _Case) -> int:
    return case.statement.calls


def _saves(before: float, after: float) -> bool:
    return after <= before * (1 - conf().advice_gain_ratio)


def _cost_with(cursor: Any, ground: Ground, candidate: Candidate, case: _Case) -> float | None:
    handle = ground.add(candidate)
    if handle is None:
        return None
    try:
        return plans.cost(cursor, case.statement.sql)
    finally:
        ground.drop(handle)


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
