"""Indexes and a date that the readers' statements need at a million prices.

`first_seen_at` lets the history of an event open the partitions of its own days. Events that were
there before get a date before all history, so that nothing of theirs is left out.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("odds", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="event",
            name="first_seen_at",
            field=models.DateTimeField(
                db_default=django.db.models.functions.datetime.Now(),
                editable=False,
                help_text="No history of it is older than a day before.",
            ),
        ),
        migrations.RunSQL(
            "UPDATE odds_event SET first_seen_at = '2020-01-01 00:00+00'",
            migrations.RunSQL.noop,
        ),
        AddIndexConcurrently(
            model_name="event",
            index=models.Index(fields=["commence_time", "key"], name="event_by_time"),
        ),
        migrations.AlterField(
            model_name="event",
            name="sport",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to="odds.sport",
            ),
        ),
    ]
