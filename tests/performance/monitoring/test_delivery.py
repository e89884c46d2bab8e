"""Alerts on their way out: grouped, inhibited, silenced, signed, and to no inner address."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from performance.monitoring import alerting, delivery, outbound, telling
from performance.monitoring.errors import AddressRefused
from performance.monitoring.models import (
    AlertChannel,
    AlertEvent,
    AlertMessage,
    AlertRule,
    AlertSilence,
    AlertState,
)
from performance.monitoring.stepping import State

SECRET = "a secret of our own"


@pytest.fixture
def loopback(settings):
    """Webhooks may go to this machine, as only tests want it."""
    settings.PERFORMANCE = {
        **settings.PERFORMANCE, "MONITORING": {"webhook_networks": ("127.0.0.0/8",)}
    }  # fmt: skip


@pytest.fixture
def channel(db, receiver, loopback):
    AlertRule.objects.all().delete()
    return AlertChannel.objects.create(
        name="hook", kind="webhook", address=receiver.url, secret=SECRET, group_wait_s=0
    )


def rule(name, **fields):
    made = AlertRule.objects.create(name=name, metric="memory", fire_at=1, clear_at=1, **fields)
    AlertState.objects.create(rule=made, state=State.OK)
    return made


def move(rule, after, value=5.0):
    before = State(AlertState.objects.get(rule=rule).state)
    assert alerting.keep(alerting.Change(rule, before, after, value, "web-1", datetime.now(UTC)))


def silence(**fields):
    ends_at = datetime.now(UTC) + timedelta(minutes=5)
    return AlertSilence.objects.create(ends_at=ends_at, reason="r", by="ann", **fields)


def due_now():
    AlertMessage.objects.filter(sent_at=None).update(next_try_at=datetime.now(UTC))


def test_a_webhook_is_signed_over_its_bytes_and_says_what_happened(channel, receiver):
    move(rule("Memory"), State.FIRING)

    assert delivery.deliver() == 1
    headers, body = receiver.got[0]
    at, _, signed = headers["X-ProTipp-Signature"].partition(",v1=")
    expected = hmac.new(SECRET.encode(), at[2:].encode() + b"." + body, hashlib.sha256)
    assert hmac.compare_digest(signed, expected.hexdigest())
    told = json.loads(body)
    assert told["id"] == headers["Idempotency-Key"]
    assert told["alerts"][0] | {"rule": "Memory", "event": "fired"} == told["alerts"][0]


def test_alerts_that_come_together_are_one_message(channel, receiver):
    AlertChannel.objects.update(group_wait_s=10)
    for name in ("One", "Two", "Three"):
        move(rule(name), State.FIRING)

    assert delivery.deliver() == 0
    due_now()
    assert delivery.deliver() == 3
    assert len(receiver.got) == 1
    assert "3 alerts: One, Two, Three" in json.loads(receiver.got[0][1])["subject"]


def test_a_batch_that_failed_goes_out_again_with_its_number_and_without_newcomers(
    channel, receiver
):
    receiver.answers = [500, 302]
    move(rule("One"), State.FIRING)
    assert delivery.deliver() == 0
    move(rule("Two"), State.FIRING)
    due_now()
    assert delivery.deliver() == 1  # Two; One met a redirect, which is not followed
    due_now()
    assert delivery.deliver() == 1

    numbers = [headers["Idempotency-Key"] for headers, _ in receiver.got]
    assert len(receiver.got) == 4
    assert len(set(numbers)) == 2
    bodies = {body for headers, body in receiver.got if headers["Idempotency-Key"] == numbers[0]}
    assert len(bodies) == 1


def test_a_sender_that_is_killed_loses_nothing_and_two_send_nothing_twice(channel, receiver):
    move(rule("One"), State.FIRING)
    claimed = delivery.claim(datetime.now(UTC))  # and then it is killed

    assert len(claimed) == 1
    assert delivery.deliver() == 0
    later = datetime.now(UTC) + timedelta(seconds=delivery.CLAIM_S + 1)
    [again] = delivery.claim(later)
    assert again.number == claimed[0].number


def test_a_consequence_is_told_only_when_its_cause_is_over(channel, receiver):
    cause, consequence = rule("Cause"), rule("Consequence")
    consequence.inhibited_by.add(cause)
    move(cause, State.FIRING)
    move(consequence, State.FIRING)
    delivery.deliver()
    move(cause, State.OK)
    telling.catch_up()
    due_now()
    delivery.deliver()
    move(consequence, State.OK)
    delivery.deliver()

    told = [
        (row["rule"], row["event"])
        for _, body in receiver.got
        for row in json.loads(body)["alerts"]
    ]
    assert told == [
        ("Cause", "fired"),
        ("Consequence", "fired"),  # of the same message as the cause's end
        ("Cause", "cleared"),
        ("Consequence", "cleared"),
    ]
    assert len(receiver.got) == 3
    assert AlertEvent.objects.filter(rule=consequence).count() == 2


def test_a_cause_that_fires_a_little_later_still_holds_its_consequence_back(channel, receiver):
    cause, consequence = rule("Cause"), rule("Consequence")
    consequence.inhibited_by.add(cause)
    move(consequence, State.FIRING)
    move(cause, State.FIRING)
    delivery.deliver()
    move(consequence, State.OK)
    delivery.deliver()

    told = [row["rule"] for _, body in receiver.got for row in json.loads(body)["alerts"]]
    assert told == ["Cause"]


def test_what_began_in_silence_is_told_after_it_and_never_ends_unheard(channel, receiver):
    quiet = rule("Quiet")
    silence(rule=quiet)
    move(quiet, State.FIRING)
    move(quiet, State.OK)
    assert not AlertMessage.objects.exists()
    move(quiet, State.FIRING)
    assert telling.catch_up() == 0
    AlertSilence.objects.update(ends_at=datetime.now(UTC))

    assert telling.catch_up() == 1
    assert telling.catch_up() == 0
    assert delivery.deliver() == 1


def test_what_nobody_takes_up_is_told_again(channel, receiver):
    AlertChannel.objects.update(remind_after_s=60)
    move(rule("Memory"), State.FIRING)
    delivery.deliver()
    assert telling.remind() == 0
    AlertEvent.objects.update(at=datetime.now(UTC) - timedelta(seconds=61))

    assert telling.remind() == 1
    assert telling.remind() == 0
    assert delivery.deliver() == 1
    AlertEvent.objects.update(at=datetime.now(UTC) - timedelta(seconds=61))
    AlertState.objects.update(acknowledged_at=datetime.now(UTC))
    assert telling.remind() == 0


def test_only_the_critical_reach_those_who_want_no_others(channel, receiver):
    AlertChannel.objects.update(critical_only=True)
    move(rule("Warning"), State.FIRING)
    move(rule("Critical", severity="critical"), State.FIRING)

    assert delivery.deliver() == 1
    assert json.loads(receiver.got[0][1])["alerts"][0]["rule"] == "Critical"


def test_slacks_shape_escapes_what_it_quotes(channel, receiver):
    AlertChannel.objects.update(kind="slack")
    move(rule("<!channel> & co"), State.FIRING)

    assert delivery.deliver() == 1
    told = json.loads(receiver.got[0][1])
    assert "&lt;!channel&gt; &amp; co" in told["text"]
    assert told["attachments"][0]["color"] == "danger"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://user:secret@example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
        "ftp://example.org/",
        "https:///x",
        "https://example.org:99999/",
    ],
)
def test_an_inner_or_unsafe_address_is_refused_with_its_reason(url):
    with pytest.raises(AddressRefused, match="is not taken"):
        outbound.check_address(url)


def test_a_name_that_leads_inside_is_refused_when_it_is_asked(monkeypatch):
    answers = [("93.184.216.34", 443), ("10.0.0.7", 443)]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *args, **kw: [(2, 1, 6, "", one) for one in answers]
    )

    with pytest.raises(AddressRefused, match="inside a network"):
        outbound.resolve("https://rebinding.example/")
    answers.pop()
    assert outbound.resolve("https://fine.example/")[1] == "93.184.216.34"


def test_a_receiver_that_says_nothing_is_given_up(loopback, monkeypatch):
    monkeypatch.setattr(outbound, "PHASE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(outbound.httpx.TimeoutException):
            outbound.post(url, b"{}", {})


def test_a_channel_that_could_not_work_is_refused_in_the_admin(db):
    for fields, wrong in (
        ({"kind": "webhook", "address": "https://10.0.0.1/", "secret": SECRET}, "address"),
        ({"kind": "webhook", "address": "https://example.org/", "secret": "short"}, "secret"),
        ({"kind": "email", "address": "nobody"}, "address"),
    ):
        with pytest.raises(ValidationError) as refused:
            AlertChannel(name="x", **fields).full_clean()
        assert wrong in refused.value.error_dict
