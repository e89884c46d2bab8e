"""`PERFORMANCE_LAYER=0` takes the whole layer out of a request's way."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LOOK = """
import json, sys
import django; django.setup()
from django.conf import settings
from django.db import connection
from performance.caching.services import cached
from performance.core import signals
from performance.queries.capture import capture
computed = []
@cached("layer.probe", ttl_s=60, schema=int)
def probe() -> int:
    computed.append(1)
    return len(computed)
probe(); probe()
with connection.cursor() as cursor:
    cursor.execute("SELECT 1")
sys.stdout.write(json.dumps({
    "computed": len(computed),
    "captured": capture in connection.execute_wrappers,
    "recorded": type(signals.recorder).__name__ == "StreamRecorder",
    "counted": "performance.queries.middleware.count_queries" in settings.MIDDLEWARE,
}))
"""


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_one_setting_takes_the_layer_out(on):
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "protipp.settings",
        "PERFORMANCE_LAYER": "1" if on else "0",
        "PROTIPP_PROCESS": "web",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["computed"] == (1 if on else 2)
    assert found["captured"] is found["recorded"] is found["counted"] is on
