"""`/ws/odds/` on a real uvicorn with a real bus: what is told, numbered, bounded and refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time

import pytest
import uvicorn
import websockets
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.conf import settings
from django.db import connections

from odds import live, live_hub
from odds.conf import conf
from odds.live_hub import Hub
from odds.live_messages import Change
from odds.routing import websocket_urlpatterns
from performance.core import stores
from performance.dashboard.origins import OwnOrigin

from . import market

pytestmark = pytest.mark.timed

SPORT = "sport=soccer_epl"


@pytest.fixture
def server():
    """The address of a live node with the public sockets alone."""
    application = OwnOrigin(URLRouter(websocket_urlpatterns))
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
    assert not live._addresses


def connect(server, query=SPORT, *, origin=None):
    return websockets.connect(
        f"ws://{server}/ws/odds/?{query}",
        origin=origin or f"http://{server}",
        compression=None,
        open_timeout=30,
    )


async def hear(socket, *kinds, limit_s=30):
    async with asyncio.timeout(limit_s):
        while True:
            frame = json.loads(await socket.recv())
            if frame["type"] in kinds:
                return frame


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


async def greeted(socket):
    """Wait until the hub hears the bus: the greeting or the resync that says it is live."""
    while not (await hear(socket, "hello", "resync"))["live"]:
        pass


def change(price=2.5, *, event="e1", bookmaker="bet365", outcome="Arsenal", **more):
    return {
        "event": event,
        "sport": "soccer_epl",
        "bookmaker": bookmaker,
        "market": "h2h",
        "outcome": outcome,
        "point": None,
        "price": price,
        "previous": None,
        "last_update": "2026-11-24T12:00:00+00:00",
    } | more


def publish(id, *changes, **more):
    message = {"id": id, "source": "test", "at": "", "changes": list(changes)} | more
    stores.bus().publish(conf().channel, json.dumps(message))


async def test_a_change_reaches_both_sockets_of_its_sport_and_the_one_of_its_event(server):
    async with (
        connect(server) as one,
        connect(server) as two,
        connect(server, "event=e1") as three,
        connect(server, "sport=tennis_atp") as other,
    ):
        for socket in (one, two, three, other):
            await greeted(socket)
        publish(7, change(2.75))
        frames = [await hear(socket, "prices") for socket in (one, two, three)]

        for frame in frames:
            assert frame["id"] == 7
            (price,) = frame["prices"]
            assert (price["e"], price["b"], price["o"], price["p"]) == (
                "e1",
                "bet365",
                "Arsenal",
                2.75,
            )
        with pytest.raises(TimeoutError):
            await hear(other, "prices", limit_s=0.7)


@pytest.mark.django_db(transaction=True)
async def test_what_ingest_stores_arrives_with_its_price(server, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    await database_sync_to_async(market.open_market)()
    async with connect(server) as socket:
        await greeted(socket)
        moved = market.quote(0, "bet365", "Arsenal", "2.75", last_update=market.now())
        await database_sync_to_async(market.send)(moved)
        frame = await hear(socket, "prices")
        gone = market.quote(0, "bet365", "Arsenal", "2.75", last_update=market.now())
        await database_sync_to_async(lambda: market.send(withdrawn=[gone]))()
        after = await hear(socket, "prices")

    assert [(one["e"], one["p"]) for one in frame["prices"]] == [(market.key(0), 2.75)]
    assert [one["p"] for one in after["prices"]] == [None]


async def test_frames_are_numbered_from_nought_without_a_gap(server):
    async with connect(server) as socket:
        await greeted(socket)
        publish(1, change(2.0))
        first = await hear(socket, "prices")
        publish(2, change(2.1))
        second = await hear(socket, "prices")

        assert second["n"] == first["n"] + 1
        assert second["id"] == 2
    async with connect(server) as again:
        assert json.loads(await again.recv())["n"] == 0


async def test_a_price_that_moves_twice_in_a_moment_is_told_once_with_its_newest_value(server):
    async with connect(server) as socket:
        await greeted(socket)
        for id, price in enumerate((2.0, 2.1, 2.2), start=1):
            publish(id, change(price))
        seen = []
        with contextlib.suppress(TimeoutError):
            while True:
                seen += [one["p"] for one in (await hear(socket, "prices", limit_s=1))["prices"]]

    assert seen[-1] == 2.2
    assert len(seen) <= 2


async def test_who_was_away_for_a_moment_hears_in_the_greeting_what_he_missed(server):
    async with connect(server, "event=e1") as keeper:
        await greeted(keeper)
        publish(3, change(3.3))
        await hear(keeper, "prices")
        async with connect(server) as late:
            frame = await hear(late, "hello")

    assert [one["p"] for one in frame["prices"]] == [3.3]
    assert frame["from"] <= frame["at"]


async def test_an_opened_arbitrage_asks_its_list_to_be_read_again(server):
    async with connect(server, "arbitrage=1") as socket:
        await greeted(socket)
        publish(5, opportunities={"opened": [{"event": "e1"}], "changed": [], "closed": []})

        assert (await hear(socket, "refresh"))["id"] == 5


async def test_a_batch_too_large_to_tell_asks_the_board_to_be_read_again(server):
    async with connect(server) as socket:
        await greeted(socket)
        publish(6, resync=["soccer_epl"])

        assert (await hear(socket, "refresh"))["id"] == 6


async def test_a_message_that_cannot_be_read_does_not_end_the_hub(server, caplog):
    async with connect(server) as socket:
        await greeted(socket)
        stores.bus().publish(conf().channel, "{not json")
        await hear(socket, "refresh")
        publish(9, change(2.9))

        assert (await hear(socket, "prices"))["id"] == 9


async def test_a_drained_node_sends_its_sockets_away_with_1012_and_takes_no_new_ones(server):
    async with connect(server) as socket:
        await greeted(socket)
        stores.bus().publish(
            live_hub.DRAIN_CHANNEL, json.dumps({"node_id": "another", "spread_s": 0})
        )
        stores.bus().publish(
            live_hub.DRAIN_CHANNEL, json.dumps({"node_id": settings.NODE_ID, "spread_s": 0})
        )
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await hear(socket, "never")
    assert closed.value.rcvd.code == 1012
    async with connect(server) as late:
        with pytest.raises(websockets.ConnectionClosed) as refused:
            await hear(late, "hello")
    assert refused.value.rcvd.code == 1012


WRONG = [
    "",
    "sprot=x",
    "sport=",
    "arbitrage=2",
    "sport=a&event=b",
    "sport=%2Fetc",
    f"event={'x' * 81}",
]


@pytest.mark.parametrize("query", WRONG)
async def test_an_unknown_topic_is_refused_with_4400_and_the_reason(server, query):
    async with connect(server, query) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()

    assert closed.value.rcvd.code == 4400
    assert closed.value.rcvd.reason


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_other_sites_are_refused(server, origin):
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connect(server, origin=origin):
            pass

    assert refused.value.response.status_code == 403


async def test_a_big_message_and_a_flood_are_closed(server):
    async with connect(server) as socket:
        await socket.send("x" * (live.MESSAGE_BYTES + 1))
        with pytest.raises(websockets.ConnectionClosed) as big:
            await hear(socket, "never")
    async with connect(server) as socket:
        for _ in range(live.MESSAGES_LIMIT + 1):
            await socket.send("x")
        with pytest.raises(websockets.ConnectionClosed) as flood:
            await hear(socket, "never")

    assert (big.value.rcvd.code, flood.value.rcvd.code) == (1009, 1008)


async def test_an_address_may_hold_only_so_many_sockets(server, monkeypatch):
    monkeypatch.setattr(live, "SOCKETS_AN_ADDRESS", 2)
    async with connect(server) as one, connect(server) as two, connect(server) as three:
        await hear(one, "hello")
        await hear(two, "hello")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await three.recv()

    assert closed.value.rcvd.code == 4429


class Consumer(live.OddsConsumer):
    """A socket whose other end takes a frame only when the test lets it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.topic = ("sport", "soccer_epl")
        self._number = self._behind = self._heard = 0
        self._pending, self._control = {}, []
        self._frame = self._sender = None
        self._sending_s = 0.0
        self._address = ""
        self.taken: list[dict] = []
        self.gate = asyncio.Event()
        self.code: int | None = None

    async def send(self, text_data=None, bytes_data=None, close=False):
        await self.gate.wait()
        self.taken.append(json.loads(text_data))

    async def close(self, code=None, reason=None):
        self.code = code


