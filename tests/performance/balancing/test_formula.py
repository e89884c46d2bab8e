"""The scaler's formula under anything: bounds, missing numbers, noise, the calendar, the week."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError
from hypothesis import given, settings
from hypothesis import strategies as st

from performance.balancing import floors, forecasting, replaying
from performance.balancing.arrivals import record, take_p95_ms, wsgi_arrivals
from performance.balancing.forecasting import Forecast
from performance.balancing.models import DemandSlot
from performance.balancing.scaling import Memory, Policy, Sample, decide

POLICY = Policy(slots=10, minimum=2, maximum=8)
MAYBE = st.none() | st.integers(0, 500)
SAMPLES = st.lists(
    st.builds(
        dict, ready=st.integers(0, 20), in_use=MAYBE, queued=MAYBE,
        queue_ms=st.none() | st.floats(0, 1e6), cpu_ratio=st.none() | st.floats(0, 1),
        floors=st.dictionaries(st.sampled_from(["fixtures", "forecast"]), st.integers(0, 50)),
        unknown=st.sampled_from([(), ("fixtures",)]),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@given(SAMPLES, st.none() | st.integers(0, 20), st.floats(0.1, 120))
def test_whatever_is_measured_the_number_is_within_its_bounds(samples, cap, step_s):
    policy = Policy(slots=10, minimum=2, maximum=8, cap=cap)
    memory = Memory()

    for number, sample in enumerate(samples):
        verdict = decide(memory, Sample(at_s=number * step_s, **sample), policy)
        assert policy.minimum <= verdict.count <= max(policy.minimum, min(8, cap or 8))
        assert verdict.reason


@given(SAMPLES, st.floats(1, 600))
def test_where_anything_is_missing_nothing_is_stopped(samples, step_s):
    memory = Memory()

    for number, sample in enumerate(samples):
        seen = Sample(at_s=number * step_s, **sample | {"ready": 5})
        verdict = decide(memory, seen, POLICY)
        missing = None in (seen.in_use, seen.queued, seen.queue_ms, seen.cpu_ratio)
        if missing or seen.unknown:
            assert verdict.count >= 5


@settings(max_examples=25)
@given(st.integers(10, 50), st.integers(0, 2**32))
def test_noise_makes_nobody_flap(mean, seed):
    rng = random.Random(seed)
    noise = [rng.uniform(-0.08, 0.08) for _ in range(600)]
    demand = [
        Sample(at_s=2.0 * n, ready=0, in_use=round(mean * (1 + wave)), queued=0,
               queue_ms=0.0, cpu_ratio=0.0)
        for n, wave in enumerate(noise)
    ]  # fmt: skip

    done = replaying.replay(demand, POLICY, boot_s=5)

    # The very first look may want one too many; once that is given back, nothing moves.
    assert done.flaps <= 1
    assert [one.action for _, one in done.verdicts].count("scale_down") <= 1


def test_a_step_up_and_down_and_up_again_at_once_is_told_as_flaps():
    day = [
        Sample(at_s=2.0 * n, ready=0, in_use=44 if (n // 240) % 2 else 4, queued=0,
               queue_ms=0.0, cpu_ratio=0.0)
        for n in range(1_440)
    ]  # fmt: skip
    quick = Policy(slots=10, minimum=1, maximum=8, down_s=20, down_every_s=10)

    told = replaying.replay(day, quick, boot_s=5).flaps
    assert told > 2
    assert replaying.replay(day, POLICY, boot_s=5).flaps < told


def test_a_recorded_queue_above_the_target_is_out_of_the_objective():
    slow = [
        Sample(at_s=float(n), ready=0, in_use=4, queued=0, queue_ms=100.0 if n > 50 else 1.0)
        for n in range(101)
    ]

    assert replaying.replay(slow, POLICY, boot_s=5).missed_s == 50


def test_a_floor_brings_nodes_before_demand_and_the_reason_names_it():
    ahead = Sample(at_s=0, ready=2, in_use=0, queued=0, queue_ms=0.0, cpu_ratio=0.0,
                   floors={"fixtures": 5})  # fmt: skip

    verdict = decide(Memory(), ahead, POLICY)

    assert verdict.count == 5
    assert "fixtures wants 5" in verdict.reason


@pytest.fixture
def floor():
    asked = []

    def register(answer):
        def told(kind):
            asked.append(kind)
            if isinstance(answer, Exception):
                raise answer
            return answer

        floors.register_floor("derby", told)
        return asked

    yield register
    floors.unregister_floor("derby")


@pytest.mark.django_db
def test_a_floor_is_asked_twice_a_minute_and_not_at_every_tick(floor):
    asked, all_of_them = floor(3), floors.Floors()

    for _ in range(5):
        wants, unknown = all_of_them.of("web")
    assert (wants["derby"], unknown) == (3, ())
    assert asked == ["web"]


@pytest.mark.django_db
def test_a_floor_that_fails_is_missing_and_keeps_every_node(floor, caplog):
    floor(DatabaseError("away"))

    wants, unknown = floors.Floors().of("web")
    assert "derby" not in wants
    assert unknown == ("derby",)
    assert "away" in caplog.text


@pytest.mark.parametrize("name", ["cpu", "two words", ""])
def test_a_floor_takes_no_signals_name(name):
    with pytest.raises(ValueError, match="plain word"):
        floors.register_floor(name, lambda kind: 0)


MONDAY = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def watch(forecast, week, demand, minutes=10):
    for tick in range(minutes * 6 + 1):
        forecast.look(demand, MONDAY + timedelta(weeks=week, seconds=10 * tick))


@pytest.mark.django_db
def test_the_same_time_of_two_weeks_foretells_the_third():
    for week, demand in ((0, 10), (1, 20)):
        watch(Forecast("web", 600), week, demand)
    before = MONDAY + timedelta(weeks=2, minutes=-10)

    assert Forecast("web", 600).demand(before) == pytest.approx(14)  # 0.6 of 10 and 0.4 of 20
    assert Forecast("live", 600).demand(before) is None
    assert Forecast("web", 600).demand(before + timedelta(minutes=10)) is None


@pytest.mark.django_db
def test_one_week_foretells_nothing_and_a_gap_teaches_nothing():
    watch(Forecast("web", 600), 0, 10)
    assert Forecast("web", 600).demand(MONDAY - timedelta(minutes=10)) is None
    jumpy = Forecast("web", 600)
    jumpy.look(50, MONDAY)
    jumpy.look(50, MONDAY + timedelta(hours=2))

    assert DemandSlot.objects.get().mean == 10


def test_a_forecast_is_nodes_at_the_target_share():
    assert forecasting.nodes_for(14, slots=10, utilisation=0.7) == 2


def test_the_wait_of_requests_is_told_by_its_95th_percentile_and_then_forgotten():
    for waited_ms in range(1, 101):
        record("t=1000000000", 1_000 + waited_ms / 1e3)

    assert take_p95_ms() == pytest.approx(95, abs=0.1)
    assert take_p95_ms() == 0.0


@pytest.mark.parametrize("stamp", ["", "t=", "yesterday", "t=1", "-5"])
def test_a_stamp_that_cannot_be_is_no_wait_and_fails_nobody(stamp):
    site = wsgi_arrivals(lambda environ, start: [b"the site"])

    assert site({"HTTP_X_REQUEST_START": stamp}, None) == [b"the site"]
    assert take_p95_ms() == 0.0


def test_clocks_that_disagree_make_no_negative_wait():
    record("t=2000000", now_s=1.0)

    assert take_p95_ms() == 0.0
