"""`/ws/odds/` on a real uvicorn with a real bus: what is told, numbered, bounded and refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import Counter

import pytest
import uvicorn
import websockets
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from websockets.frames import Frame, Opcode

from odds import live, live_hub
from odds.conf import conf
from odds.live_hub import Hub
from odds.live_line import LineProtocol, text_frame
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
    config = uvicorn.Config(application, port=0, log_level="error", lifespan="off", ws=LineProtocol)
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


class Line:
    """A connection that takes frames while it is open, or so many more."""

    def __init__(self):
        self.room = 1_000_000
        self.taken = []
        self.aborted = False

    def write(self, frame):
        if not self.room:
            return False
        self.room -= 1
        self.taken.append(json.loads(frame[frame.index(b"{") :]))
        return True

    def when_writable(self, call):
        self._call = call

    def take(self, frames):
        self.room += frames
        self._call()

    def abort(self):
        self.aborted = True


class Ends:
    """Where a socket's `websocket.close` goes; one that is stuck takes none."""

    def __init__(self, *, stuck=False):
        self.stuck = stuck
        self.code = None

    async def __call__(self, message):
        if self.stuck:
            await asyncio.Event().wait()
        self.code = message["code"]


def socket_of(hub, line, ends=None):
    socket = live.OddsSocket(hub, ("sport", "soccer_epl"), line, ends or Ends())
    line.when_writable(socket._catch_up)
    return socket


def prices(first, count, price=2.0):
    found = [
        Change(e="e", m="h2h", b="b", o=f"runner {number}", p=price)
        for number in range(first, first + count)
    ]
    return {one.key: one for one in found}


def offer(hub, socket, changes):
    socket.offer(changes, b'"type":"prices",' + hub.tail({"prices": list(changes.values())}))


async def test_a_slow_socket_holds_one_price_each_and_gets_the_newest():
    hub, line = Hub(), Line()
    slow = socket_of(hub, line)
    line.room = 1
    for turn in range(200):
        offer(hub, slow, prices(0, 50, price=2 + turn / 100))
    assert len(slow._pending) == 50

    line.take(10)
    assert len(line.taken) == 2  # the frame that there was room for, and all that came since
    assert {one["p"] for one in line.taken[1]["prices"]} == {2 + 199 / 100}
    assert [frame["n"] for frame in line.taken] == [0, 1]
    offer(hub, slow, prices(0, 1))
    assert line.taken[2]["n"] == 2


async def test_what_waits_goes_out_in_order_however_little_room_there_is_at_a_time():
    hub, line = Hub(), Line()
    slow = socket_of(hub, line)
    line.room = 0
    slow.tell(b'"type":"paused"}')
    slow.tell(b'"type":"resync"}')
    offer(hub, slow, prices(0, 1, price=3.0))
    for _ in range(2):
        line.take(1)
        offer(hub, slow, prices(0, 1, price=4.0))
    assert [frame["type"] for frame in line.taken] == ["paused", "resync"]

    line.take(1)
    assert [(frame["n"], frame["type"]) for frame in line.taken[2:]] == [(2, "prices")]
    assert [one["p"] for one in line.taken[2]["prices"]] == [4.0]


async def test_a_socket_too_far_behind_is_told_to_resync_then_closed_with_1013():
    hub, line, ends = Hub(), Line(), Ends()
    slow = socket_of(hub, line, ends)
    line.room = 0
    offer(hub, slow, prices(0, live.PENDING_LIMIT + 1))
    assert slow._pending == {}
    line.take(10)
    assert [frame["type"] for frame in line.taken] == ["resync"]

    line.room = 0
    for turn in range(live.RESYNCS_LIMIT):
        offer(hub, slow, prices(turn * 1000, live.PENDING_LIMIT + 1))
    await until(lambda: ends.code)
    assert ends.code == 1013
    line.take(10)
    assert len(line.taken) == 1  # nothing after the end


async def test_a_socket_that_takes_nothing_for_a_minute_is_closed_with_1013(monkeypatch):
    hub, line, ends = Hub(), Line(), Ends()
    stuck = socket_of(hub, line, ends)
    line.room = 0
    offer(hub, stuck, prices(0, 1))
    assert stuck._closing is None

    monkeypatch.setattr(live, "STUCK_S", -1.0)
    offer(hub, stuck, prices(0, 1))
    await until(lambda: ends.code)
    assert ends.code == 1013


async def test_a_line_that_takes_not_even_the_end_is_cut(monkeypatch):
    monkeypatch.setattr(live, "CLOSE_WITHIN_S", 0.01)
    line = Line()
    stuck = socket_of(Hub(), line, Ends(stuck=True))
    stuck.leave(1012, "this node is being drained; connect again")

    await until(lambda: line.aborted)


