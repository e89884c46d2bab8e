import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Bookmaker",
            fields=[
                ("id", models.SmallAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=80, unique=True)),
                ("title", models.CharField(max_length=120)),
                ("is_exchange", models.BooleanField(default=False)),
                (
                    "commission",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        max_digits=5,
                        validators=[
                            django.core.validators.MinValueValidator(0),
                            django.core.validators.MaxValueValidator(1),
                        ],
                    ),
                ),
                (
                    "active",
                    models.BooleanField(
                        default=True, help_text="Shown, and counted for arbitrage."
                    ),
                ),
            ],
            options={
                "ordering": ["title"],
            },
        ),
        migrations.CreateModel(
            name="FeedCursor",
            fields=[
                ("source", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("cursor", models.JSONField()),
                ("updated_at", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("tags", models.JSONField()),
                ("message", models.JSONField()),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="RefusedQuote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source", models.CharField(max_length=120)),
                ("fingerprint", models.CharField(max_length=32, unique=True)),
                (
                    "quote",
                    models.JSONField(
                        help_text="The quote as it came, or the beginning of the answer."
                    ),
                ),
                ("reason", models.CharField(max_length=400)),
                ("times", models.PositiveIntegerField(default=1)),
                (
                    "first_seen_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                (
                    "last_seen_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "ordering": ["-last_seen_at"],
                "indexes": [models.Index(fields=["last_seen_at"], name="refused_lately")],
            },
        ),
        migrations.CreateModel(
            name="Sport",
            fields=[
                ("key", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("group", models.CharField(blank=True, help_text="Such as Soccer.", max_length=80)),
                ("title", models.CharField(max_length=120)),
                ("active", models.BooleanField(default=True, help_text="Shown on the boards.")),
                ("has_outrights", models.BooleanField(default=False)),
            ],
            options={
                "ordering": ["title"],
            },
        ),
        # Django cannot say PARTITION BY, so the table is made in SQL and the state beside it.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="PriceChange",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "price_id",
                                "recorded_at",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("price_id", models.BigIntegerField()),
                        ("recorded_at", models.DateTimeField()),
                        ("event_id", models.BigIntegerField()),
                        (
                            "price",
                            models.DecimalField(
                                decimal_places=6,
                                help_text="Null: no longer offered from then on.",
                                max_digits=12,
                                null=True,
                            ),
                        ),
                        ("last_update", models.DateTimeField(null=True)),
                    ],
                    options={
                        "indexes": [
                            models.Index(
                                fields=["event_id", "recorded_at"], name="history_of_event"
                            )
                        ],
                    },
                ),
            ],
            database_operations=[
                migrations.RunSQL(
                    sql=[
                        """
                        CREATE TABLE odds_pricechange (
                            price_id bigint NOT NULL,
                            recorded_at timestamptz NOT NULL,
                            event_id bigint NOT NULL,
                            price numeric(12, 6),
                            last_update timestamptz,
                            PRIMARY KEY (price_id, recorded_at)
                        ) PARTITION BY RANGE (recorded_at)
                        """,
                        # Takes what no day's partition does: a late partition must not lose history.
                        "CREATE TABLE odds_pricechange_default PARTITION OF odds_pricechange DEFAULT",
                        """
                        CREATE INDEX history_of_event
                        ON odds_pricechange (event_id, recorded_at)
                        """,
                    ],
                    reverse_sql="DROP TABLE odds_pricechange",
                )
            ],
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="The public id, 32 hex digits.", max_length=32, unique=True
                    ),
                ),
                ("commence_time", models.DateTimeField()),
                (
                    "date_only",
                    models.BooleanField(default=False, help_text="The source gave a day, no hour."),
                ),
                ("home_team", models.CharField(blank=True, max_length=120)),
                (
                    "away_team",
                    models.CharField(blank=True, help_text="Empty for outrights.", max_length=120),
                ),
                (
                    "sport",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="odds.sport",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Opportunity",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("market", models.CharField(max_length=64)),
                (
                    "point",
                    models.DecimalField(
                        decimal_places=3,
                        help_text="Spreads: the home side's line.",
                        max_digits=9,
                        null=True,
                    ),
                ),
                ("sum_inverse", models.DecimalField(decimal_places=12, max_digits=14)),
                ("roi_pct", models.DecimalField(decimal_places=6, max_digits=10)),
                (
                    "legs",
                    models.JSONField(
                        help_text="[{outcome, point, price, bookmakers: [key], stake_pct, last_update}]"
                    ),
                ),
                (
                    "suspect",
                    models.CharField(
                        blank=True,
                        help_text="Why it is probably an error; empty when it is not.",
                        max_length=200,
                    ),
                ),
                ("needs_exchange", models.BooleanField(default=False)),
                (
                    "can_push",
                    models.BooleanField(
                        default=False,
                        help_text="A whole or quarter line: part of the stakes may come back.",
                    ),
                ),
                ("first_seen_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="opportunities",
                        to="odds.event",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "opportunities",
                "indexes": [
                    models.Index(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=["-roi_pct"],
                        name="best_open_opportunities",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("event", "market", "point"),
                        name="one_open_opportunity",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Price",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("market", models.CharField(max_length=64)),
                ("outcome", models.CharField(max_length=120)),
                ("point", models.DecimalField(decimal_places=3, max_digits=9, null=True)),
                ("price", models.DecimalField(decimal_places=6, max_digits=12)),
                (
                    "last_update",
                    models.DateTimeField(
                        help_text="When the bookmaker last confirmed it, by the provider.",
                        null=True,
                    ),
                ),
                (
                    "changed_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="When we last saw it move.",
                    ),
                ),
                (
                    "seen_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="When we last saw it at all.",
                    ),
                ),
                (
                    "suspended_at",
                    models.DateTimeField(
                        help_text="Since when the source no longer offers it; null while it does.",
                        null=True,
                    ),
                ),
                (
                    "bookmaker",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="odds.bookmaker",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="prices",
                        to="odds.event",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("event", "market", "bookmaker", "outcome", "point"),
                        name="one_price_an_outcome",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price__gt", 1)), name="price_above_one"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["sport", "commence_time"], name="event_of_sport"),
        ),
        # Prices are updated in place all day: free space on each page keeps that off the indexes.
        migrations.RunSQL(
            sql="ALTER TABLE odds_price SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)",
            reverse_sql="ALTER TABLE odds_price RESET (fillfactor, autovacuum_vacuum_scale_factor)",
        ),
    ]
