"""Odds as they are now (`Price`), as they were (`PriceChange`), what they allow (`Opportunity`).

Names are The Odds API v4's. Prices are decimal odds; times are UTC.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now

PRICE_DIGITS, PRICE_PLACES = 12, 6
"""American -110 is 1.909090…: six places keep every recorded price apart."""


class Sport(models.Model):
    """A competition, such as `soccer_epl`; The Odds API calls that a sport."""

    key = models.CharField(max_length=80, primary_key=True)
    group = models.CharField(max_length=80, blank=True, help_text="Such as Soccer.")
    title = models.CharField(max_length=120)
    active = models.BooleanField(default=True, help_text="Shown on the boards.")
    has_outrights = models.BooleanField(default=False)

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class Bookmaker(models.Model):
    """Who quotes prices. `commission` is kept back from net winnings (0.05 is 5 %)."""

    id = models.SmallAutoField(primary_key=True)
    key = models.CharField(max_length=80, unique=True)
    title = models.CharField(max_length=120)
    is_exchange = models.BooleanField(default=False)
    commission = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
    )
    active = models.BooleanField(default=True, help_text="Shown, and counted for arbitrage.")

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class Event(models.Model):
    """A match, or whatever else is bet on. Who adds or moves one keeps its sport's `Calendar`."""

    key = models.CharField(max_length=32, unique=True, help_text="The public id, 32 hex digits.")
    sport = models.ForeignKey(
        Sport,
        models.PROTECT,
        related_name="events",
        db_index=False,  # `event_of_sport` begins with it
    )
    commence_time = models.DateTimeField()
    date_only = models.BooleanField(default=False, help_text="The source gave a day, no hour.")
    home_team = models.CharField(max_length=120, blank=True)
    away_team = models.CharField(max_length=120, blank=True, help_text="Empty for outrights.")
    first_seen_at = models.DateTimeField(
        db_default=Now(), editable=False, help_text="No history of it is older than a day before."
    )
    revision = models.BigIntegerField(
        db_default=0,
        editable=False,
        help_text="The clock's microseconds when it or a price of it was last written.",
    )
    markets = ArrayField(
        models.CharField(max_length=64),
        db_default=[],
        editable=False,
        help_text="In which there is a price, so that a board need not look for one.",
    )

    class Meta:
        indexes = [
            models.Index(fields=["sport", "commence_time"], name="event_of_sport"),
            models.Index(fields=["commence_time", "key"], name="event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.home_team} – {self.away_team}" if self.away_team else self.key


class Calendar(models.Model):
    """When the coming and running events of a sport begin; see `odds.calendars`.

    Deleting one is always right: the sport's events are counted then.
    """

    sport = models.OneToOneField(
        Sport, models.CASCADE, primary_key=True, related_name="calendar", db_constraint=False
    )
    begins = ArrayField(models.DateTimeField(), help_text="Sorted; some may be over meanwhile.")

    def __str__(self) -> str:
        return f"{self.sport_id}: {len(self.begins)} events"


class Price(models.Model):
    """The current price of one outcome at one bookmaker; updated in place.

    Only the unique key is indexed, so that an update of the price stays on its page (HOT). Whoever
    writes one raises its event's `revision`, or readers go on with what they hold, adds to its
    `markets`, and writes its `Sheet` anew or deletes it.
    """

    # Without constraints in the database: ingest has just locked the event and read the bookmaker
    # in the same transaction, and checking each row again took 72-77 % of an INSERT of 48,000.
    event = models.ForeignKey(
        Event, models.CASCADE, related_name="prices", db_index=False, db_constraint=False
    )
    bookmaker = models.ForeignKey(
        Bookmaker, models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    market = models.CharField(max_length=64)
    outcome = models.CharField(max_length=120)
    point = models.DecimalField(max_digits=9, decimal_places=3, null=True)
    price = models.DecimalField(max_digits=PRICE_DIGITS, decimal_places=PRICE_PLACES)
    last_update = models.DateTimeField(
        null=True, help_text="When the bookmaker last confirmed it, by the provider."
    )
    changed_at = models.DateTimeField(db_default=Now(), help_text="When we last saw it move.")
    seen_at = models.DateTimeField(db_default=Now(), help_text="When we last saw it at all.")
    suspended_at = models.DateTimeField(
        null=True, help_text="Since when the source no longer offers it; null while it does."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event", "market", "bookmaker", "outcome", "point"],
                name="one_price_an_outcome",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=models.Q(price__gt=1), name="price_above_one"),
        ]

    def __str__(self) -> str:
        return f"{self.market} {self.outcome} {self.price}"


class Sheet(models.Model):
    """The prices of one market of an event as the JSON that readers take; see `odds.sheets`.

    Deleting one is always right: readers then make it from the prices.
    """

    pk = models.CompositePrimaryKey("event_id", "market")
    event = models.ForeignKey(
        Event, models.CASCADE, related_name="sheets", db_index=False, db_constraint=False
    )
    market = models.CharField(max_length=64)
    revision = models.BigIntegerField(help_text="The event's, as it was written.")
    lines = models.TextField(
        help_text="[market, outcome, point, [[bookmaker, price's id, price, confirmed at, "
        "changed at, suspended?], …]], …"
    )

    def __str__(self) -> str:
        return f"{self.event_id} {self.market} at {self.revision}"


class PriceChange(models.Model):
    """One move of one price; append-only, partitioned by the day of `recorded_at`.

    The day is that on which *we* recorded it, so that importing twenty seasons fills today's
    partition and does not make seven thousand; when it happened is `last_update`. No foreign keys:
    a partition is dropped whole, and checking them would double the cost of an import.
    """

    pk = models.CompositePrimaryKey("price_id", "recorded_at")
    price_id = models.BigIntegerField()
    recorded_at = models.DateTimeField()
    event_id = models.BigIntegerField()
    price = models.DecimalField(
        max_digits=PRICE_DIGITS,
        decimal_places=PRICE_PLACES,
        null=True,
        help_text="Null: no longer offered from then on.",
    )
    last_update = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["event_id", "recorded_at"], name="history_of_event")]

    def __str__(self) -> str:
        return f"{self.price_id}: {self.price} at {self.recorded_at:%Y-%m-%d %H:%M:%S}"


