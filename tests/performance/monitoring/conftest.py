from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps

from performance.core.stores import bus
from performance.monitoring import rollups
from performance.monitoring.conf import MonitoringConf
from performance.monitoring.models import AlertRule
from performance.monitoring.recorder import StreamRecorder


@pytest.fixture(autouse=True)
def _no_ids_of_other_tests():
    rollups.forget_ids()


@pytest.fixture
def seeded(db):
    """The rules as the migrations make them: a flush by an earlier test takes them away."""
    if not AlertRule.objects.exists():
        for name, step in (
            ("0002_seed_alert_rules", "seed"),
            ("0003_calm_rules", "calm"),
            ("0005_seed_budgets", "seed_budgets"),
        ):
            migration = import_module(f"performance.monitoring.migrations.{name}")
            getattr(migration, step)(apps, None)


@pytest.fixture
def make_recorder():
    """Make recorders of several processes; none of them sends by itself."""
    made = []

    def make(node="web-1", process="web", bus=bus, **options):
        recorder = StreamRecorder(
            node=node, process=process, bus=bus, conf=MonitoringConf(**options)
        )
        recorder._stop.set()  # no thread: a test decides when a second ends
        made.append(recorder)
        return recorder

    return make
