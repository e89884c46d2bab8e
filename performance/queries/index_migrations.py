"""Advice as a Django migration: AddIndexConcurrently, which locks no writer out."""

from __future__ import annotations

import pprint
from collections.abc import Iterable

from django.apps import apps
from django.db import models

from performance.queries import indexes
from performance.queries.advisor import Advice

LOOKUPS = {"IS NULL": True, "IS NOT NULL": False}


def migration_text(app_label: str, advices: Iterable[Advice]) -> str | None:
    """Return a migration that adds the advised indexes of one app without locking, or None.

    Needs no atomic transaction, as CREATE INDEX CONCURRENTLY does. Add the same lines to each
    model's Meta.indexes, or the next makemigrations will want to take them away again. A
    partitioned table cannot have an index concurrently: there it is a plain AddIndex, and says so.
    """
    from django.db.migrations.loader import MigrationLoader

    operations = []
    for advice in advices:
        model = _model(app_label, advice.table)
        if model is not None:
            operations.append(_operation(model, advice))
    if not operations:
        return None
    previous = MigrationLoader(None).graph.leaf_nodes(app_label)[0][1]
    return (
        "from django.contrib.postgres.operations import AddIndexConcurrently\n"
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        "    atomic = False\n\n"
        f"    dependencies = [({app_label!r}, {previous!r})]\n\n"
        "    operations = [\n" + "".join(operations) + "    ]\n"
    )


def _operation(model: type[models.Model], advice: Advice) -> str:
    fields = [_field_name(model, column) for column in advice.columns]
    arguments = [f"fields={fields!r}"]
    if advice.include:
        arguments.append(f"include={[_field_name(model, column) for column in advice.include]!r}")
    if advice.where:
        condition = {
            f"{_field_name(model, column)}__isnull": LOOKUPS[test] for column, test in advice.where
        }
        arguments.append(f"condition=models.Q(**{pprint.pformat(condition)})")
    arguments.append(f"name={advice.name!r}")
    index = f"models.Index({', '.join(arguments)})"
    if advice.table in indexes.partitioned():
        note = (
            "            # Partitioned: PostgreSQL builds it under a lock; choose a quiet hour.\n"
        )
        return (
            f"        migrations.AddIndex(\n{note}"
            f"            {model._meta.model_name!r},\n            {index},\n        ),\n"
        )
    return (
        "        AddIndexConcurrently(\n"
        f"            {model._meta.model_name!r},\n"
        f"            {index},\n"
        "        ),\n"
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