def prices(first, count, price=2.0):
    found = [
        Change(e="e", m="h2h", b="b", o=f"runner {number}", p=price)
        for number in range(first, first + count)
    ]
    return {one.key: one for one in found}


def offer(hub, consumer, changes):
    tail = b'"type":"prices",' + hub.tail({"prices": list(changes.values())})
    consumer.offer(changes, tail)


async def test_a_slow_socket_holds_one_price_each_and_gets_the_newest():
    hub = Hub()
    slow = Consumer(hub)
    for turn in range(200):
        offer(hub, slow, prices(0, 50, price=2 + turn / 100))
        await asyncio.sleep(0)
    assert len(slow._pending) == 50

    slow.gate.set()
    await until(lambda: slow._sender is None)
    assert len(slow.taken) == 2  # the frame that was under way, and all that came since
    assert {one["p"] for one in slow.taken[1]["prices"]} == {2 + 199 / 100}
    assert [frame["n"] for frame in slow.taken] == [0, 1]


async def test_a_socket_too_far_behind_is_told_to_resync_then_closed_with_1013():
    hub = Hub()
    slow = Consumer(hub)
    offer(hub, slow, prices(0, 1))
    await asyncio.sleep(0)

    offer(hub, slow, prices(0, live.PENDING_LIMIT + 1))
    assert slow._pending == {}
    slow.gate.set()
    await until(lambda: slow._sender is None)
    assert [frame["type"] for frame in slow.taken] == ["prices", "resync"] or [
        frame["type"] for frame in slow.taken
    ] == ["resync", "prices"]

    slow.gate.clear()
    offer(hub, slow, prices(0, 1))
    await asyncio.sleep(0)
    for turn in range(live.RESYNCS_LIMIT):
        offer(hub, slow, prices(turn * 1000, live.PENDING_LIMIT + 1))
    await until(lambda: slow.code)
    assert slow.code == 1013


