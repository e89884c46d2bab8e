"""What balancing refuses to do, and what to do instead."""

from __future__ import annotations

from performance.core.errors import PerformanceError


class BalancingError(PerformanceError):
    """The root of this room's errors."""


class NodeRefused(BalancingError):
    """A node announced something that cannot be true; it gets no traffic."""

    def __init__(self, node_id: str, field: str, value: str, allowed: str) -> None:
        super().__init__(node_id, field, value, allowed)
        self.node_id = node_id
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return (
            f"Node {self.node_id[:64]!r} announces {self.field} {self.value[:64]!r}; "
            f"it must be {self.allowed}. It gets no traffic until it announces a right one."
        )


class UnknownNode(BalancingError):
    """Somebody named a node that is not there."""

    def __init__(self, node_id: str, known: list[str]) -> None:
        super().__init__(node_id, known)
        self.node_id = node_id
        self.known = known

    def __str__(self) -> str:
        there = ", ".join(self.known) or "none"
        return f"No node is called {self.node_id!r}. There are: {there}."


class OutOfBounds(BalancingError):
    """A number of nodes outside what the settings allow."""

    def __init__(self, kind: str, count: int, minimum: int, maximum: int) -> None:
        super().__init__(kind, count, minimum, maximum)
        self.kind = kind
        self.count = count
        self.minimum = minimum
        self.maximum = maximum

    def __str__(self) -> str:
        return (
            f"{self.count} {self.kind} nodes were asked for; allowed are {self.minimum} to "
            f"{self.maximum}. The bounds are PERFORMANCE['BALANCING']['min_{self.kind}'] and "
            f"['max_{self.kind}']."
        )


class LastNode(BalancingError):
    """Draining this node would leave nobody to answer."""

    def __init__(self, node_id: str, kind: str) -> None:
        super().__init__(node_id, kind)
        self.node_id = node_id
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"{self.node_id} is the last {self.kind} node that answers, so it is not drained. "
            f"Start another first: manage.py scale {self.kind}=2."
        )


class ProxyConfigRefused(BalancingError):
    """HAProxy's own check refused a rendered file; the old one stays in place."""

    def __init__(self, path: str, said: str) -> None:
        super().__init__(path, said)
        self.path = path
        self.said = said

    def __str__(self) -> str:
        return f"haproxy -c refused {self.path}, so the old file stays: {self.said.strip()[-800:]}"


class ProxyUnreachable(BalancingError):
    """HAProxy's admin socket did not answer in time."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"HAProxy's socket {self.path} does not answer ({self.reason}). It goes on with the "
            "nodes it has. Is HAProxy running, and PROTIPP_HAPROXY_DIR its folder?"
        )


class ProxyRefused(BalancingError):
    """HAProxy answered a command with an error."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(command, said)
        self.command = command
        self.said = said

    def __str__(self) -> str:
        return f"HAProxy refused {self.command!r}: {self.said.strip()[:300]}"


class Fenced(BalancingError):
    """A newer leader has written here: this one slept through the loss of its lock."""

    def __init__(self, mine: int, newest: int) -> None:
        super().__init__(mine, newest)
        self.mine = mine
        self.newest = newest

    def __str__(self) -> str:
        return (
            f"A balancer with token {self.newest} leads now; this one has {self.mine} and "
            "changes nothing."
        )


class SupervisorFailed(BalancingError):
    """The process that starts and stops nodes did not do it."""

    def __init__(self, op: str, node_id: str, said: str) -> None:
        super().__init__(op, node_id, said)
        self.op = op
        self.node_id = node_id
        self.said = said

    def __str__(self) -> str:
        return (
            f"The supervisor did not {self.op} {self.node_id}: {self.said}. "
            "It is `manage.py up`; PROTIPP_SUPERVISOR names its socket."
        )
