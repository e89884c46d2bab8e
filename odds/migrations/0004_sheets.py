"""The prices of each market of an event as the JSON that readers take, one row for forty.

It begins empty: what has no sheet is read from its prices, and each batch writes those that it is
about. A feed of the version before writes none and must not run beside this one, or readers would
get what its batches have changed since; delete the rows of odds_sheet if it did.

Rows are replaced all day: half-empty pages keep that off the index, and compressing them would
cost more than it saves. What is longer than a page goes into TOAST.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("odds", "0003_what_readers_hold")]

    operations = [
        migrations.CreateModel(
            name="Sheet",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "event_id",
                        "market",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("market", models.CharField(max_length=64)),
                ("revision", models.BigIntegerField(help_text="The event's, as it was written.")),
                (
                    "lines",
                    models.TextField(
                        help_text="[market, outcome, point, [[bookmaker, price's id, price, "
                        "confirmed at, changed at, suspended?], …]], …"
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sheets",
                        to="odds.event",
                    ),
                ),
            ],
        ),
        migrations.RunSQL(
            "ALTER TABLE odds_sheet ALTER COLUMN lines SET STORAGE EXTERNAL, "
            "SET (fillfactor = 60, toast_tuple_target = 8160, "
            "autovacuum_vacuum_scale_factor = 0.05)",
            migrations.RunSQL.noop,
        ),
    ]