async def test_a_browser_that_stops_reading_gets_the_newest_without_a_gap_once_it_reads(
    server, monkeypatch
):
    monkeypatch.setattr(live_hub, "TICK_S", 0.005)
    bare = socket.create_connection(server.split(":"))
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    slow = await websockets.connect(
        f"ws://{server}/ws/odds/?{SPORT}", origin=f"http://{server}", sock=bare,
        compression=None, max_queue=1, open_timeout=30,
    )  # fmt: skip
    async with slow, connect(server) as quick:
        await greeted(quick)
        greeting = await hear(slow, "hello")
        (members,) = live_hub._hub._subscribers.values()
        turn = 0

        async def tell_both():
            nonlocal turn
            turn += 1
            publish(turn, *(change(2 + turn, outcome=f"{one:0200}") for one in range(300)))
            await hear(quick, "prices")

        async with asyncio.timeout(60):
            while not any(member._pending for member in members):
                await tell_both()
        for _ in range(20):
            await tell_both()
        publish(turn + 1, change(9.75))
        seen = [greeting]
        while all(one["p"] != 9.75 for one in seen[-1].get("prices", ())):
            seen.append(await hear(slow, "resync", "prices", "beat"))

    assert [frame["n"] for frame in seen] == list(range(len(seen)))
    assert len(seen) < turn  # what it had no room for was told in one


@pytest.mark.parametrize("size", [0, 90, 97, 98, 125, 126, 5_000, 65_500, 65_536, 200_000])
def test_a_frame_is_the_one_that_the_protocol_would_have_made(size):
    tail = b'"type":"prices","filler":"' + b"x" * size + b'"}'
    text = b'{"n":17,' + tail

    assert text_frame(17, tail) == Frame(Opcode.TEXT, text).serialize(mask=False)


async def test_a_server_without_lines_is_told_what_it_needs():
    with pytest.raises(ImproperlyConfigured, match="uvicorn with --ws"):
        await live.odds_socket({"type": "websocket", "extensions": {}}, None, None)


class Heard:
    """A socket of the hub's that notes what it is told."""

    def __init__(self, topic=("sport", "soccer_epl")):
        self.topic = topic
        self.kinds = []

    def tell(self, tail):
        self.kinds.append(json.loads(b"{" + tail)["type"])

    def offer(self, changes, tail):
        self.kinds.append("prices")

    def leave(self, code, reason):
        self.kinds.append(code)


async def test_only_who_was_told_nothing_for_a_while_hears_that_the_line_is_alive(monkeypatch):
    monkeypatch.setattr(live_hub, "BEAT_S", 3_600.0)
    hub, busy, quiet = Hub(), Heard(), Heard(("event", "e2"))
    for one in (busy, quiet):
        hub.join(one)
    hub._task.cancel()
    for topic in hub._said_s:
        hub._said_s[topic] -= 3_600.0
    hub.take(json.dumps({"id": 1, "changes": [change()]}).encode())
    for _ in range(2):
        await hub.flush()

    assert (busy.kinds, quiet.kinds) == (["prices"], ["beat"])
    hub.part(busy)
    assert list(hub._said_s) == [quiet.topic]


async def test_while_very_many_are_told_the_loop_has_its_turns():
    hub, crowd = Hub(), [Heard() for _ in range(3 * live_hub.AT_ONCE)]
    hub._subscribers = {crowd[0].topic: set(crowd)}
    hub.take(json.dumps({"id": 1, "changes": [change()]}).encode())
    seen = []
    asyncio.get_running_loop().call_soon(lambda: seen.append(sum(len(o.kinds) for o in crowd)))
    await hub.flush()

    assert seen == [live_hub.AT_ONCE]
    assert all(one.kinds == ["prices"] for one in crowd)


async def test_prices_of_before_the_bus_was_found_anew_do_not_follow_the_resync():
    hub, crowd = Hub(), [Heard() for _ in range(2 * live_hub.AT_ONCE)]
    hub._subscribers = {crowd[0].topic: set(crowd)}
    hub.take(json.dumps({"id": 1, "changes": [change()]}).encode())
    asyncio.get_running_loop().call_soon(hub._find)
    await hub.flush()

    kinds = Counter(tuple(one.kinds) for one in crowd)
    assert kinds == {
        ("prices", "resync"): live_hub.AT_ONCE,
        ("resync",): live_hub.AT_ONCE,
    }


async def test_while_the_bus_is_away_sockets_hear_so_and_are_resynced_when_it_is_back():
    async def silent(reader, writer):
        writer.close()

    dead = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = dead.sockets[0].getsockname()[1]
    hub, heard = Hub(url=f"redis://127.0.0.1:{port}/0"), Heard()
    hub.join(heard)
    await until(lambda: heard.kinds)
    assert set(heard.kinds) == {"paused"}

    hub._url = settings.REDIS_URL
    await until(lambda: "resync" in heard.kinds)
    assert hub.connected
    hub.part(heard)
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
