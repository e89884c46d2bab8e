"""What a page costs while indexes are advised: what is read again and again lies in memory.

PostgreSQL's default takes a page out of order for four times a page in order, which is true of a
disk. On it a third of a small table in order looks cheaper than the 75 rows that are asked for, and
an index that makes a statement fourteen times as fast is not advised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

IN_MEMORY = 1.1
"""A page out of order, where one in order costs 1: what servers are told whose data is cached."""
_ASSUME = """
SELECT set_config('random_page_cost', %(cost)s::text, true)
WHERE current_setting('random_page_cost')::float8 > %(cost)s AND (
    SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND (c.relname = ANY(%(tables)s) OR c.oid IN (
        SELECT i.inhrelid FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent
        WHERE parent.relname = ANY(%(tables)s)))
) <= (SELECT setting::bigint * 8192 FROM pg_settings WHERE name = 'effective_cache_size')
"""


def assume_cached(cursor: Any, tables: Collection[str]) -> None:
    """Plan the rest of this transaction as if these tables lay in memory, where they fit.

    They fit where they are no larger together than the server's `effective_cache_size`; otherwise,
    and where a page out of order is cheaper already, the server's own costs stay.
    """
    cursor.execute(_ASSUME, {"cost": IN_MEMORY, "tables": list(tables)})


@contextmanager
def servers_own(cursor: Any) -> Iterator[None]:
    """Plan the block with the costs that the server will plan with; nothing done in it stays."""
    with transaction.atomic():
        cursor.execute("SET LOCAL random_page_cost TO DEFAULT")
        yield
        transaction.set_rollback(True)
