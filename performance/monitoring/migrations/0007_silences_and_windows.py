import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("performance_monitoring", "0006_edge_out"),
    ]

    operations = [
        migrations.AlterField(
            model_name="alertstate",
            name="subject",
            field=models.CharField(
                blank=True, help_text="Which key was the worst when it began.", max_length=300
            ),
        ),
        migrations.CreateModel(
            name="MuteWindow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "route",
                    models.CharField(
                        blank=True,
                        help_text="Patterns with *, with commas between; `!admin/*` leaves out. Empty takes all. Of the worst route when it fired, such as `api/*` or `POST api/*`; alerts that are about no route are not meant then.",
                        max_length=200,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        blank=True,
                        choices=[("warning", "warning"), ("critical", "critical")],
                        max_length=8,
                    ),
                ),
                (
                    "node",
                    models.CharField(
                        blank=True,
                        help_text="Patterns with *, with commas between; `!admin/*` leaves out. Empty takes all. Of the node that was the worst when it fired, such as `web-*`; alerts that are about no node are not meant then.",
                        max_length=200,
                    ),
                ),
                ("name", models.CharField(max_length=80, unique=True)),
                (
                    "weekdays",
                    models.CharField(
                        default="mon,tue,wed,thu,fri,sat,sun",
                        help_text="The days on which it begins.",
                        max_length=27,
                    ),
                ),
                ("begins", models.TimeField()),
                (
                    "ends",
                    models.TimeField(help_text="At or before the beginning means on the next day."),
                ),
                (
                    "zone",
                    models.CharField(
                        default="UTC",
                        help_text="Whose clock it is, such as Europe/Warsaw.",
                        max_length=64,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "rule",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty takes all.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="performance_monitoring.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="AlertSilence",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "route",
                    models.CharField(
                        blank=True,
                        help_text="Patterns with *, with commas between; `!admin/*` leaves out. Empty takes all. Of the worst route when it fired, such as `api/*` or `POST api/*`; alerts that are about no route are not meant then.",
                        max_length=200,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        blank=True,
                        choices=[("warning", "warning"), ("critical", "critical")],
                        max_length=8,
                    ),
                ),
                (
                    "node",
                    models.CharField(
                        blank=True,
                        help_text="Patterns with *, with commas between; `!admin/*` leaves out. Empty takes all. Of the node that was the worst when it fired, such as `web-*`; alerts that are about no node are not meant then.",
                        max_length=200,
                    ),
                ),
                ("starts_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ends_at", models.DateTimeField()),
                ("reason", models.CharField(max_length=300)),
                ("by", models.CharField(help_text="Who made it.", max_length=150)),
                (
                    "ended_by",
                    models.CharField(blank=True, help_text="Who ended it early.", max_length=150),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty takes all.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="performance_monitoring.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-ends_at"],
                "indexes": [models.Index(fields=["-ends_at"], name="alert_silence_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gte", models.F("starts_at"))),
                        name="silence_ends_after_it_starts",
                    )
                ],
            },
        ),
    ]
