"""Is this process alive (`/healthz`), and could it serve (`/readyz`).

Liveness asks nothing of anyone: a check that touches the database takes every node down with it.
Readiness asks each dependency, all at once, and is bounded by the slowest limit.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from performance.core import stores

LIMIT_S = 1.0
KEPT_S = 0.5
"""Answers are shared for this long, so that nobody can use /readyz to hammer the database."""
LIVE_PATH = "/healthz"
_BODY = b"ok\n"
_HEADERS = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(_BODY))),
    ("Cache-Control", "no-store"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one dependency answered."""

    name: str
    ok: bool
    ms: float
    said: str = ""


def wsgi_healthz(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Answer /healthz before Django: no host check, no session, no database, about 2 us."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == LIVE_PATH:
            start_response("200 OK", _HEADERS)
            return [_BODY]
        return application(environ, start_response)

    return answer


def asgi_healthz(application: Callable[..., Any]) -> Callable[..., Any]:
    """The same for the live nodes; it also says that the event loop still turns."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == LIVE_PATH:
            headers = [(name.lower().encode(), value.encode()) for name, value in _HEADERS]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})
            return
        await application(scope, receive, send)

    return answer


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The same answer where no wrapper stands before Django, as under `runserver`."""
    return HttpResponse(_BODY, content_type="text/plain; charset=utf-8")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether this node could serve: 200 or 503. Staff and the token's holder see why."""
    probes = ready()
    ok = all(probe.ok for probe in probes)
    answer: dict[str, Any] = {"ready": ok}
    if may_see_details(request, database_ok=_is_ok(probes, "database")):
        answer["dependencies"] = [asdict(probe) for probe in probes]
    response = JsonResponse(answer, status=200 if ok else 503)
    if not ok:
        response["Retry-After"] = "2"
    return response


def _is_ok(probes: Iterable[Probe], name: str) -> bool:
    return any(probe.ok for probe in probes if probe.name == name)


def may_see_details(request: HttpRequest, *, database_ok: bool) -> bool:
    """A session needs the database, so without it only the token opens the details."""
    token = getattr(settings, "READYZ_TOKEN", "")
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return True
    if not database_ok or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    try:
        return bool(request.user.is_active and request.user.is_staff)
    except (AttributeError, DatabaseError, redis.RedisError):
        return False


class _Prober:
    """Asks one dependency in a thread of its own; a question that hangs is never asked twice."""

    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        self.name = name
        self._ask = ask
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._began = 0.0
        self._last: Probe | None = None
        self._at = 0.0

    def begin(self) -> None:
        """Start asking, unless it was asked just now or an answer is still awaited."""
        now = time.monotonic()
        with self._lock:
            if self._began or (self._last is not None and now - self._at < KEPT_S):
                return
            self._began = now
            self._answered.clear()
        threading.Thread(target=self._run, name=f"readyz-{self.name}", daemon=True).start()

    def latest(self) -> Probe | None:
        """Return the last answer without waiting; None before the first.

        A question that is open for longer than the limit counts as answered badly.
        """
        with self._lock:
            open_s = time.monotonic() - self._began if self._began else 0.0
            if open_s > LIMIT_S:
                return Probe(name=self.name, ok=False, ms=1000 * open_s, said="no answer in time")
            return self._last

    def answer(self, until_s: float) -> Probe:
        """Return the answer, waiting until this monotonic time at most."""
        began = self._began
        if began and not self._answered.wait(max(0.0, until_s - time.monotonic())):
            waited_ms = round((time.monotonic() - began) * 1000, 1)
            return Probe(name=self.name, ok=False, ms=waited_ms, said="no answer in time")
        return self._last or Probe(name=self.name, ok=False, ms=0.0, said="not asked yet")

    def _run(self) -> None:
        began = time.monotonic()
        said = ""
        try:
            self._ask()
        except (DatabaseError, redis.RedisError, OSError, ImproperlyConfigured) as error:
            said = f"{type(error).__name__}: {error}"[:200]
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"[:200]
            raise
        finally:
            ms = round((time.monotonic() - began) * 1000, 2)
            with self._lock:
                self._last = Probe(name=self.name, ok=not said, ms=ms, said=said)
                self._at = time.monotonic()
                self._began = 0.0
                self._answered.set()


LOST_AFTER = 2
BACK_AFTER = 3


class Losses:
    """Whether this process lost its database, by several looks in a row.

    One slow answer is no loss and one good answer no recovery, so that a wavering link does not
    take a node out and in each second. A look never waits: it takes the last answer and asks anew.
    """

    def __init__(self, ask: Callable[[], None] | None = None) -> None:
        self._prober = _Prober("database", ask or _ask_database)
        self._lost = False
        self._against = 0
        """Answers in a row that say the opposite of `_lost`."""
        self._seen: Probe | None = None

    def look(self) -> tuple[str, ...]:
        """Return the names of what is lost: nothing, or `database`."""
        probe = self._prober.latest()
        self._prober.begin()
        if probe is not None and probe is not self._seen:
            self._seen = probe
            self._against = self._against + 1 if probe.ok == self._lost else 0
            if self._against >= (BACK_AFTER if self._lost else LOST_AFTER):
                self._lost, self._against = not self._lost, 0
        return ("database",) if self._lost else ()


def _ask_database() -> None:
    connection = connections["default"]
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    finally:
        connection.close()  # this thread ends; a pool keeps the connection, otherwise it is freed


def _ask_bus() -> None:
    stores.bus().ping()


def _ask_cache() -> None:
    stores.cache_store().ping()


_probers = (
    _Prober("database", _ask_database),
    _Prober("bus", _ask_bus),
    _Prober("cache", _ask_cache),
)


def ready() -> list[Probe]:
    """Ask all dependencies at once; at most 1 s and one thread each, however many ask."""
    until_s = time.monotonic() + LIMIT_S
    for prober in _probers:
        prober.begin()
    return [prober.answer(until_s) for prober in _probers]
