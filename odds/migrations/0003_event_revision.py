"""A number that changes with an event's prices, so that a reader asks for nothing it has already.

Each batch writes it into the events that it is about: free space on their pages keeps those updates
off the indexes.
"""

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
        migrations.RunSQL(
            sql="ALTER TABLE odds_event "
            "SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)",
            reverse_sql="ALTER TABLE odds_event RESET (fillfactor, autovacuum_vacuum_scale_factor)",
        ),
    ]
