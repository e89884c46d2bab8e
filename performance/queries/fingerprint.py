"""The shape of a statement: its literals gone, so that a million calls are one line of a table."""

from __future__ import annotations

import functools
import hashlib
import logging
import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of each statement unknown to it

KEPT_SHAPES = 5_000
LONGEST_SQL = 20_000
"""Characters beyond which a statement is hashed and not parsed: parsing is our cost."""
ROUTE_COMMENT = re.compile(r"\s*/\* route='[^']*' \*/")
PLACEHOLDER = re.compile(r"%s|\$\d+|%\([A-Za-z_]\w*\)s")


@functools.lru_cache(KEPT_SHAPES)
def shape(sql: str) -> str:
    """Return `sql` with `?` for each literal and parameter, lists folded, comments gone.

    Costs a parse (1-5 ms) the first time a text is seen, nothing after. A text that the parser does
    not know keeps its words; its numbers and strings go all the same, so no value is ever kept.

    >>> shape("SELECT a FROM t WHERE id = 7 AND b IN (1, 2, 3)")
    'SELECT a FROM t WHERE id = ? AND b IN (?)'
    """
    bare = PLACEHOLDER.sub("?", ROUTE_COMMENT.sub("", sql))
    if len(bare) <= LONGEST_SQL:
        try:
            tree = sqlglot.parse_one(bare, dialect="postgres")
            if not isinstance(tree, exp.Command):  # what it takes for one keeps its literals
                return tree.transform(_blank).sql(dialect="postgres", comments=False)
        except (SqlglotError, RecursionError):
            pass  # an unknown dialect of a statement: the plain way below
    return _plain(bare)


def fingerprint(sql: str) -> str:
    """Return 16 hexadecimal digits that all statements of one shape share."""
    return hashlib.blake2b(shape(sql).encode(), digest_size=8).hexdigest()


def _blank(node: exp.Expression) -> exp.Expression:
    if isinstance(node, exp.In) and node.expressions:
        node.set("expressions", [exp.Var(this="?")])
    if isinstance(node, exp.Literal | exp.Placeholder | exp.Parameter):
        return exp.Var(this="?")
    return node


def _plain(sql: str) -> str:
    without_strings = re.sub(r"'(?:[^']|'')*'", "?", sql)
    without_numbers = re.sub(r"\b\d+(?:\.\d+)?\b", "?", without_strings)
    folded = re.sub(r"\?(?:\s*,\s*\?)+", "?", without_numbers)
    return re.sub(r"\s+", " ", folded).strip()
