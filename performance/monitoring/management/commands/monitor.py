from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from performance.monitoring import services


class Command(BaseCommand):
    help = "Merge every process's last second, keep it, watch it, and push it to the live pages."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        services.monitor.run_monitor(stop)
