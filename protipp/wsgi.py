"""All HTTP, behind HAProxy: cached answers first, then static files, then Django.

Each wrapper answers what it can and hands on the rest, so the cheapest answers come first. What
static files and the edge have to say of a cached answer, they say once, when it is made.
"""

from __future__ import annotations

import gc
import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")

django_application = get_wsgi_application()  # sets Django up: the imports below need its models

from django.urls import resolve, reverse  # noqa: E402

from performance.balancing.services import (  # noqa: E402
    announce_this_process,
    wsgi_arrivals,
    wsgi_healthz,
)
from performance.caching.services import wsgi_cache  # noqa: E402
from performance.cdn.services import serve_static  # noqa: E402
from performance.monitoring.services import wsgi_monitor  # noqa: E402

application = wsgi_healthz(
    wsgi_arrivals(wsgi_monitor(wsgi_cache(django_application, around=serve_static)))
)
# The first visitor need not wait for what Django looks up once: the URLs, and their names.
resolve("/")
reverse("admin:index")
announce_this_process()

# Who draws a page behind the scenes holds the interpreter for 20 ms: one who needs 30 us of it
# waits a tenth of Python's usual turn of 5 ms. Seconds.
sys.setswitchinterval(0.0005)

# What was loaded stays: a full collection in the midst of requests has less to walk over.
gc.collect()
gc.freeze()
