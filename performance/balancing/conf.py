"""The options of `PERFORMANCE["BALANCING"]`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from performance.core.conf import load

POLICIES = ("leastconn", "random(2)", "roundrobin", "weighted", "source", "session")

EXECUTORS = ("local", "kubernetes")

MOST_SPARES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancingConf:
    """Which node answers, and how many there are. Times are in seconds unless named otherwise."""

    min_web: int = 2
    max_web: int = 4
    min_live: int = 1
    max_live: int = 2
    spare_web: int = 1
    """Web nodes that are started ahead and wait beside the others: a decision, or a node's death,
    lets one in within the second instead of booting one. 0 keeps none; in a cluster there are
    none. Each holds a node's memory and, until it is let in, no connection to the database."""
    slots_web: int = 64
    """Requests a web node works on at once; more wait in the proxy's one queue."""
    slots_live: int = 5_000
    """Sockets a live node holds."""
    policy: str = "leastconn"
    """How the proxy chooses. leastconn: the least busy node. random(2): the less busy of two at
    random. roundrobin: in turn. weighted: in turn, by slots or by weights set by hand. source: one
    address stays with one node. session: one session stays with one node, the rest is spread.
    A node that is full spills over in all but the last, where its sessions wait for it. The page
    can set another at run time."""

    queue_timeout_s: float = 1.0
    """How long a request may wait for a slot; then it gets a 503 that says when to come back."""
    shed_above: int = 512
    """Requests that wait in the queue; above it those of nobody in particular get a 503 at once,
    while staff and holders of a key go on waiting, and before the others. 0 sheds nobody."""
    connect_timeout_ms: int = 200
    """A node that does not accept within this is tried elsewhere."""
    server_timeout_s: int = 30
    tunnel_timeout_s: int = 3_600
    """How long a socket may be silent in both directions."""
    client_header_timeout_s: int = 5
    """How long a client may take to send its headers (against slow clients)."""
    max_connections: int = 12_000
    """Clients the proxy holds at once."""
    max_body_bytes: int = 1_048_576
    """A longer body is refused with 413 where its length is declared."""
    drain_timeout_s: float = 30.0
    """How long a draining node may finish what it has before it is stopped all the same."""

    drain_spread_s: float = 10.0
    """Over how long the sockets of a draining live node are asked to leave; below the above."""

    requests_per_10s: int = 1_000
    """From one address (an IPv6 /64 counts as one); more get 429."""
    connections_per_10s: int = 400
    connections_per_address: int = 400
    """Open at once."""
    unlimited_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Not limited: this machine's own probes and benchmarks. Empty it behind another proxy."""
    metrics_networks: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Who may read /metrics through the proxy; everyone else gets 404."""
    node_networks: tuple[str, ...] = (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
    )  # fmt: skip
    """Where nodes may listen; an announced address outside is refused."""
    proxy_cache: bool = True
    """False lets every answer come from a node, as a benchmark may want it."""
    micro_cache_s: int = 1
    """How often the proxy asks a node again for a public answer, whatever longer time the answer
    allows. Who asks meanwhile gets the last one, for two seconds more at most where it may."""

    heartbeat_s: float = 1.0
    gone_after_s: float = 3.0
    """A node that has not announced itself for this long is gone from the registry."""
    tick_s: float = 1.0
    """How often the balancer compares what is with what should be."""
    boot_grace_s: float = 10.0
    """How long a missing node may take to come back by itself before another is started."""

    executor: str = "local"
    """Who starts and stops nodes: local (`manage.py up`), or kubernetes (by /scaling/<kind>)."""
    autoscale: bool = True
    scale_every_s: float = 2.0
    target_utilisation: float = 0.7
    """Share of its slots, and of its processor, that a node should use; 0.1 to 1."""
    tolerance: float = 0.1
    """A wanted number this close to the present one (as a share) changes nothing."""
    queue_target_ms: float = 20.0
    stable_window_s: float = 60.0
    panic_window_s: float = 6.0
    down_window_s: float = 300.0
    """Nodes are stopped only down to the highest number wanted in this time."""
    up_every_s: float = 15.0
    down_every_s: float = 60.0
    forecast: bool = True
    """Have the nodes ahead that this time of the week asked for in the weeks before."""
    forecast_lead_s: float = 600.0
    fixtures_lead_s: float = 900.0
    """How long before matches begin their audience is expected."""
    fixtures_per_node: int = 200
    """Matches that begin together, of whose audience one web node takes care."""
    database_reserve: int = 20
    """Connections kept for workers, feeds and people when nodes are capped by the database."""
    database_per_node: int = 8
    """Connections one node may hold."""
    user_every_s: float = 7.5
    """How often one user asks, for the page's answer to how many users these nodes hold."""
    decisions_kept_days: int = 30

    def __post_init__(self) -> None:
        for kind in ("web", "live"):
            low, high = getattr(self, f"min_{kind}"), getattr(self, f"max_{kind}")
            if not 1 <= low <= high:
                _refuse(f"min_{kind}", low, f"from 1 to max_{kind}, which is {high}")
        if self.executor not in EXECUTORS:
            _refuse("executor", self.executor, "one of: " + ", ".join(EXECUTORS))
        if self.policy not in POLICIES:
            _refuse("policy", self.policy, "one of: " + ", ".join(POLICIES))
        for name in ("target_utilisation", "tolerance"):
            if not 0 < getattr(self, name) <= 1:
                _refuse(name, getattr(self, name), "above 0 and at most 1")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                _refuse(name, getattr(self, name), "above 0")
        if not 0 <= self.spare_web <= MOST_SPARES:
            _refuse("spare_web", self.spare_web, f"from 0 to {MOST_SPARES}, and 0 keeps none")
        if self.shed_above < 0:
            _refuse("shed_above", self.shed_above, "from 0 up, and 0 sheds nobody")
        if self.fixtures_lead_s < 0 or self.forecast_lead_s < 0:
            _refuse("fixtures_lead_s or forecast_lead_s", "below 0", "from 0 up")
        if self.gone_after_s < 2 * self.heartbeat_s:
            _refuse("gone_after_s", self.gone_after_s, "at least two heartbeats (heartbeat_s)")
        for name in ("unlimited_networks", "metrics_networks", "node_networks"):
            for network in getattr(self, name):
                _check_network(name, network)

    def slots(self, kind: str) -> int:
        return self.slots_web if kind == "web" else self.slots_live

    def bounds(self, kind: str) -> tuple[int, int]:
        """Return the fewest and the most nodes of this kind."""
        return (self.min_web, self.max_web) if kind == "web" else (self.min_live, self.max_live)

    def spares(self, kind: str) -> int:
        """Return how many nodes of this kind wait ahead of demand."""
        return self.spare_web if kind == "web" else 0


_POSITIVE = (
    "slots_web", "slots_live", "queue_timeout_s", "connect_timeout_ms", "server_timeout_s",
    "tunnel_timeout_s", "client_header_timeout_s", "max_connections", "max_body_bytes",
    "drain_timeout_s", "drain_spread_s", "requests_per_10s", "connections_per_10s",
    "connections_per_address", "micro_cache_s", "heartbeat_s", "tick_s", "scale_every_s",
    "queue_target_ms", "fixtures_per_node", "user_every_s", "stable_window_s", "panic_window_s",
    "database_per_node", "decisions_kept_days",
)  # fmt: skip


def _refuse(name: str, value: object, allowed: str) -> None:
    raise ImproperlyConfigured(
        f"PERFORMANCE['BALANCING'][{name!r}] is {value!r}; it must be {allowed}."
    )


def _check_network(name: str, network: str) -> None:
    try:
        ipaddress.ip_network(network)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"PERFORMANCE['BALANCING'][{name!r}] holds {network!r}, which is no network "
            f"({error}); write it as 10.0.0.0/8."
        ) from None


def conf() -> BalancingConf:
    return load(BalancingConf, "BALANCING")
