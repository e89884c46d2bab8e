from __future__ import annotations

import pytest

from performance.core.stores import bus
from performance.monitoring import rollups
from performance.monitoring.conf import MonitoringConf
from performance.monitoring.recorder import StreamRecorder


@pytest.fixture(autouse=True)
def _no_ids_of_other_tests():
    rollups.forget_ids()


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
