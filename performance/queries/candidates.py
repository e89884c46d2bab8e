"""Which indexes a statement could use: read off its predicates. Pure: no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

MAX_COLUMNS = 3
RANGES = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that might help: equality columns first, then one that is ranged over or sorted."""

    table: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """A name within PostgreSQL's and Django's limit of 30 characters, the same each time."""
        stem = "_".join((self.table.removeprefix("odds_"), *self.columns))
        return f"{stem[:26]}_idx"


@dataclass(slots=True)
class _Use:
    """How one table is asked in one statement; columns in the order in which they appear."""

    equal: list[str] = field(default_factory=list)
    ranged: list[str] = field(default_factory=list)
    sorted: list[str] = field(default_factory=list)


def candidates(sql: str, columns_of: Mapping[str, Sequence[str]]) -> list[Candidate]:
    """Return the indexes that `sql` suggests on the tables of `columns_of`, each at most once.

    `columns_of` gives each table's columns. A statement that cannot be parsed suggests nothing.

    >>> candidates("SELECT * FROM t WHERE a = $1 AND b > $2", {"t": ["a", "b", "c"]})
    [Candidate(table='t', columns=('a', 'b')), Candidate(table='t', columns=('a',))]
    """
    try:
        tree = sqlglot.parse_one(sql, dialect="postgres")
    except (SqlglotError, RecursionError):
        return []
    found: dict[Candidate, None] = {}
    for table, use in _uses(tree, columns_of).items():
        for columns in _shapes(use):
            found[Candidate(table, columns)] = None
    return list(found)


def _shapes(use: _Use) -> Iterator[tuple[str, ...]]:
    equal = list(dict.fromkeys(use.equal))[:MAX_COLUMNS]
    last = [column for column in (*use.ranged, *use.sorted) if column not in equal][:1]
    if len(equal) + len(last) > 1:
        yield tuple([*equal, *last][:MAX_COLUMNS])
    if len(equal) > 1:
        yield tuple(equal)
    if equal:
        yield (equal[0],)
    elif last:
        yield tuple(last)


def _uses(tree: exp.Expr, columns_of: Mapping[str, Sequence[str]]) -> dict[str, _Use]:
    aliases = {
        table.alias_or_name: table.name
        for table in tree.find_all(exp.Table)
        if table.name in columns_of
    }
    uses: dict[str, _Use] = {}

    def note(column: exp.Expr | None, kind: str) -> None:
        if not isinstance(column, exp.Column):
            return
        table = _table_of(column, aliases, columns_of)
        if table:
            getattr(uses.setdefault(table, _Use()), kind).append(column.name)

    for where in (*tree.find_all(exp.Where), *tree.find_all(exp.Join)):
        for node in where.walk():
            if isinstance(node, exp.EQ):
                note(node.this, "equal")
                note(node.expression, "equal")
            elif isinstance(node, exp.In):
                note(node.this, "equal")
            elif isinstance(node, RANGES):
                note(node.this, "ranged")
                note(node.args.get("expression"), "ranged")
    for order in tree.find_all(exp.Order):
        if order.expressions:
            note(order.expressions[0].this, "sorted")
    return uses


def _table_of(
    column: exp.Column, aliases: Mapping[str, str], columns_of: Mapping[str, Sequence[str]]
) -> str | None:
    """Return whose column it is: by its qualifier, else the only table that has one of the name."""
    if column.table:
        table = aliases.get(column.table)
        return table if table and column.name in columns_of[table] else None
    owners = {table for table in aliases.values() if column.name in columns_of[table]}
    return owners.pop() if len(owners) == 1 else None
