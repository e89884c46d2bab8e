"""A number that changes with an event's prices, so that a reader asks for nothing it has already.

And the markets in which an event has prices, so that a board need not look for one of each event.

Each batch writes it into the events that it is about: free space on their pages keeps those updates
off the indexes.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("odds", "0002_read_what_is_asked")]

    operations = [
        migrations.AddField(
            model_name="event",
            name="revision",
            field=models.BigIntegerField(
                db_default=0,
                editable=False,
                help_text="The clock's microseconds when it or a price of it was last written.",
            ),
        ),
        migrations.AddField(
            model_name="event",
            name="markets",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64),
                db_default=[],
                editable=False,
                help_text="In which there is a price, so that a board need not look for one.",
                size=None,
            ),
        ),
        migrations.RunSQL(
            "UPDATE odds_event e SET markets = p.markets FROM ("
            "SELECT event_id, array_agg(DISTINCT market) AS markets FROM odds_price GROUP BY 1"
            ") p WHERE p.event_id = e.id",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            sql="ALTER TABLE odds_event "
            "SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)",
            reverse_sql="ALTER TABLE odds_event RESET (fillfactor, autovacuum_vacuum_scale_factor)",
        ),
    ]
