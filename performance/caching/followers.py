"""Which servers hold the generations, and so are followed: one, or each primary of a cluster."""

from __future__ import annotations

import logging
from typing import Any

import redis

from performance.caching.coherence import ANSWER_WITHIN_S, Away, Follower, Listener, Place
from performance.core import stores

logger = logging.getLogger(__name__)

CONNECTION: dict[str, Any] = {
    "protocol": 2,  # under RESP3 a redirected push hangs
    "socket_timeout": ANSWER_WITHIN_S,
    "socket_connect_timeout": ANSWER_WITHIN_S,
    "max_connections": 2,
}
MARK_ATTEMPTS = 1000
"""Names to try for one that lies on a given node: with three nodes every third does."""

Address = tuple[str, int]


class Followers:
    """`namespace` is that of all keys, `prefix` that of the generations."""

    def __init__(self, namespace: str, prefix: str, listener: Listener) -> None:
        self._mark = f"{namespace}:run"
        self._prefix = prefix
        self._listener = listener
        self._there = stores.cache_topology()
        self._followers: dict[Address, Follower] = {}
        self._master: Address | None = None
        self._gone_pushes = self._gone_losses = 0

    def start(self) -> None:
        def pool() -> redis.ConnectionPool:
            return redis.ConnectionPool.from_url(self._there.url, **CONNECTION)

        if self._there.kind == "plain":
            self._follow(("", 0), Place(pool, lambda: self._mark))
        elif self._there.kind == "sentinel":
            place = Place(self._pool_of_master, lambda: self._mark, still=self._still_master)
            self._follow(("", 0), place)
        else:
            self.look()

    def look(self) -> None:
        """Follow the primaries that a cluster has now; called twice a second.

        While one of them is not followed yet, memory is off.
        """
        if self._there.kind != "cluster":
            return
        client: Any = stores.cache_store()
        try:
            now = {(str(node.host), int(node.port)) for node in client.get_primaries()}
        except Away as error:
            logger.debug("The cluster does not say who its primaries are: %s", error)
            return
        for address in now - self._followers.keys():
            self._follow(address, self._place_of(address))
        for address in self._followers.keys() - now:
            self._leave(self._followers.pop(address))

    def stop(self) -> None:
        for follower in self._followers.values():
            follower.stop()

    def _follow(self, address: Address, place: Place) -> None:
        self._followers[address] = Follower(self._prefix, place, self._listener)
        self._followers[address].start()

    def _leave(self, follower: Follower) -> None:
        self._listener.lost()
        follower.stop()
        self._gone_pushes += follower.pushes
        self._gone_losses += follower.losses

    # --- where they are -------------------------------------------------------------------------

    def _pool_of_master(self) -> redis.ConnectionPool:
        self._master = self._named_master()
        return self._pool(*self._master)

    def _still_master(self) -> bool:
        """Ask the sentinels; the store's own connections leave a deposed master by the same."""
        return self._named_master() == self._master

    @staticmethod
    def _named_master() -> Address:
        pool: Any = stores.cache_store().connection_pool
        host, port = pool.get_master_address()
        return str(host), int(port)

    def _place_of(self, address: Address) -> Place:
        return Place(lambda: self._pool(*address), lambda: self._mark_on(address))

    def _mark_on(self, address: Address) -> str:
        """Return a name whose slot lies on that node; ConnectionError when it has none now."""
        client: Any = stores.cache_store()
        for number in range(MARK_ATTEMPTS):
            name = f"{self._mark}:{{{number}}}"
            node = client.nodes_manager.get_node_from_slot(client.keyslot(name))
            if (str(node.host), int(node.port)) == address:
                return name
        raise redis.ConnectionError(f"{address[0]}:{address[1]} has no slots")

    def _pool(self, host: str, port: int) -> redis.ConnectionPool:
        options = dict(self._there.options)
        kind = redis.SSLConnection if options.pop("ssl", False) else redis.Connection
        return redis.ConnectionPool(
            connection_class=kind, host=host, port=port, **options, **CONNECTION
        )

    # --- what they say --------------------------------------------------------------------------

    @property
    def hearing(self) -> bool:
        """True while every change of a tag is heard of, wherever its generation lies."""
        followers = list(self._followers.values())
        return bool(followers) and all(follower.hearing for follower in followers)

    @property
    def lag_ms(self) -> float | None:
        """The longest of all; None before the first heartbeat."""
        lags = [one.lag_ms for one in list(self._followers.values()) if one.lag_ms is not None]
        return max(lags, default=None)

    @property
    def pushes(self) -> int:
        return self._gone_pushes + sum(one.pushes for one in list(self._followers.values()))

    @property
    def losses(self) -> int:
        return self._gone_losses + sum(one.losses for one in list(self._followers.values()))
