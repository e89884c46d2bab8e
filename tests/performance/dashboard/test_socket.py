"""The page's socket against a real uvicorn on a free port, spoken to by `websockets`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time

import pytest
import uvicorn
import websockets
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import Permission
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client

from performance.core import broadcast, stores
from performance.dashboard import consumers
from performance.dashboard.origins import OwnOrigin, is_own
from performance.dashboard.outbox import DEPTH, Outbox
from performance.dashboard.routing import websocket_urlpatterns

from .conftest import MAY_SEE, PASSWORD, Demo
from .test_acts import dead_bus

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timed]


@pytest.fixture(autouse=True)
def _closed_connections(monkeypatch):
    """Threads of these tests end with their loop: a connection kept for the next would leak."""
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)


@pytest.fixture
def server(demo):
    """The address (host:port) of a live node with the staff sockets alone."""
    application = OwnOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    config = uvicorn.Config(
        application, port=0, log_level="error", lifespan="off", ws="websockets-sansio"
    )
    node = uvicorn.Server(config)
    thread = threading.Thread(target=node.run, daemon=True)
    thread.start()
    while not node.started:
        time.sleep(0.01)
    yield f"127.0.0.1:{node.servers[0].sockets[0].getsockname()[1]}"
    node.should_exit = True
    thread.join(10)
    assert sum(consumers.open_sockets.values()) == 0


@pytest.fixture
def anna(make_user):
    return make_user("anna", MAY_SEE)


@pytest.fixture
def browser(anna):
    client = Client()
    client.force_login(anna)
    return client


def connect(server, client=None, *, slug="demo", origin=None):
    headers = {}
    if client is not None:
        headers["Cookie"] = f"sessionid={client.cookies['sessionid'].value}"
    origin = f"http://{server}" if origin is None else origin
    return websockets.connect(
        f"ws://{server}/ws/performance/{slug}/",
        additional_headers=headers,
        origin=origin or None,
        compression=None,
    )


async def hear(socket, kind, limit_s=30):
    async with asyncio.timeout(limit_s):
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == kind:
                return message


async def closed_with(socket, limit_s):
    async with asyncio.timeout(limit_s):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code


publish = database_sync_to_async(broadcast.publish, thread_sensitive=False)
watched = database_sync_to_async(broadcast.watched, thread_sensitive=False)


async def test_a_browser_hears_numbered_differences(server, browser):
    async with connect(server, browser) as socket:
        assert (await hear(socket, "hello"))["sequence"] == 0
        for number in (1, 2):
            assert await publish("demo", {"requests_per_s": number * 1.5}) == number
            message = await hear(socket, "page.update")

            assert message["sequence"] == number
            assert message["data"] == {"requests_per_s": number * 1.5}


async def test_a_resync_gives_the_whole_page_with_its_number(server, browser):
    async with connect(server, browser) as socket:
        await publish("demo", {"requests_per_s": 3})
        await socket.send('{"resync": true}')
        message = await hear(socket, "page.snapshot")

        assert message["sequence"] == 1
        assert message["data"]["requests_per_s"] == Demo.numbers["requests_per_s"]


async def test_watchers_are_counted_only_while_they_watch(server, browser):
    assert await watched() == {}
    async with connect(server, browser) as socket:
        await hear(socket, "hello")
        assert await watched() == {"demo": 1}
    async with asyncio.timeout(30):
        while await watched() != {}:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("slug", "code"), [("demo", 4401), ("nothing", 4404)])
async def test_a_stranger_is_refused_with_a_code(server, slug, code):
    async with connect(server, slug=slug) as socket:
        assert await closed_with(socket, 30) == code


async def test_one_without_the_permission_is_refused(server, browser, anna):
    await database_sync_to_async(anna.user_permissions.clear)()
    async with connect(server, browser) as socket:
        assert await closed_with(socket, 30) == 4403


def log_out(client, user):
    client.post("/admin/logout/")


def disable(client, user):
    user.is_active = False
    user.save()


def demote(client, user):
    user.user_permissions.remove(Permission.objects.get(codename="view_auditentry"))


def change_password(client, user):
    user.set_password(PASSWORD + "!")
    user.save()


def delete_session(client, user):
    Session.objects.all().delete()


@pytest.mark.parametrize("how", [log_out, disable, demote, change_password, delete_session])
async def test_a_socket_is_told_and_closes_after(how, server, browser, anna, settings):
    """Within 2 s, or a tenth on a quiet machine; by looking it would take until tomorrow."""
    settings.PERFORMANCE = {"DASHBOARD": {"recheck_s": 86_400}}
    async with connect(server, browser) as socket:
        await hear(socket, "hello")
        await database_sync_to_async(how)(browser, anna)

        assert await closed_with(socket, 20) in (4401, 4403)


async def test_a_change_that_nobody_announced_is_found_by_looking(server, browser, anna, settings):
    settings.PERFORMANCE = {"DASHBOARD": {"recheck_s": 1}}
    async with connect(server, browser) as socket:
        await hear(socket, "hello")
        users = type(anna).objects.filter(pk=anna.pk)
        await database_sync_to_async(users.update)(is_staff=False)  # sends no signal

        assert await closed_with(socket, 30) == 4403


async def test_too_many_sockets_of_one_person_are_refused(server, browser, settings):
    settings.PERFORMANCE = {"DASHBOARD": {"sockets_per_user": 1}}
    async with connect(server, browser) as first:
        await hear(first, "hello")
        async with connect(server, browser) as second:
            assert await closed_with(second, 30) == 4429


async def test_what_is_no_message_is_ignored_and_too_much_closes(server, browser):
    async with connect(server, browser) as socket:
        for nonsense in ("", "[]", "{", '"resync"', b"\x00\xff"):
            await socket.send(nonsense)
        await socket.send('{"resync": true}')
        await hear(socket, "page.snapshot")
        await socket.send("x" * 1025)

        assert await closed_with(socket, 30) == 1009
    async with connect(server, browser) as socket:
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(150):
                await socket.send("{}")
        assert await closed_with(socket, 30) == 1008


@pytest.mark.parametrize("origin", ["", "null", "http://site.evil", "http://127.0.0.1:1"])
async def test_a_handshake_from_elsewhere_gets_403(server, browser, origin):
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(server, browser, origin=origin):
            pass

    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("origins", "host", "own"),
    [
        (["http://localhost:8000"], "localhost:8000", True),
        (["https://localhost:8000"], "localhost:8000", False),
        (["http://localhost:8001"], "localhost:8000", False),
        (["http://evillocalhost:8000"], "localhost:8000", False),
        (["http://site.evil"], "site.evil", False),
        (["http://localhost:8000", "http://site.evil"], "localhost:8000", False),
        ([], "localhost:8000", False),
    ],
)
def test_an_origin_is_own_only_when_it_is_exactly_the_site(origins, host, own):
    headers = [(b"host", host.encode()), *((b"origin", value.encode()) for value in origins)]

    assert is_own(headers) is own


async def test_a_browser_that_does_not_read_costs_bounded_memory():
    outbox = Outbox()
    for number in range(1, 1001):
        outbox.offer({"type": "page.update", "sequence": number, "data": {}})

    waiting = []
    while (message := outbox.pop()) is not None:
        waiting.append(message["sequence"])
    assert len(waiting) <= DEPTH
    assert outbox.needs_snapshot
    assert outbox.newest == waiting[-1] == 1000


def test_publishing_without_a_bus_is_counted_and_does_not_raise(demo, monkeypatch):
    monkeypatch.setattr(stores, "bus", dead_bus)

    assert broadcast.publish("demo", {}) is None
    assert broadcast.watched() == {}
    assert broadcast.sequence("demo") == 0


def test_publishing_to_a_page_that_is_not_there_names_those_that_are(demo):
    with pytest.raises(LookupError, match="demo"):
        broadcast.publish("nothing", {})
