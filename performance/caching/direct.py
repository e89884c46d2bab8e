"""The one command that every hit in the store costs, without the client's way around it.

redis-py's client spends about 100 us of CPU around an MGET that costs 30: it takes a connection
out of a locked pool, looks whether something unread lies in it, wraps the call for retries and
metrics. Here a few connections of redis-py's own are kept for reading, and nothing else goes over
them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import redis

IDLE_AT_MOST = 32


class Reader:
    """The free connections; as many are open as threads read at once.

    Not inherited over a fork: the child makes a store of its own, and this with it.
    """

    def __init__(self) -> None:
        self._client: redis.Redis | None = None
        self._free: deque[Any] = deque()

    def mget(self, client: redis.Redis, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of `keys`, within the time limits of `client`. Raises as redis-py does.

        A socket that the server has closed meanwhile is tried once more, by a new one. A connection
        on which anything went wrong is closed, so that no answer is ever taken for another's.
        """
        if self._client is not client:  # the settings name another server: only tests do that
            self.close()
            self._client = client
        try:
            connection = self._free.pop()  # the one used last: the others may end in peace
        except IndexError:
            return self._ask(client, _new(client), keys)
        try:
            return self._ask(client, connection, keys)
        except redis.ConnectionError:
            return self._ask(client, _new(client), keys)

    def _ask(self, client: redis.Redis, connection: Any, keys: Sequence[str]) -> list[bytes | None]:
        try:
            connection.send_command("MGET", *keys)  # connects when it is not connected
            values: list[bytes | None] = connection.read_response()
        except BaseException:
            connection.disconnect()
            raise
        if len(self._free) < IDLE_AT_MOST and self._client is client:
            self._free.append(connection)
        else:
            connection.disconnect()
        return values

    def close(self) -> None:
        while self._free:
            self._free.pop().disconnect()


def _new(client: redis.Redis) -> Any:
    pool = client.connection_pool
    return pool.connection_class(**pool.connection_kwargs)
