import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="QueryShape",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "query_id",
                    models.BigIntegerField(help_text="The server's own queryid.", unique=True),
                ),
                ("sql", models.TextField(help_text="The statement, with ? for each literal.")),
                ("calls", models.PositiveBigIntegerField(default=0)),
                ("total_ms", models.FloatField(default=0.0)),
                ("rows", models.PositiveBigIntegerField(default=0)),
                ("first_seen_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "permissions": [
                    ("view_queries", "Can see the queries page"),
                    ("cancel_query", "Can cancel a running statement"),
                    ("terminate_backend", "Can end a database connection"),
                ],
                "indexes": [models.Index(fields=["-total_ms"], name="query_shape_costliest")],
            },
        ),
        migrations.CreateModel(
            name="QueryMinute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("minute", models.DateTimeField()),
                ("calls", models.PositiveIntegerField()),
                ("total_ms", models.FloatField()),
                ("rows", models.PositiveBigIntegerField()),
                (
                    "shape",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="minutes",
                        to="performance_queries.queryshape",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["minute"], name="query_minutes_by_age")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("shape", "minute"), name="one_row_a_shape_and_minute"
                    )
                ],
            },
        ),
    ]
