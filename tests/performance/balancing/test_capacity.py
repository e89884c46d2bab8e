"""How many users nodes hold: the law, the ramp that measures it, and the page that says so."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from performance.balancing import capacity, installing, load_testing, planning, services
from performance.balancing.capacity import Law, Point
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import BalancingError
from performance.balancing.loading import Order, crowd
from performance.balancing.models import LoadStep
from performance.balancing.site import Site

LOADS = (1, 2, 4, 8, 16, 32, 64)


def law(gain=200.0, contention=0.02, coherency=0.0005):
    return Law(gain=gain, contention=contention, coherency=coherency, seen_per_s=0)


@given(
    gain=st.floats(1, 1e4), contention=st.floats(0, 0.5), coherency=st.floats(0, 0.01),
)  # fmt: skip
def test_the_law_that_made_the_points_is_found_again(gain, contention, coherency):
    true = law(gain, contention, coherency)
    found = capacity.fit([Point(at_work=n, per_s=true.per_s(n)) for n in LOADS])

    assert found.per_s(32) == pytest.approx(true.per_s(32), rel=0.01)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.1, 1e4)), max_size=8))
def test_whatever_was_measured_no_term_is_negative(points):
    found = capacity.fit([Point(at_work=n, per_s=x) for n, x in points])

    if found is not None:
        assert found.gain > 0
        assert found.contention >= 0
        assert found.coherency >= 0


def test_a_load_too_light_to_make_anybody_wait_says_nothing():
    light = [Point(at_work=0.02 * n, per_s=10.0 * n) for n in range(1, 9)]

    assert capacity.fit(light) is None


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(0.1, 1e4)), max_size=8))
def test_no_peak_is_below_what_was_measured(points):
    found = capacity.fit([Point(at_work=n, per_s=x) for n, x in points])

    if found is not None and found.peak_per_s is not None:
        assert found.peak_per_s >= max(x for _, x in points)


def test_too_few_steps_say_nothing():
    assert capacity.fit([Point(at_work=1, per_s=10)] * 9) is None


def test_where_no_limit_was_seen_no_more_is_promised_than_was_measured():
    straight = capacity.fit([Point(at_work=n, per_s=100.0 * n) for n in LOADS])

    assert straight.peak_per_s is None or straight.peak_per_s > 1e6
    measured = Law(gain=100, contention=0, coherency=0, seen_per_s=6_400)
    assert capacity.users_held(measured, every_s=7.5, utilisation=0.7) == 33_600
    assert "nothing yet" in measured.limit


def test_a_curve_that_is_all_but_straight_shows_no_limit():
    """As measured once: a thousand answers a second, each in two milliseconds as the first were."""
    seen = [(1.05, 500), (1.31, 667), (1.78, 834), (2.18, 1_000)]
    found = capacity.fit([Point(at_work=n, per_s=x) for n, x in seen])

    assert found.peak_per_s is None
    assert "too light" in found.limit
    assert capacity.users_held(found, every_s=7.5, utilisation=0.7) == 5_250


def test_a_million_users_need_proxies_too():
    need = capacity.needs(
        law(), 2, 1_000_000, every_s=7.5, utilisation=0.7, connections=12_000
    )  # fmt: skip

    assert need.per_s == pytest.approx(133_333, rel=0.001)
    assert need.proxies == 84
    assert need.nodes > 10


@pytest.mark.django_db
def test_the_ramp_measures_each_step_and_the_capacity_follows(site):
    steps = list(
        load_testing.run_steps(
            site.directory, users=12, steps=4, seconds=0.5, every_s=0.1,
            paths={"/": 1.0}, nodes=2, by="ann",
        )
    )  # fmt: skip
    known = planning.latest(BalancingConf())

    assert [step.users for step in steps] == [3, 6, 9, 12]
    assert sum(step.errors for step in steps) == 0
    assert all(step.per_s > 0 and step.p99_ms >= step.p50_ms > 0 for step in steps)
    assert [step.users for step in known.steps] == [3, 6, 9, 12]
    if known.law:  # a noisy machine may give steps that no law fits
        assert [need.users for need in known.needs] == [100_000, 1_000_000]


def test_a_server_that_refuses_is_counted_and_never_left_out(site):
    found = crowd(
        Order(
            host="127.0.0.1", port=site.site.port, users=4, every_s=0.1, seconds=0.3,
            paths={"/x" + "y" * 20_000: 1.0},
        )
    )  # fmt: skip

    assert sum(found.errors.values()) >= found.asked > 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"users": 9_999}, "--users is 9999; it must be 1 to 5000"),
        ({"seconds": 999}, "--seconds is 999"), ({"every_s": 0.001}, "--every is 0.001"),
        ({"paths": {"http://elsewhere/": 1.0}}, "must begin with /"),
        ({"paths": {"/ HTTP/1.1\r\nHost: x": 1.0}}, "no spaces"),
    ],
)  # fmt: skip
def test_a_ramp_out_of_bounds_is_refused_by_name(tmp_path, wrong, says):
    asked = {"users": 2, "steps": 1, "seconds": 1, "every_s": 1, "paths": {"/": 1.0}} | wrong

    with pytest.raises(BalancingError, match=says):
        next(load_testing.run_steps(tmp_path, **asked, nodes=1, by="ann"))


@pytest.mark.parametrize(
    ("bind", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")]
)
def test_it_goes_to_loopback(tmp_path, bind, host):
    installing.save_site(Site(port=8000, directory=tmp_path, bind=bind))

    assert load_testing.loopback_of(tmp_path) == (host, 8000)


def test_it_goes_nowhere_else(tmp_path):
    installing.save_site(Site(port=8000, directory=tmp_path, bind="10.0.0.1"))

    with pytest.raises(BalancingError, match="loopback and nowhere else"):
        load_testing.loopback_of(tmp_path)


@pytest.mark.django_db
def test_the_command_draws_and_tells_and_needs_a_site(site, settings):
    settings.PROXY_DIRECTORY = str(site.directory)
    out = io.StringIO()
    call_command("load_test", users=4, steps=1, seconds=0.5, every=0.2, path=["/"], stdout=out)
    call_command("load_test", users=4, steps=1, seconds=0.5, json=True, path=["/"], stdout=out)
    drawn, told = out.getvalue().splitlines()

    assert drawn.startswith("     4 users")
    assert json.loads(told)["errors"] == 0
    settings.PROXY_DIRECTORY = ""
    with pytest.raises(CommandError, match=r"manage\.py up"):
        call_command("load_test")


@pytest.mark.django_db
def test_the_page_says_what_is_held_or_how_to_measure_it(
    admin_client, django_assert_max_num_queries
):
    empty = admin_client.get("/admin/performance/balancer/")
    true = law()
    began_at = "2026-01-01T00:00:00Z"
    for load in LOADS:
        LoadStep.objects.create(
            began_at=began_at, nodes=2, users=load, every_s=1, per_s=true.per_s(load),
            mean_ms=1e3 * load / true.per_s(load), p50_ms=1, p99_ms=2, errors=0, by="ann",
        )  # fmt: skip
    full = admin_client.get("/admin/performance/balancer/").content.decode()

    assert b"manage.py load_test" in empty.content
    assert "1,000,000 users" in full
    assert "coherency" in full
    with django_assert_max_num_queries(2):
        services.balancer.capacity()


def test_the_folder_of_the_proxy_is_a_setting(settings):
    assert isinstance(settings.PROXY_DIRECTORY, str)
    assert Path(settings.PROXY_DIRECTORY or "/").is_absolute()
