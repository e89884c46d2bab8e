"""One Django process that is watched by one library, or by none; `monitor_rivals` drives several.

Run by it as `python -m benchmarks.watched NAME`: it answers each line on its standard input, a
number of requests, with the CPU that one of them cost, in microseconds. Threads that a library
keeps for sending count too: their work is the requests' doing.

`ours` has the stack without us beside the one with us, in the same process: `25 bare` asks the one,
`25` the other, and `send` tells what sending a second of it costs, in microseconds. No process is
as fast as another of the same code, by some percent: more than what we are looking for.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

NAMES = ("nothing", "ours", "django-prometheus", "opentelemetry", "sentry-1%", "silk-1%", "silk")
STOCK = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]


def configure(name: str) -> None:
    from django.conf import settings

    middleware, apps, more = list(STOCK), list(APPS), {}
    if name == "django-prometheus":
        before, after = (f"django_prometheus.middleware.Prometheus{x}Middleware"
                         for x in ("Before", "After"))  # fmt: skip
        middleware, apps = [before, *middleware, after], [*apps, "django_prometheus"]
    elif name == "ours":
        more = {"PROCESS": "bench", "BASE_DIR": Path.cwd()}
        apps += ["performance.monitoring"]
    elif name.startswith("silk"):
        middleware.insert(0, "silk.middleware.SilkyMiddleware")
        apps += ["django.contrib.staticfiles", "silk"]
        more = {"SILKY_INTERCEPT_PERCENT": 1 if name.endswith("%") else 100, "STATIC_URL": "/s/"}
    folder = mkdtemp(prefix="protipp-watched-")
    settings.configure(
        SECRET_KEY="of a benchmark",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=middleware,
        INSTALLED_APPS=apps,
        USE_TZ=True,
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {"context_processors": [
                        "django.template.context_processors.request"]}}],
        **{"STATIC_URL": "/s/", **more},
    )  # fmt: skip


def watch(name: str) -> None:
    """Switch the library on, as its manual says."""
    if name == "opentelemetry":
        from opentelemetry import trace
        from opentelemetry.instrumentation.django import DjangoInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

        class Nowhere(SpanExporter):
            def export(self, spans: Any) -> None:
                return None

        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(Nowhere()))
        trace.set_tracer_provider(provider)
        DjangoInstrumentor().instrument()
    elif name.startswith("sentry"):
        import sentry_sdk

        sentry_sdk.init(
            dsn="http://key@127.0.0.1:9/1", traces_sample_rate=0.01, transport=lambda event: None
        )


class Ours:
    """Both stacks, and the recorder over a bus that takes everything, with a clock on each query.

    What finds N+1 is the queries room's, and has a figure of its own in recorder_cost.
    """

    def __init__(self) -> None:
        from unittest import mock

        from django.conf import settings
        from django.core.handlers.wsgi import WSGIHandler
        from django.db import connection

        from performance.core import signals
        from performance.monitoring import http
        from performance.monitoring.conf import MonitoringConf
        from performance.monitoring.recorder import StreamRecorder

        bus = mock.Mock()
        self.recorder = recorder = StreamRecorder(
            node="bench", process="web", bus=lambda: bus, conf=MonitoringConf()
        )
        recorder._stop.set()  # no thread: `send` does what it would do once a second
        recorder._watches_growth = False  # as in a process whose memory has not grown for a minute
        signals.install(recorder)
        self.wrappers = connection.execute_wrappers
        self.bare = WSGIHandler()
        settings.MIDDLEWARE = ["performance.monitoring.http.name_request", *STOCK]
        self.watched = http.wsgi_monitor(WSGIHandler(), recorder)

    def application(self, asked: str) -> Any:
        """Return the stack for `25` or `25 bare`, with its queries watched or not."""
        if asked.endswith("bare"):
            self.wrappers.clear()
            return self.bare
        self.wrappers[:] = [self._timed]
        return self.watched

    def _timed(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.recorder.observe("sql", "bench", time.perf_counter() - started)

    def send_us(self) -> float:
        started = time.process_time()
        self.recorder.flush()
        return (time.process_time() - started) * 1e6


def view(request: Any) -> Any:
    from django.db import connection
    from django.http import HttpResponse

    rows = []
    with connection.cursor() as cursor:
        for number in (1, 2):
            cursor.execute("SELECT %s, %s", [number, request.path])
            rows.append(cursor.fetchone())
    return HttpResponse(json.dumps({"rows": rows}), content_type="application/json")


def main() -> None:
    name = sys.argv[1]
    configure(name)
    import django
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.test import RequestFactory
    from django.urls import path

    global urlpatterns
    urlpatterns = [path("board/", view)]
    django.setup()
    if name.startswith("silk"):
        call_command("migrate", verbosity=0)
    watch(name)
    ours = Ours() if name == "ours" else None
    plain = get_wsgi_application()
    environ = RequestFactory()._base_environ(PATH_INFO="/board/", REQUEST_METHOD="GET")

    def cost_us(application: Any, times: int) -> float:
        started = time.process_time()
        for _ in range(times):
            answer = application(dict(environ), lambda status, headers, *more: None)
            b"".join(answer)
            answer.close()
        return (time.process_time() - started) / times * 1e6

    for line in sys.stdin:
        asked = line.strip()
        if ours is not None and asked == "send":
            us = ours.send_us()
        else:
            application = plain if ours is None else ours.application(asked)
            us = cost_us(application, int(asked.split()[0]))
        sys.stdout.write(f"{us:.2f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.modules["benchmarks.watched"] = sys.modules["__main__"]
    main()
