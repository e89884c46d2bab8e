"""How many nodes are wanted: pure, with a clock of the test's own."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command

from performance.balancing import replaying, services
from performance.balancing.autoscaling import Scaler
from performance.balancing.conf import BalancingConf
from performance.balancing.nodes import Node
from performance.balancing.runtime import Backend, View
from performance.balancing.scaling import Memory, Policy, Sample, decide
from performance.core import signals

POLICY = Policy(slots=10, minimum=2, maximum=8)


def look(at_s=0.0, ready=2, in_use=0, queued=0, **more):
    more = {"queue_ms": 0.0, "cpu_ratio": 0.0} | more
    return Sample(at_s=at_s, ready=ready, in_use=in_use, queued=queued, **more)


def watch(memory, seconds, start_s=0.0, policy=POLICY, **sample):
    """Look every 2 s; return the verdicts."""
    steps = range(int(seconds / 2) + 1)
    return [decide(memory, look(start_s + 2 * step, **sample), policy) for step in steps]


def test_demand_over_the_target_starts_nodes_for_the_share_they_should_use():
    verdict = decide(Memory(), look(ready=2, in_use=20, queued=8), POLICY)

    assert verdict.count == 4  # 28 busy slots at 7 of 10 a node
    assert verdict.action == "scale_up"
    assert "wants 4 where 2 are ready" in verdict.reason
    assert verdict.inputs["in_use"] == 20


def test_a_rush_is_seen_by_the_short_window_long_before_the_long_one():
    memory = Memory()
    watch(memory, 54, in_use=0)
    verdicts = watch(memory, 6, start_s=56, in_use=40)

    assert any(verdict.count >= 4 for verdict in verdicts)
    assert verdicts[-1].inputs["wants"]["stable"] < 2 < verdicts[-1].inputs["wants"]["rush"]


def test_after_a_rush_nothing_is_stopped_for_a_minute():
    memory, policy = Memory(), replace(POLICY, down_s=2)
    decide(memory, look(ready=2, in_use=80), policy)

    verdict = watch(memory, 50, start_s=4, policy=policy, ready=8)[-1]

    assert (verdict.action, verdict.count) == ("hold", 8)


def test_nodes_are_not_started_twice_for_one_want():
    memory = Memory()
    assert decide(memory, look(0, ready=4, cpu_ratio=0.9), POLICY).action == "scale_up"

    assert decide(memory, look(2, ready=4, cpu_ratio=0.9), POLICY).action == "hold"
    assert decide(memory, look(16, ready=4, cpu_ratio=0.9), POLICY).action == "scale_up"


def test_a_rush_does_not_wait_because_nodes_were_started_moments_ago():
    memory = Memory()
    watch(memory, 20, in_use=10)
    assert decide(memory, look(22, ready=2, in_use=10, cpu_ratio=0.9), POLICY).action == "scale_up"

    first, *_ = watch(memory, 4, start_s=24, ready=3, in_use=10, queued=110)
    assert (first.action, first.count) == ("scale_up", 6)
    assert "rush wants 6" in first.reason


def test_a_rush_whose_nodes_are_on_their_way_starts_none_twice():
    memory = Memory()
    assert decide(memory, look(0, ready=2, in_use=28), POLICY).count == 4

    assert decide(memory, look(2, ready=4, in_use=28), POLICY).action == "hold"


def test_one_step_up_is_at_most_double_or_four_more():
    assert decide(Memory(), look(in_use=900), replace(POLICY, maximum=100)).count == 6


def test_nodes_are_stopped_one_at_a_time_after_five_quiet_minutes():
    memory = Memory()
    verdicts = watch(memory, 298, ready=5)
    assert {verdict.action for verdict in verdicts} == {"hold"}

    first, *rest = watch(memory, 58, start_s=302, ready=5)
    assert (first.action, first.count) == ("scale_down", 4)
    assert {verdict.action for verdict in rest} == {"hold"}


@pytest.mark.parametrize("missing", ["in_use", "queued", "queue_ms", "cpu_ratio"])
def test_what_is_not_measured_never_stops_a_node(missing):
    memory = Memory()
    verdicts = watch(memory, 900, ready=5, **{missing: None})

    assert {verdict.count for verdict in verdicts} == {5}
    assert "not measured" in verdicts[-1].reason


def test_without_any_signal_nothing_changes():
    verdict = decide(
        Memory(), look(ready=3, in_use=None, queued=None, queue_ms=None, cpu_ratio=None), POLICY
    )

    assert (verdict.action, verdict.count) == ("hold", 3)


def test_a_slow_queue_counts_only_when_it_lasts():
    memory = Memory()

    assert decide(memory, look(0, queue_ms=50.0), POLICY).action == "hold"
    assert decide(memory, look(2, queue_ms=50.0), POLICY).count == 4


def test_a_busy_processor_starts_nodes_when_slots_are_free():
    assert decide(Memory(), look(ready=4, cpu_ratio=0.95), POLICY).count == 6


def test_a_tenth_more_or_less_is_left_alone():
    memory = Memory()

    verdict = decide(memory, look(ready=10, in_use=71), replace(POLICY, maximum=20))

    assert verdict.action == "hold"


def test_the_database_caps_the_nodes_and_the_reason_says_so():
    verdict = decide(Memory(), look(in_use=100), replace(POLICY, cap=3))

    assert verdict.count == 3
    assert "the database's connections allow 3" in verdict.reason


def test_the_minimum_holds_even_against_the_cap():
    assert decide(Memory(), look(ready=1), replace(POLICY, cap=0)).count == 2


def test_a_replayed_day_costs_fewer_node_hours_than_the_maximum_and_is_never_short():
    day = [
        look(60.0 * minute, in_use=5 + (40 if 600 < minute < 720 else 0)) for minute in range(1440)
    ]

    done = replaying.replay(day, POLICY, boot_s=5)

    assert done.node_hours < 0.5 * done.fixed_node_hours
    assert done.short_s <= 120  # the step itself, at a sample a minute
    assert done.verdicts[0][1].action == "scale_up"
    assert done.verdicts[-1][1].action == "scale_down"


def test_the_command_replays_a_file_and_ends_with_its_node_hours(tmp_path):
    path = tmp_path / "demand.jsonl"
    path.write_text("\n".join(json.dumps({"at_s": 2 * n, "in_use": 400}) for n in range(60)))
    out = io.StringIO()

    call_command("scale", replay=str(path), json=True, stdout=out)

    *verdicts, total = [json.loads(line) for line in out.getvalue().splitlines()]
    assert verdicts[0]["action"] == "scale_up"
    assert verdicts[0]["inputs"]["in_use"] == 400
    assert 0 < total["node_hours"] < total["fixed_node_hours"] * 1.01


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "Line 1 is no sample"), ('{"at_s": 1, "in_use": "x"}', "Line 1 is no sample"),
        ('{"at_s": 1, "in_use": -1}', "below zero"),
        ('{"at_s": 2, "in_use": 1}\n{"at_s": 1, "in_use": 1}', "Line 2 goes back in time"),
    ],
)  # fmt: skip
def test_a_recording_that_cannot_be_read_is_named_by_its_line(tmp_path, text, says):
    path = tmp_path / "demand.jsonl"
    path.write_text(text)

    with pytest.raises(CommandError, match=says):
        call_command("scale", replay=str(path))


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (["web=3"], [("web", 3)]),
        (["--web", "3", "--live", "auto"], [("web", 3), ("live", None)]),
        (["--auto"], [("web", None), ("live", None)]),
        (["--live", "2", "--auto"], [("web", None), ("live", 2)]),
    ],
)  # fmt: skip
def test_nodes_are_asked_for_by_kind_or_left_to_demand(monkeypatch, given, asked):
    heard = []
    monkeypatch.setattr(
        services, "scale", lambda kind, count, by: heard.append((kind, count)) or "done"
    )

    call_command("scale", *given, stdout=io.StringIO())
    assert heard == asked


@pytest.mark.parametrize("count", ["many", "-1", "1.5"])
def test_a_number_of_nodes_that_is_none_is_refused(count):
    with pytest.raises(CommandError, match="is no target; write web=3"):
        call_command("scale", f"--web={count}")


class Told:
    """A recorder that keeps the last word of each gauge."""

    def __init__(self):
        self.gauges = {}

    def gauge(self, kind, key, value):
        self.gauges[kind, key] = value

    def observe(self, *measured):
        """What queries took is not asked for here."""


class Starts:
    """An executor that keeps the names it was asked for."""

    name = "test"

    keeps_spares = True

    def __init__(self, at_once=9):
        self.at_once, self.asked = at_once, []

    def start(self, kind, node_id, *, spare=False):
        self.asked.append(node_id)


@pytest.mark.django_db
def test_the_scaler_tells_what_alerts_are_made_of(monkeypatch):
    told = Told()
    monkeypatch.setattr(signals, "recorder", told)
    options = BalancingConf(min_web=1, max_web=2, min_live=1, forecast=False, boot_grace_s=0)
    scaler = Scaler(options, Starts())
    web = Node(id="web-1", kind="web", address="127.0.0.1:1", slots=64, cpu_ratio=3.0)
    queue = Backend(name="web", queued=7, sessions=0, rate_per_s=1)

    scaler.tick([web], View(digest="", servers=(), backends={"web": queue}), token=1)

    said = {key: value for (kind, key), value in told.gauges.items() if kind == "scaling"}
    assert said["waiting web"] == 7
    assert said["started web"] == 1
    assert said["short web"] >= 1  # five are wanted, two allowed
    assert said["blind web"] == 0
    assert said["blind live"] > 0  # the proxy says nothing of live nodes here


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("at_once", "first", "second"),
    [(1, ["web-2"], ["web-3"]), (9, ["web-2", "web-3", "web-4"], [])],
)
def test_on_one_machine_the_next_node_boots_once_the_last_one_is_there(at_once, first, second):
    executor = Starts(at_once)
    options = BalancingConf(min_web=1, max_web=4, forecast=False, boot_grace_s=0)
    scaler = Scaler(options, executor)
    nodes = [
        Node(id=f"web-{n}", kind="web", address=f"127.0.0.1:{n}", slots=64, cpu_ratio=9.0)
        for n in (1, 2)
    ]

    def web_started(there):
        executor.asked.clear()
        scaler.tick(there, None, token=1)
        return [name for name in executor.asked if name.startswith("web")]

    assert web_started(nodes[:1]) == first
    assert web_started(nodes[:1]) == []  # it is still booting
    assert web_started(nodes) == second
