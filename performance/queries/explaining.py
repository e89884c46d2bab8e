"""EXPLAIN ANALYZE for whoever may: of reading statements alone, bounded, and undone.

A read-only transaction does not stop `pg_terminate_backend()` or `pg_sleep()`, and a parser may
read a text otherwise than the server does. So what is run is the parser's own rendering of what was
checked, and every function in it must be one that the server calls stable or immutable.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import sqlglot
from django.db import Error, connection, transaction
from sqlglot import exp
from sqlglot.errors import SqlglotError

from performance.queries.conf import conf
from performance.queries.errors import CannotExplain

LONGEST_SQL = 100_000
ESCAPED_NAME = re.compile(r"\bU&[\"']", re.IGNORECASE)
WRITING = (
    exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.Command,
    exp.Copy, exp.Into, exp.Lock, exp.Set, exp.TruncateTable,
)  # fmt: skip


def readable(sql: str) -> str:
    """Return `sql` as it will be run, or raise CannotExplain: one SELECT that writes nothing."""
    if len(sql) > LONGEST_SQL:
        raise CannotExplain(f"it has {len(sql)} characters; at most {LONGEST_SQL} are taken")
    if ESCAPED_NAME.search(sql):
        raise CannotExplain("it has U&'…' names, which cannot be checked; write them plainly")
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect="postgres") if tree is not None]
    except (SqlglotError, RecursionError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CannotExplain(f"it could not be read: {said[:200]}") from None
    if len(trees) != 1:
        raise CannotExplain(f"it is {len(trees)} statements; one is taken")
    (tree,) = trees
    if not isinstance(tree, exp.Query):
        raise CannotExplain("only SELECT may be run; it would change or set something")
    writes = next(tree.find_all(*WRITING), None)
    if writes is not None:
        raise CannotExplain(f"a part of it is {writes.key.upper()}, and only reading is allowed")
    return tree.sql(dialect="postgres", comments=False)


def analyze(sql: str) -> list[Any]:
    """Run one SELECT under EXPLAIN (ANALYZE, BUFFERS) and return its plan as PostgreSQL's JSON.

    At most `explain_ms` long, in a read-only transaction that is rolled back. CannotExplain says
    what is not allowed, or what the server said.
    """
    text = readable(sql)
    if re.search(r"\$\d", text):
        raise CannotExplain("it has parameters ($1 …); put values in their place")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = {int(conf().explain_ms)}")
            cursor.execute("SET LOCAL lock_timeout = 500")
            _refuse_effects(cursor, text)
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + text)
            found = cursor.fetchone()[0]
            transaction.set_rollback(True)
    except Error as error:
        raise CannotExplain(f"PostgreSQL says: {str(error).splitlines()[0]}") from error
    plan: list[Any] = json.loads(found) if isinstance(found, str) else found
    return plan


def _refuse_effects(cursor: Any, sql: str) -> None:
    """Raise for volatile functions, and for views, which may hide one."""
    tokens = sqlglot.tokenize(sql, dialect="postgres")
    called = {
        form
        for token, following in itertools.pairwise(tokens)
        if following.text == "(" and token.text
        for form in (token.text, token.text.lower())
    }
    cursor.execute(
        "SELECT DISTINCT proname FROM pg_proc WHERE proname = ANY(%s) AND provolatile = 'v' "
        "ORDER BY proname",
        [sorted(called)],
    )
    volatile = [name for (name,) in cursor.fetchall()]
    if volatile:
        raise CannotExplain(
            f"it calls {', '.join(volatile)}, which may have effects (volatile); only stable and "
            "immutable functions are run"
        )
    named = {table.name for table in sqlglot.parse_one(sql, dialect="postgres").find_all(exp.Table)}
    cursor.execute(
        "SELECT DISTINCT relname FROM pg_class WHERE relname = ANY(%s) AND relkind IN ('v', 'f') "
        "ORDER BY relname",
        [sorted(named)],
    )
    hidden = [name for (name,) in cursor.fetchall()]
    if hidden:
        raise CannotExplain(
            f"{', '.join(hidden)} is a view or a foreign table, which may hide effects; ask the "
            "tables themselves"
        )
