"""What would end an N+1: `select_related` for one row by its key, `prefetch_related` for many."""

from __future__ import annotations

from collections.abc import Iterable

import sqlglot
from django.apps import apps
from django.db.models import Field, ForeignKey, Model
from sqlglot import exp
from sqlglot.errors import SqlglotError

GENERAL = "Fetch the related rows with the first query: select_related for one, prefetch_related \
for many."


def remedy(sql: str, others: Iterable[str] = ()) -> str:
    """Return what to add, and to which query. `others` are the request's other statements: they
    tell which of several models leads here. Costs a parse; never raises.

    For raw SQL the advice is general: one statement with = ANY(%s) in place of many.
    """
    asked = _asked(sql)
    if asked is None:
        return "Ask for all at once: one statement with `= ANY(%s)` in place of many."
    model, field = asked
    if isinstance(field, ForeignKey) and not field.primary_key:
        parent = field.remote_field.model
        name = field.remote_field.get_accessor_name()
        if name is None:
            return GENERAL
        return (
            f'Add .prefetch_related("{name}") to the query of {parent.__name__}, and read '
            f"{parent.__name__.lower()}.{name}.all() without a further filter."
        )
    if not field.primary_key:
        return f"Ask once: {model.__name__}.objects.filter({field.name}__in=[…])."
    leading = _leading(model, others)
    if not leading:
        return f"Ask once: {model.__name__}.objects.in_bulk([…])."
    return (
        " or ".join(
            f'add .select_related("{one.name}") to the query of {one.model.__name__}'
            for one in leading
        ).capitalize()
        + "."
    )


def _asked(sql: str) -> tuple[type[Model], Field[object, object]] | None:
    """Return the model and the field of `SELECT … FROM table WHERE table.column = …`."""
    try:
        tree = sqlglot.parse_one(sql.replace("%s", "?"), dialect="postgres")
    except (SqlglotError, RecursionError):
        return None
    table, where = tree.find(exp.Table), tree.find(exp.Where)
    model = _model(table.name) if table else None
    if model is None or where is None:
        return None
    for equal in where.find_all(exp.EQ):
        column = equal.this
        if isinstance(column, exp.Column):
            for field in model._meta.concrete_fields:
                if field.column == column.name:
                    return model, field
    return None


def _leading(model: type[Model], others: Iterable[str]) -> list[ForeignKey[object, object]]:
    """Return the foreign keys to `model` of the models that the request asked for."""
    tables = set()
    for sql in others:
        try:
            tree = sqlglot.parse_one(sql.replace("%s", "?"), dialect="postgres")
        except (SqlglotError, RecursionError):
            continue
        tables |= {table.name for table in tree.find_all(exp.Table)}
    return [
        field
        for other in apps.get_models()
        if other._meta.db_table in tables
        for field in other._meta.concrete_fields
        if isinstance(field, ForeignKey) and field.remote_field.model is model
    ]


def _model(table: str) -> type[Model] | None:
    return next((model for model in apps.get_models() if model._meta.db_table == table), None)
