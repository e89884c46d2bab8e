"""One hub a process: hears every batch once, tells each socket what it watches, encoded once.

A channel layer costs 0.4 ms a socket and message; this costs a tenth. A topic's changes are
gathered for a quarter of a second, newest price wins, and the frame is made once for all sockets
of the topic; only its number differs between them. The last seconds are kept, so that a page drawn
a moment ago, or a socket that was away for a moment, is brought up to date without asking HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import msgspec
import redis.asyncio
import redis.exceptions
from django.conf import settings

from odds.conf import conf
from odds.live_messages import Change, DrainOrder, Key, Message
from performance.core import signals

logger = logging.getLogger(__name__)

DRAIN_CHANNEL = "live:drain"
TICK_S = 0.25
"""A price that moves four times in a tick is told once."""
REPLAY_S = 20.0
"""A frame of greeting holds what changed in this time; longer than any page's copy is normally
old."""
REPLAY_CHANGES = 20_000
BEAT_S = 15.0
"""Something is said to each socket at least this often, so that a client knows a dead line."""
GAUGE_S = 15.0
SILENCE_S = 30.0
"""The bus answers a ping within this, or counts as away."""
RETRY_S = (0.2, 0.5, 1.0, 2.0)
AT_ONCE = 200
"""Sockets that are told in one go, about 3 ms; then the loop answers who else asks."""

Topic = tuple[str, str]


class Told(NamedTuple):
    at_s: float
    id: int
    topic: Topic
    change: Change


class Subscriber(Protocol):
    topic: Topic

    def offer(self, changes: dict[Key, Change], tail: bytes) -> None: ...

    def tell(self, tail: bytes) -> None: ...

    def leave(self, code: int, reason: str) -> None: ...


Changes = dict[Key, Change]
Due = tuple[list[Subscriber], Changes | None, bytes]
"""Who is told, which prices (None: a frame of the hub's own), and the frame's tail."""


class Hub:
    """`hub()` is the process's. All methods belong to its event loop; none but `run` waits."""

    def __init__(self, *, url: str = "", node_id: str = "", clock: Callable[[], float] = time.time):
        self._url = url or settings.REDIS_URL
        self._node_id = node_id or settings.NODE_ID
        self._clock = clock
        self._subscribers: dict[Topic, set[Subscriber]] = {}
        self._pending: dict[Topic, dict[Key, Change]] = {}
        self._refresh: set[Topic] = set()
        self._said_s: dict[Topic, float] = {}
        """When the sockets of a topic were told something, by the monotonic clock."""
        self._recent: deque[Told] = deque()
        self._greetings: dict[Topic, tuple[int, bytes]] = {}
        self._task: asyncio.Task[None] | None = None
        self._covers_s = 0.0
        self._turn = 0
        self._finds = 0
        self.last_id = 0
        self.connected = False
        self.draining = False

    # --- sockets --------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        self._subscribers.setdefault(subscriber.topic, set()).add(subscriber)
        self._said_s.setdefault(subscriber.topic, time.monotonic())
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self.run())

    def part(self, subscriber: Subscriber) -> None:
        members = self._subscribers.get(subscriber.topic)
        if members is not None:
            members.discard(subscriber)
            if not members:
                del self._subscribers[subscriber.topic], self._said_s[subscriber.topic]

    def count(self) -> int:
        return sum(len(members) for members in self._subscribers.values())

    def greeting(self, topic: Topic, kind: str) -> bytes:
        """Return the frame's tail of `hello` or `resync`: since when it covers, and what changed.

        Made once for all that come between two changes.
        """
        made = self._greetings.get(topic)
        if made is None or made[0] != self._turn:
            changes = {
                told.change.key: told.change for told in self._since() if told.topic == topic
            }
            body = self.tail(
                {"from": self._from_s(), "live": self.connected, "prices": list(changes.values())}
            )
            made = self._greetings[topic] = (self._turn, body)
        return b'"type":"%s",' % kind.encode() + made[1]

    def _from_s(self) -> float:
        if not self.connected:  # nobody knows what is said meanwhile
            return self._clock()
        return max(self._covers_s, self._clock() - REPLAY_S)

    def _since(self) -> Iterator[Told]:
        horizon = self._clock() - REPLAY_S
        while self._recent and (
            self._recent[0].at_s < horizon or len(self._recent) > REPLAY_CHANGES
        ):
            self._covers_s = max(self._covers_s, self._recent.popleft().at_s)
        return iter(self._recent)

    def tail(self, values: dict[str, Any]) -> bytes:
        """Return `"id":…,…}`: a frame without its beginning, which each socket numbers itself."""
        return msgspec.json.encode({"id": self.last_id, "at": self._clock(), **values})[1:]

    # --- the bus --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Listen, and speak each tick, until cancelled or nobody is there any more."""
        speaker = asyncio.get_running_loop().create_task(self._speak())
        tries = 0
        try:
            while self._subscribers:
                try:
                    await self._listen()
                    tries = 0
                except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
                    tries = 0 if self.connected else tries + 1
                    self._lose(error)
                await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
        finally:
            speaker.cancel()
            self.connected = False

    async def _listen(self) -> None:
        client = redis.asyncio.Redis.from_url(
            self._url,
            socket_connect_timeout=1.0,
            socket_timeout=SILENCE_S,
            health_check_interval=SILENCE_S / 2,
            protocol=2,
        )
        async with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(conf().channel, DRAIN_CHANNEL)
            self._find()
            while self._subscribers:
                message = await pubsub.get_message(timeout=5.0)
                if message is None:
                    continue
                if message["channel"] == DRAIN_CHANNEL.encode():
                    self._drain(message["data"])
                else:
                    self.take(message["data"])

    def _find(self) -> None:
        """The bus is there: nobody knows what was said before, so pages older than now ask."""
        self.connected = True
        self._covers_s = self._clock()
        self._recent.clear()
        self._turn += 1
        self._finds += 1
        for topic, members in self._subscribers.items():
            tail = self.greeting(topic, "resync")
            for member in list(members):
                member.tell(tail)

    def _lose(self, error: Exception) -> None:
        if self.connected:
            logger.warning("The bus is away (%s); sockets pause until it is back.", error)
            signals.recorder.count("socket", "bus_lost")
        self.connected = False
        self._turn += 1
        tail = b'"type":"paused",' + self.tail({})
        for member in self._everyone():
            member.tell(tail)

    def _drain(self, data: bytes) -> None:
        """This node is to go: sockets move to another one, spread over the time that is given."""
        try:
            order = msgspec.json.decode(data, type=DrainOrder)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            logger.error("A message on %s cannot be read: %s", DRAIN_CHANNEL, error)
            return
        if order.node_id != self._node_id:
            return
        self.draining = True
        loop = asyncio.get_running_loop()
        reason = "this node is being drained; connect again"
        for member in self._everyone():
            loop.call_later(random.uniform(0, order.spread_s), member.leave, 1012, reason)

    def _everyone(self) -> list[Subscriber]:
        return [member for members in self._subscribers.values() for member in members]

    # --- what is told ---------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Take one batch's message; one that cannot be read is logged and makes pages ask anew."""
        try:
            message = msgspec.json.decode(data, type=Message)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            logger.error("A message on %s cannot be read: %s", conf().channel, error)
            self._refresh.update(self._subscribers)
            return
        now_s = self._clock()
        self.last_id = max(self.last_id, message.id)
        self._turn += 1
        for sport in message.resync:
            self._refresh.add(("sport", sport))
            self._refresh.update(topic for topic in self._subscribers if topic[0] == "event")
        for given in message.changes:
            change = Change(
                e=given.event,
                m=given.market,
                b=given.bookmaker,
                o=given.outcome,
                p=given.price,
                l=given.point,
                t=given.last_update,
            )
            for topic in (("sport", given.sport), ("event", given.event)):
                self._recent.append(Told(now_s, message.id, topic, change))
                if topic in self._subscribers:
                    self._pending.setdefault(topic, {})[change.key] = change
        opened = message.opportunities
        if opened.opened or opened.changed or opened.closed:
            self._refresh.add(("arbitrage", "1"))

    async def _speak(self) -> None:
        """Send what has gathered, each tick; slower when sending itself takes long."""
        gauged_s = 0.0
        while True:
            started_s = time.monotonic()
            await self.flush()
            if started_s - gauged_s >= GAUGE_S:
                gauged_s = started_s
                signals.recorder.gauge("socket", "odds", self.count())
            await asyncio.sleep(max(TICK_S, 2 * (time.monotonic() - started_s)))

    async def flush(self) -> None:
        """Hand every topic's gathered changes to its sockets; about 14 us a socket.

        Who was told nothing for BEAT_S is told that the line is alive.
        """
        pending, self._pending = self._pending, {}
        refresh, self._refresh = self._refresh, set()
        now_s = time.monotonic()
        due: list[Due] = []
        for topic, changes in pending.items():
            if topic not in refresh:
                tail = b'"type":"prices",' + self.tail({"prices": list(changes.values())})
                due.append(self._due(topic, now_s, changes, tail))
        tail = b'"type":"refresh",' + self.tail({})
        due += [self._due(topic, now_s, None, tail) for topic in refresh]
        silent = [topic for topic, said_s in self._said_s.items() if now_s - said_s >= BEAT_S]
        beat = b'"type":"beat",' + self.tail({"live": self.connected})
        due += [self._due(topic, now_s, None, beat) for topic in silent]
        await self._hand(due)

    def _due(self, topic: Topic, now_s: float, changes: Changes | None, tail: bytes) -> Due:
        members = list(self._subscribers.get(topic, ()))
        if members:
            self._said_s[topic] = now_s
        return members, changes, tail

    async def _hand(self, due: list[Due]) -> None:
        """Let the loop have its turn now and then. Who joins meanwhile is told by the greeting.

        When the bus is found anew meanwhile, everybody has been told to look anew, and what is
        left is older than that.
        """
        finds = self._finds
        number = 0
        for members, changes, tail in due:
            for member in members:
                if changes is None:
                    member.tell(tail)
                else:
                    member.offer(changes, tail)
                number += 1
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
                    if self._finds != finds:
                        return


_hub: Hub | None = None
_loop: asyncio.AbstractEventLoop | None = None


def hub() -> Hub:
    """Return the hub of this process's event loop."""
    global _hub, _loop
    loop = asyncio.get_running_loop()
    if _hub is None or _loop is not loop:
        _hub, _loop = Hub(), loop
    return _hub
