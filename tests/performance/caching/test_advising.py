from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from performance.caching.advising import Facts, advise, change_rate, nice, outdated_share
from performance.caching.services import cache, cached

PLENTY = Facts(
    ttl_s=5, tagged=False, warmed=False, reads=10_000, misses=200, outdated=0, loads=200,
    load_mean_ms=20.0,    compared=180, changed=0, compared_s=900.0, window_s=900.0,
)  # fmt: skip


def facts(**changed):
    return Facts(**{name: getattr(PLENTY, name) for name in PLENTY.__slots__} | changed)


def test_a_value_that_never_changed_may_live_longer_but_not_for_ever():
    advice = advise(PLENTY)

    assert advice.verdict == "longer"
    assert advice.ttl_s == 30  # 5 % outdated at one change in 300 s
    assert "11.1 loads a minute fewer" in advice.said
    assert "180 refreshes about 5.0 s" in advice.evidence


def test_a_value_that_changes_untold_should_live_shorter():
    advice = advise(facts(ttl_s=60, compared=100, compared_s=6000.0, changed=90))

    assert advice.verdict == "shorter"
    assert advice.ttl_s < 30
    assert "A tag would" in advice.said
    assert "no tag tells" in advise(facts(tagged=True, ttl_s=60, changed=90)).said


def test_what_fits_is_left_alone():
    # one change in 50 s: 5 % of the answers outdated at 5 s
    assert advise(facts(changed=17)).verdict == "fits"


def test_nothing_is_advised_without_enough_to_go_by():
    for few in ({"reads": 99}, {"compared": 19, "changed": 0}):
        advice = advise(facts(**few))
        assert (advice.verdict, advice.ttl_s) == ("unknown", None)


def test_what_changes_faster_than_it_is_read_is_said_to_be_no_use():
    assert advise(facts(misses=9_000, outdated=8_000)).verdict == "no use"


def test_warming_what_nobody_reads_is_said_to_cost_more_than_it_spares():
    advice = advise(facts(warmed=True, reads=12, loads=300))

    assert advice.verdict == "no use"
    assert "300 times for 12 reads" in advice.said


def test_the_rate_is_found_even_when_several_changes_fall_between_two_looks():
    chance, rate, distance_s, pairs = random.Random(3), 0.2, 10.0, 4000
    changed = sum(chance.expovariate(rate) < distance_s for _ in range(pairs))
    seen = facts(compared=pairs, changed=changed, compared_s=pairs * distance_s)

    assert change_rate(seen) == pytest.approx(rate, rel=0.1)
    assert changed / (pairs * distance_s) < rate / 2  # what counting alone would say


@given(st.floats(1e-9, 100), st.floats(0.01, 1e6))
def test_more_lifetime_never_means_fewer_outdated_answers(rate, ttl_s):
    share = outdated_share(rate, ttl_s)

    assert 0 <= share <= 1
    assert share <= outdated_share(rate, ttl_s * 1.5) + 1e-9


@given(st.floats(0.1, 1e6))
def test_advice_is_a_round_number_that_promises_no_more(seconds):
    assert nice(seconds) <= seconds * 1.000001
    assert nice(seconds) >= seconds / 2.01


@given(
    reads=st.integers(0, 10**6), misses=st.integers(0, 10**6), outdated=st.integers(0, 10**6),
    compared=st.integers(0, 10**5), changed=st.integers(0, 10**5), ttl_s=st.floats(0.1, 10**5),
    compared_s=st.floats(0, 10**7), tagged=st.booleans(),
)  # fmt: skip
def test_any_counters_give_an_answer(compared, changed, **counted):
    advise(facts(compared=compared, changed=min(changed, compared), **counted))


def test_refreshes_are_compared_and_only_untold_changes_counted(fake):
    value = ["a"]

    @cached("moving", ttl_s=10, stale_s=60, memory_s=0, tags=lambda: ["moving"])
    def moving() -> str:
        return value[0]

    moving()
    fake.advance(11)
    moving()  # stale: refreshed behind, the same
    fake.settle()
    value[0] = "b"
    fake.advance(2)
    moving.refresh()
    moving.refresh()  # within the same second: not compared
    value[0] = "c"
    cache.invalidate("moving")
    moving()  # told: a miss, nothing to compare
    counts = moving.counts

    assert (counts.compared, counts.changed) == (2, 1)
    assert counts.compared_ms == 13_000
    assert counts.outdated == 1


def test_what_differs_at_each_computation_is_no_change(fake):
    made = iter(range(100))

    @cached("stamped", audited=lambda value: value["price"])
    def stamped() -> dict[str, int]:
        return {"price": 7, "as_of": next(made)}

    stamped()
    stamped.refresh()

    assert (stamped.counts.compared, stamped.counts.changed) == (1, 0)
