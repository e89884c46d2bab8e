"""Sockets only (`/ws/`); HTTP goes to the WSGI nodes, which answer it at a tenth of the cost."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "protipp.settings")

# It sets Django up: the imports below need its models.
django_application: Any = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

from odds.routing import websocket_urlpatterns as public_sockets  # noqa: E402
from performance.balancing.services import announce_this_process, asgi_healthz  # noqa: E402
from performance.dashboard.origins import OwnOrigin  # noqa: E402
from performance.dashboard.routing import websocket_urlpatterns as staff_sockets  # noqa: E402
from performance.monitoring.services import asgi_monitor  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": asgi_healthz(asgi_monitor(django_application)),
        "websocket": OwnOrigin(
            URLRouter(
                [
                    *public_sockets,  # before sessions: thousands of them, and none has one
                    re_path(r"", AuthMiddlewareStack(URLRouter([*staff_sockets]))),
                ]
            )
        ),
    }
)
announce_this_process()

# The heartbeat's and the recorder's threads give the interpreter back so soon (seconds): a turn of
# Python's usual 5 ms would keep four hundred sockets waiting.
sys.setswitchinterval(0.0005)

# What was loaded stays: a full collection in the midst of requests has less to walk over.
gc.collect()
gc.freeze()
