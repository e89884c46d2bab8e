"""When each sport's coming events begin, in one array: counted without visiting each of them.

It begins empty: a sport without a calendar is counted event by event. A feed of the version before
keeps none and must not run beside this one; delete the rows of odds_calendar if it did.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("odds", "0004_sheets")]

    operations = [
        migrations.CreateModel(
            name="Calendar",
            fields=[
                (
                    "sport",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="calendar",
                        serialize=False,
                        to="odds.sport",
                    ),
                ),
                (
                    "begins",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.DateTimeField(),
                        help_text="Sorted; some may be over meanwhile.",
                        size=None,
                    ),
                ),
            ],
        ),
    ]
