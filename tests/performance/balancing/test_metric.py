"""The number that a cluster's own scaler reads, and who is told about pods."""

from __future__ import annotations

import json
import time

import pytest

from performance.balancing import leading
from performance.balancing.balancer import STATUS_KEY
from performance.balancing.errors import SupervisorFailed
from performance.core import stores

pytestmark = pytest.mark.django_db
TOKEN = {"Authorization": "Bearer " + "t" * 32}


@pytest.fixture(autouse=True)
def _token(settings):
    settings.READYZ_TOKEN = "t" * 32


def tell(wanted):
    nodes = [("web", "up"), ("web", "spare"), ("live", "up")]
    status = {
        "at_s": time.time(),
        "nodes": [{"kind": kind, "state": state} for kind, state in nodes],
        "wanted": wanted,
    }
    stores.bus().set(STATUS_KEY, json.dumps(status))


def test_the_number_is_what_the_balancer_wants(client):
    tell({"web": 3, "live": None})

    answer = client.get("/scaling/web", headers=TOKEN)
    assert answer.json() == {"kind": "web", "wanted": 3, "present": 1}
    assert "no-store" in answer["Cache-Control"]


def test_no_number_is_made_up(client):
    assert client.get("/scaling/web", headers=TOKEN).status_code == 503
    tell({"web": 3, "live": None})
    assert client.get("/scaling/live", headers=TOKEN).status_code == 503


def test_strangers_do_not_learn_that_it_is_there(client):
    tell({"web": 3, "live": 1})

    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert client.get("/scaling/web", headers=headers).status_code == 404
    assert client.get("/scaling/database", headers=TOKEN).status_code == 404


def test_in_a_cluster_the_pods_are_told_by_kubernetes(settings, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings.PERFORMANCE = {"BALANCING": {"executor": "kubernetes"}}

    with pytest.raises(SupervisorFailed, match="Kubernetes"):
        leading._executor()
