from __future__ import annotations

from django.db import models
from django.db.models import Q


class Decision(models.Model):
    """One thing that the balancer, the autoscaler or a person decided, and why. Append-only."""

    class Action(models.TextChoices):
        SCALE_UP = "scale_up", "start nodes"
        SCALE_DOWN = "scale_down", "stop nodes"
        HOLD = "hold", "leave as it is"
        PIN = "pin", "set by hand"
        DRAIN = "drain", "drain"
        STOP = "stop", "stop"
        JOIN = "join", "take in"
        LEAVE = "leave", "take out"
        RELOAD = "reload", "reload the proxy"
        FAILED = "failed", "could not"
        POLICY = "policy", "choose otherwise"
        WEIGHT = "weight", "set a weight"
        ASIDE = "aside", "set aside"
        BACK = "back", "let back"
        SPARE = "spare", "start ahead"

    at = models.DateTimeField(auto_now_add=True)
    action = models.CharField(max_length=16, choices=Action.choices)
    kind = models.CharField(max_length=8, blank=True, help_text="web, live, or empty for the proxy")
    node_id = models.CharField(max_length=63, blank=True)
    before = models.PositiveIntegerField(null=True, help_text="Nodes of this kind before.")
    after = models.PositiveIntegerField(null=True, help_text="Nodes wanted now.")
    reason = models.TextField()
    inputs = models.JSONField(default=dict, help_text="The numbers that it was decided from.")
    by = models.CharField(max_length=150, help_text="A person's name, or balancer or autoscaler.")
    token = models.BigIntegerField(default=0, help_text="The leader's fencing token.")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["-at"], name="balancing_decision_latest")]
        permissions = [
            ("view_balancer", "Can see the balancer page"),
            ("drain_node", "Can drain a node"),
            ("scale_nodes", "Can set how many nodes there are"),
            ("steer_proxy", "Can set how the proxy chooses, and nodes' weights"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.node_id or self.kind}: {self.reason}"


class DrainOrder(models.Model):
    """A wish that a node takes nothing new; the balancer carries it out, whoever leads.

    It is a row and not a message, so that it outlives a wiped bus and a killed balancer.
    """

    node_id = models.CharField(max_length=63)
    kind = models.CharField(max_length=8)
    stop = models.BooleanField(default=True, help_text="Stop the node once it is empty.")
    by = models.CharField(max_length=150)
    asked_at = models.DateTimeField(auto_now_add=True)
    done_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["node_id"], condition=Q(done_at=None), name="balancing_one_open_drain"
            )
        ]

    def __str__(self) -> str:
        return f"drain {self.node_id}" + ("" if self.done_at else " (open)")


class ScaleTarget(models.Model):
    """How many nodes of a kind a person set; without a row the autoscaler decides."""

    kind = models.CharField(max_length=8, unique=True)
    count = models.PositiveIntegerField()
    by = models.CharField(max_length=150)
    set_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.count} {self.kind}, set by {self.by}"


class Steering(models.Model):
    """How the proxy chooses, as a person set it on the page; without a row the settings decide."""

    only = models.BooleanField(primary_key=True, default=True, editable=False)
    """There is one row at most."""
    policy = models.CharField(max_length=16)
    by = models.CharField(max_length=150)
    set_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = verbose_name_plural = "steering"
        constraints = [models.CheckConstraint(condition=Q(only=True), name="one_steering")]

    def __str__(self) -> str:
        return f"{self.policy}, set by {self.by}"


class NodeWeight(models.Model):
    """The share of a node beside the others, set by hand: 100 is everybody's own, 1 to 256."""

    node_id = models.CharField(max_length=63, primary_key=True)
    weight = models.PositiveSmallIntegerField()
    by = models.CharField(max_length=150)
    set_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(weight__gte=1, weight__lte=256), name="weight_that_haproxy_takes"
            )
        ]

    def __str__(self) -> str:
        return f"{self.node_id}: {self.weight}"


class DemandSlot(models.Model):
    """What ten minutes of the week usually ask for: slots in use and requests in the queue."""

    kind = models.CharField(max_length=8)
    slot = models.PositiveSmallIntegerField(help_text="From Monday 00:00 UTC, 0 to 1007.")
    mean = models.FloatField()
    weeks = models.PositiveIntegerField(help_text="In how many weeks it was seen.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "slot"], name="one_demand_a_slot")]

    def __str__(self) -> str:
        return f"{self.kind} {self.slot}: {self.mean:.1f}"


class LoadStep(models.Model):
    """One step of a load test: so many users, and what they met. The page draws its curve."""

    began_at = models.DateTimeField(db_index=True, help_text="When its test began.")
    nodes = models.PositiveSmallIntegerField(help_text="Web nodes that were up then.")
    users = models.PositiveIntegerField()
    every_s = models.FloatField(help_text="How often each user asked.")
    per_s = models.FloatField(help_text="Answers a second.")
    mean_ms = models.FloatField()
    p50_ms = models.FloatField()
    p99_ms = models.FloatField()
    errors = models.PositiveIntegerField()
    by = models.CharField(max_length=150)

    class Meta:
        ordering = ["-began_at", "users"]

    def __str__(self) -> str:
        return f"{self.users} users: {self.per_s:.0f}/s, p99 {self.p99_ms:.1f} ms"
