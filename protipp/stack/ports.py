"""Free ports on loopback for what only we connect to."""

from __future__ import annotations

import random
import socket

from protipp.stack.errors import StackError

LOWEST, HIGHEST = 20_000, 32_000
"""Below 32,768, from where the kernel takes the ports of outgoing connections."""
TRIES = 200


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    for _ in range(TRIES):
        port = random.randint(LOWEST, HIGHEST)
        if is_free("127.0.0.1", port):
            return port
    raise StackError(f"No free port of 127.0.0.1 was found between {LOWEST} and {HIGHEST}.")


def is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        # Without it, the port of a proxy that just ended counts as taken for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
