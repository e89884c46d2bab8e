"""Policy and weights as people set them while the site runs."""

from __future__ import annotations

import pytest

from performance.balancing import services
from performance.balancing.conf import BalancingConf
from performance.balancing.errors import BalancingError, UnknownNode
from performance.balancing.models import Decision, Steering
from performance.balancing.steering import steered
from performance.core import acts

from .conftest import load
from .test_balancer import world

__all__ = ["world"]
pytestmark = [pytest.mark.django_db, pytest.mark.stack]


def test_a_policy_chosen_on_the_page_is_the_proxys_at_the_next_tick_and_fails_nobody(world):
    two = world("web-1", "web-2", executor=False)
    with load(two.cluster, threads=2) as seen:
        said = services.balancer.choose("random(2)", by="ann")
        two.round()
        seen.more(20)

    assert "by random(2) from now on" in said
    assert "balance random(2)" in two.cluster.site.config_path.read_text()
    assert services.balancer.status()["policy"] == "random(2)"
    assert seen["failed"] == 0
    assert Decision.objects.get(action="policy").reason == "random(2) instead of leastconn"
    services.balancer.choose("", by="ann")
    two.round()
    assert services.balancer.status()["policy"] == "leastconn"


def test_a_weight_set_on_the_page_is_the_servers_and_can_be_given_back(world):
    two = world("web-1", "web-2", executor=False)
    services.balancer.weigh("web-2", 10, by="ann")
    assert two.until(lambda servers: servers["web-2"].weight == 10, "the weight")
    services.balancer.weigh("web-2", None, by="ann")
    assert two.until(lambda servers: servers["web-2"].weight == 100, "its own weight")

    assert Decision.objects.filter(action="weight", node_id="web-2").count() == 2


def test_what_cannot_be_set_is_named_with_what_can(world):
    world("web-1", executor=False)

    with pytest.raises(BalancingError, match="the policies are: leastconn"):
        services.balancer.choose("fastest", by="ann")
    with pytest.raises(BalancingError, match="must be 1 to 256"):
        services.balancer.weigh("web-1", 0, by="ann")
    with pytest.raises(UnknownNode, match="There are: web-1"):
        services.balancer.weigh("web-9", 10, by="ann")


def test_a_policy_that_this_version_does_not_know_counts_as_not_set():
    Steering.objects.create(policy="clairvoyant", by="a newer version")

    assert steered(BalancingConf(policy="roundrobin")).policy == "roundrobin"


@pytest.mark.parametrize("name", ["balancing.policy", "balancing.weight"])
def test_steering_needs_a_permission_of_its_own(name):
    assert acts.get(name).permission == "performance_balancing.steer_proxy"
    assert acts.get("balancing.policy").dangerous
