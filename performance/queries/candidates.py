"""Which indexes a statement could use: read off its predicates. Pure: no database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

MAX_COLUMNS = 3
MAX_INCLUDED = 4
"""More columns beside the key would make the index a second table."""
MAX_CANDIDATES = 16
"""For one table in one statement: each costs a plan, and without HypoPG a build."""
LONGEST_NAME = 30
"""Django's limit; PostgreSQL's is 63."""
LONGEST_SQL = 50_000
RANGES = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that might help: equality columns first, then one that is ranged over or sorted."""

    table: str
    columns: tuple[str, ...]
    include: tuple[str, ...] = ()
    """Columns carried along, so that the table itself need not be read."""
    where: tuple[tuple[str, str], ...] = ()
    """A partial index's conditions: (column, "IS NULL" or "IS NOT NULL")."""

    @property
    def name(self) -> str:
        """A name within 30 characters, the same each time and another for another index."""
        stem = "_".join((self.table.rpartition("_")[2], *self.columns))
        shape = repr((self.table, self.columns, self.include, self.where)).encode()
        digest = hashlib.blake2b(shape, digest_size=3).hexdigest()
        return f"{stem[: LONGEST_NAME - 7].rstrip('_')}_{digest}"

    @property
    def weight(self) -> tuple[int, ...]:
        """Smaller is simpler: of two that save the same, the simpler is advised."""
        return len(self.include), len(self.columns), len(self.where)

    def definition(self, on: str = "") -> str:
        """Return the SQL of `CREATE INDEX` after its name; `on` stands for another table."""
        columns = ", ".join(map(quoted, self.columns))
        text = f"ON {on or quoted(self.table)} ({columns})"
        if self.include:
            text += f" INCLUDE ({', '.join(map(quoted, self.include))})"
        if self.where:
            text += " WHERE " + " AND ".join(f"{quoted(name)} {test}" for name, test in self.where)
        return text


def quoted(name: str) -> str:
    """Return a name as SQL; Django's quote_name lets a quote inside a name end it.

    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


@dataclass(slots=True)
class _Use:
    """How one table is asked in one statement; columns in the order in which they appear."""

    equal: list[str] = field(default_factory=list)
    ranged: list[str] = field(default_factory=list)
    sorted: list[str] = field(default_factory=list)
    nulls: dict[str, str] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)


def candidates(sql: str, columns_of: Mapping[str, Sequence[str]]) -> list[Candidate]:
    """Return the indexes that `sql` suggests on the tables of `columns_of`, each at most once.

    `columns_of` gives each table's columns. A statement that cannot be parsed suggests nothing, and
    neither does one beyond 50,000 characters: parsing it would cost seconds.

    >>> candidates("SELECT a FROM t WHERE a = $1 AND b > $2", {"t": ["a", "b", "c"]})[0]
    Candidate(table='t', columns=('a', 'b'), include=(), where=())
    """
    if len(sql) > LONGEST_SQL:
        return []
    try:
        tree = sqlglot.parse_one(sql, dialect="postgres")
    except (SqlglotError, RecursionError):
        return []
    covering = isinstance(tree, exp.Select) and all(
        isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star)
    )
    found: dict[Candidate, None] = {}
    for table, use in _uses(tree, columns_of).items():
        mine = dict.fromkeys(_of_table(table, use, covering=covering))
        found |= dict.fromkeys(list(mine)[:MAX_CANDIDATES])
    return list(found)


def _of_table(table: str, use: _Use, *, covering: bool) -> Iterator[Candidate]:
    shapes = list(dict.fromkeys(_shapes(use)))
    for columns in shapes:
        yield Candidate(table, columns)
    for columns in shapes[:4]:
        where = tuple((name, test) for name, test in use.nulls.items() if name not in columns)
        if where:
            yield Candidate(table, columns, where=where)
    if use.nulls and not shapes:  # nothing but IS NULL: a small index of those rows alone
        yield Candidate(table, (next(iter(use.nulls)),), where=tuple(use.nulls.items()))
    for columns in shapes[:2]:
        include = tuple(name for name in dict.fromkeys(use.named) if name not in columns)
        if covering and 0 < len(include) <= MAX_INCLUDED:
            yield Candidate(table, columns, include=include)


def _shapes(use: _Use) -> Iterator[tuple[str, ...]]:
    equal = list(dict.fromkeys(use.equal))
    last = [column for column in dict.fromkeys((*use.ranged, *use.sorted)) if column not in equal]
    for column in last[:2]:
        yield (*equal[: MAX_COLUMNS - 1], column)
    for first in equal[:3]:  # the rest may be another branch's or another join's
        for column in last[:2]:
            yield first, column
    for size in range(min(len(equal), MAX_COLUMNS), 1, -1):
        yield tuple(equal[:size])
    for column in equal[:4]:
        yield (column,)
    for column in last[:2]:
        yield (column,)


def _uses(tree: exp.Expr, columns_of: Mapping[str, Sequence[str]]) -> dict[str, _Use]:
    aliases = {
        table.alias_or_name: table.name
        for table in tree.find_all(exp.Table)
        if table.name in columns_of
    }
    uses: dict[str, _Use] = {}

    def note(column: exp.Expr | None, kind: str) -> None:
        if isinstance(column, exp.Cast):  # Django writes casts around what it compares
            column = column.this
        if not isinstance(column, exp.Column):
            return
        table = _table_of(column, aliases, columns_of)
        if table:
            getattr(uses.setdefault(table, _Use()), kind).append(column.name)

    def note_null(node: exp.Expr) -> None:
        table = _table_of(node.this, aliases, columns_of)
        if table:
            test = "IS NOT NULL" if isinstance(node.parent, exp.Not) else "IS NULL"
            uses.setdefault(table, _Use()).nulls.setdefault(node.this.name, test)

    for column in tree.find_all(exp.Column):
        note(column, "named")
    for where in (*tree.find_all(exp.Where), *tree.find_all(exp.Join)):
        for node in where.walk():
            if isinstance(node, exp.EQ | exp.In):
                note(node.this, "equal")
                note(node.args.get("expression"), "equal")
            elif isinstance(node, RANGES):
                note(node.this, "ranged")
                note(node.args.get("expression"), "ranged")
            elif (
                isinstance(node, exp.Is)
                and isinstance(node.expression, exp.Null)
                and isinstance(node.this, exp.Column)
            ):
                note_null(node)
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
