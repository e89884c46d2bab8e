"""The rule `model:app.Model`: writes to a table, seen in the SQL itself, end the families it names.

Whatever writes is seen: the ORM, its bulk writes, a many-to-many's own table, SQL written by hand.
Not seen are COPY and other programs. Without such a rule a statement costs one look at an empty
mapping.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis
from django.apps import apps
from django.db.backends.base.base import BaseDatabaseWrapper

from performance.caching import overrides, rules
from performance.caching.rules import Rules

READ_AGAIN_S = 0.5
AWAY_S = 10.0
"""The next look after the bus did not answer: a write must not wait for it each time."""

_WRITE = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE(?:\s+ONLY)?|DELETE\s+FROM(?:\s+ONLY)?|MERGE\s+INTO"
    r"|TRUNCATE(?:\s+TABLE)?(?:\s+ONLY)?)\s+((?:\"?\w+\"?\.)?\"?\w+\"?(?:\s*,\s*\"?\w+\"?)*)",
    re.IGNORECASE,
)
_LOOKED_AT = 2000
"""Characters of a statement that are searched: the table stands at its beginning."""


class Tables:
    """Which tags a write to which table invalidates, as the rows say now.

    A process that uses no cache has no thread that follows the rows: its own writes make it look,
    at most twice a second.
    """

    def __init__(self) -> None:
        self._tags: dict[str, frozenset[str]] = {}
        self._look_at = 0.0
        self._poller = overrides.Poller()
        self.followed = False
        """True in a process whose keeper calls `put`."""

    @property
    def idle(self) -> bool:
        """True while no statement can matter."""
        return self.followed and not self._tags

    def put(self, by_family: Mapping[str, Rules]) -> None:
        """Take over the rules by family name."""
        tags: dict[str, set[str]] = {}
        for family, one in by_family.items():
            for label in one.models:
                for table in tables_of(label):
                    tags.setdefault(table, set()).add(f"family:{family}")
        self._tags = {table: frozenset(names) for table, names in tags.items()}

    def tags_of(self, sql: str) -> frozenset[str]:
        """Return what `sql` invalidates; nothing for a statement that only reads."""
        written = written_tables(sql)
        if written and not self.followed and time.monotonic() >= self._look_at:
            self._look()
        if not (written and self._tags):
            return frozenset()
        return frozenset().union(*(self._tags.get(table, ()) for table in written))

    def _look(self) -> None:
        try:
            changed = self._poller.changed()
        except (redis.RedisError, OSError):
            self._look_at = time.monotonic() + AWAY_S
            return
        self._look_at = time.monotonic() + READ_AGAIN_S
        if changed is not None:
            self.put({name: rules.parse_known(one.rules) for name, one in changed.items()})


tables = Tables()


def tables_of(label: str) -> list[str]:
    """Return the table of a model such as `odds.price` and those of its many-to-many fields.

    Nothing for a model that is not there (any more).
    """
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        return []
    own = [field.remote_field.through._meta.db_table for field in model._meta.many_to_many]
    return [model._meta.db_table, *own]


def written_tables(sql: str) -> list[str]:
    """Return the tables that a statement writes, without schema and quotes.

    >>> written_tables('/* route */ UPDATE "odds_price" SET "x" = 1')
    ['odds_price']
    """
    if sql[:6].upper() == "SELECT":
        return []
    return [
        name.strip().rpartition(".")[2].strip('"')
        for found in _WRITE.finditer(sql, 0, _LOOKED_AT)
        for name in found[1].split(",")
    ]


class Watcher:
    """A connection's execute wrapper. `invalidate(tags, using)` waits for COMMIT by itself."""

    def __init__(self, invalidate: Callable[[Iterable[str], str], object]) -> None:
        self._invalidate = invalidate

    def __call__(
        self,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        result = execute(sql, params, many, context)
        if tables.idle:
            return result
        tags = tables.tags_of(sql if isinstance(sql, str) else str(sql))
        if tags:
            self._invalidate(tags, context["connection"].alias)
        return result


def watch_connection(
    connection: BaseDatabaseWrapper, invalidate: Callable[[Iterable[str], str], object]
) -> None:
    """Watch a connection that was just opened; once, however often it is opened again."""
    wrappers = connection.execute_wrappers
    if not any(isinstance(wrapper, Watcher) for wrapper in wrappers):
        wrappers.append(Watcher(invalidate))