class Opportunity(models.Model):
    """An arbitrage: a book whose best prices' inverses sum to less than 1.

    One row for as long as it lasts; `closed_at` ends it. Suspect ones are kept and marked.
    """

    event = models.ForeignKey(Event, models.CASCADE, related_name="opportunities")
    market = models.CharField(max_length=64)
    point = models.DecimalField(
        max_digits=9, decimal_places=3, null=True, help_text="Spreads: the home side's line."
    )
    sum_inverse = models.DecimalField(max_digits=14, decimal_places=12)
    roi_pct = models.DecimalField(max_digits=10, decimal_places=6)
    legs = models.JSONField(
        help_text="[{outcome, point, price, bookmakers: [key], stake_pct, last_update}]"
    )
    suspect = models.CharField(
        max_length=200, blank=True, help_text="Why it is probably an error; empty when it is not."
    )
    needs_exchange = models.BooleanField(default=False)
    can_push = models.BooleanField(
        default=False, help_text="A whole or quarter line: part of the stakes may come back."
    )
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "opportunities"
        constraints = [
            models.UniqueConstraint(
                fields=["event", "market", "point"],
                condition=models.Q(closed_at__isnull=True),
                name="one_open_opportunity",
                nulls_distinct=False,
            )
        ]
        indexes = [
            models.Index(
                fields=["-roi_pct"],
                condition=models.Q(closed_at__isnull=True),
                name="best_open_opportunities",
            )
        ]

    def __str__(self) -> str:
        return f"{self.market} {self.roi_pct} %"


class FeedCursor(models.Model):
    """Where a feed goes on; written in the same transaction as the batch that got it there."""

    source = models.CharField(max_length=120, primary_key=True)
    cursor = models.JSONField()
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.source


class OutboxMessage(models.Model):
    """What must still be told after a batch: tags to invalidate, changes to broadcast.

    Written in the batch's transaction and deleted when it was delivered, so that a process killed
    between COMMIT and delivery loses nothing; `id` numbers the broadcasts.
    """

    created_at = models.DateTimeField(db_default=Now())
    tags = models.JSONField()
    message = models.JSONField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.pk}: {len(self.tags)} tags"


class RefusedQuote(models.Model):
    """What a source sent that could not be taken: kept apart with its reason, never half-applied.

    The same refusal again only counts `times`, so that a source that repeats itself does not fill
    the table; rows last seen longer ago than `refused_days` are deleted.
    """

    source = models.CharField(max_length=120)
    fingerprint = models.CharField(max_length=32, unique=True)
    quote = models.JSONField(help_text="The quote as it came, or the beginning of the answer.")
    reason = models.CharField(max_length=400)
    times = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-last_seen_at"]
        indexes = [models.Index(fields=["last_seen_at"], name="refused_lately")]

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"