async def test_while_the_bus_is_away_sockets_hear_so_and_are_resynced_when_it_is_back():
    told = []

    class Socket:
        topic = ("sport", "soccer_epl")

        def tell(self, tail):
            told.append(json.loads(b"{" + tail)["type"])

        def offer(self, changes, tail):
            told.append("prices")

        def leave(self, code, reason):
            told.append(code)

    async def silent(reader, writer):
        writer.close()

    dead = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = dead.sockets[0].getsockname()[1]
    hub, socket = Hub(url=f"redis://127.0.0.1:{port}/0"), Socket()
    hub.join(socket)
    await until(lambda: told)
    assert set(told) == {"paused"}

    hub._url = settings.REDIS_URL
    await until(lambda: "resync" in told)
    assert hub.connected
    hub.part(socket)
    hub._task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await hub._task
    dead.close()
    await dead.wait_closed()


async def test_what_is_kept_for_greetings_is_bounded_in_time_and_number(monkeypatch):
    now = 1000.0
    hub = Hub(clock=lambda: now)
    assert json.loads(b"{" + hub.greeting(("event", "e1"), "hello"))["from"] == now
    hub.connected = True
    publishable = {"id": 1, "changes": [change(2.0)]}
    hub.take(json.dumps(publishable).encode())
    assert len(json.loads(b"{" + hub.greeting(("event", "e1"), "hello"))["prices"]) == 1

    now += live_hub.REPLAY_S + 1
    hub.take(json.dumps({"id": 2, "changes": []}).encode())
    late = json.loads(b"{" + hub.greeting(("event", "e1"), "hello"))
    assert (late["prices"], late["from"]) == ([], now - live_hub.REPLAY_S)

    monkeypatch.setattr(live_hub, "REPLAY_CHANGES", 10)
    many = [change(2.0, outcome=f"runner {number}") for number in range(50)]
    hub.take(json.dumps({"id": 3, "changes": many}).encode())
    full = json.loads(b"{" + hub.greeting(("event", "e1"), "hello"))
    assert len(full["prices"]) <= 10
    assert full["from"] == now  # what was dropped must be read again
