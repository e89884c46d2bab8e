"""The Celery app and the whole beat timetable.

A task is only a hint: what must happen is a row in PostgreSQL, and a re-scan finds what was lost.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from celery import Celery
from celery.signals import worker_init
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")

VISIBILITY_TIMEOUT_S = 300

app = Celery("protipp")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    result_backend=None,
    task_ignore_result=True,
    task_acks_late=True,
    task_time_limit=120,
    task_soft_time_limit=90,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    worker_soft_shutdown_timeout=3,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_S, "socket_timeout": 30},
    timezone="UTC",
)
app.autodiscover_tasks()


@worker_init.connect
def leave_what_was_loaded(**kwargs: Any) -> None:
    """Keep the collector from the 150,000 objects of our code, before the children are forked.

    It would copy their pages in each child, and walk over all of them once more at the end: half
    a second a process, which is what a stop within its limit lacked.
    """
    gc.collect()
    gc.freeze()


app.conf.beat_schedule = {
    # queries
    "take-query-sample": {"task": "performance.queries.take_sample", "schedule": 60},
    "prune-query-history": {"task": "performance.queries.prune_history", "schedule": 3600},
    # caching
    "warm-cache": {"task": "performance.caching.warm", "schedule": 2, "options": {"expires": 2}},
    "audit-cache": {"task": "performance.caching.audit", "schedule": 30},
    "publish-cache-settings": {"task": "performance.caching.publish_settings", "schedule": 10},
    # cdn
    "deliver-cdn-purges": {"task": "performance.cdn.deliver_purges", "schedule": 10},
    "prune-cdn-ledger": {"task": "performance.cdn.prune_ledger", "schedule": 86400},
    # odds
    "deliver-outbox": {
        "task": "odds.deliver_outbox",
        "schedule": 5,
        "options": {"expires": 5},
    },
    "refresh-opportunities": {
        "task": "odds.refresh_opportunities",
        "schedule": 15,
        "options": {"expires": 15},
    },
    "maintain-odds": {"task": "odds.maintain", "schedule": 3600},
}
if settings.PERFORMANCE["CDN"]["provider"] or settings.CDN_BASE_URL:
    app.conf.beat_schedule |= {
        "probe-cdn": {"task": "performance.cdn.probe", "schedule": 1, "options": {"expires": 1}},
        "count-cdn": {"task": "performance.cdn.count", "schedule": 10, "options": {"expires": 10}},
    }
