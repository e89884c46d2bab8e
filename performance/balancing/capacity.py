"""How many users these nodes hold, by the Universal Scalability Law. Pure.

Gunther's law gives the throughput X of N requests at work: X(N) = g N / (1 + s (N-1) + k N (N-1)).
Here g is what one alone gets, s the share that cannot be done side by side (contention), and k
what it costs to agree (coherency). N/X is linear in its terms, so least squares finds them; a
negative term is set to zero and the rest fitted again. N comes from measured throughput and
latency by Little's law, so nothing is assumed about the nodes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LIGHTEST = 1.0
"""Requests at work, below which the law says nothing: one that is alone waits for nobody."""
BENT = 0.8
"""At the heaviest step a request must get less than this share of what one alone gets: a curve that
is all but straight shows no limit, and where it would bend is anybody's guess."""
FEWEST_STEPS = 4
"""Of different load: three unknowns need more than three points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of a measured load."""

    at_work: float
    """Requests in the house: answers a second times the mean latency in seconds."""
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The law fitted to points of `nodes` nodes together."""

    gain: float
    """Answers a second of one request alone."""
    contention: float
    coherency: float
    seen_per_s: float
    """The most that was measured: beyond it the law is a guess."""
    seen_at_work: float = math.inf
    """The heaviest load that was measured."""

    def per_s(self, at_work: float) -> float:
        """Return the throughput that the law gives for so many requests at work."""
        below = 1 + self.contention * (at_work - 1) + self.coherency * at_work * (at_work - 1)
        return self.gain * at_work / below

    @property
    def is_bent(self) -> bool:
        """Whether the load was heavy enough to show a limit."""
        if math.isinf(self.seen_at_work):
            return True
        return self.per_s(self.seen_at_work) < BENT * self.gain * self.seen_at_work

    @property
    def peak_per_s(self) -> float | None:
        """Return the most it can give, never less than was seen; None where no limit showed."""
        if not self.is_bent:
            return None
        if self.coherency > 0:
            best = math.sqrt(max(1.0, (1 - self.contention) / self.coherency))
            return max(self.seen_per_s, self.per_s(max(1.0, best)))
        if self.contention > 0:
            return max(self.seen_per_s, self.gain / self.contention)
        return None

    @property
    def limit(self) -> str:
        """Say what limits it, in a word."""
        if self.peak_per_s is None:
            return "nothing yet: the load was too light to show a limit"
        return "coherency" if self.coherency > 0 else "contention"


def fit(points: Sequence[Point]) -> Law | None:
    """Return the law of these points; None when they are too few or too alike to say.

    >>> true = Law(gain=100, contention=0.05, coherency=0.001, seen_per_s=0)
    >>> found = fit([Point(at_work=n, per_s=true.per_s(n)) for n in (1, 2, 4, 8, 16, 32)])
    >>> round(found.contention, 3), round(found.coherency, 4), round(found.gain)
    (0.05, 0.001, 100)
    """
    good = [point for point in points if point.at_work >= LIGHTEST and point.per_s > 0]
    if len({round(point.at_work, 3) for point in good}) < FEWEST_STEPS:
        return None
    import numpy  # a fifth of a second of a node's start, for a page that staff open at times

    at_work = numpy.array([point.at_work for point in good])
    target = at_work / numpy.array([point.per_s for point in good])
    columns = [numpy.ones_like(at_work), at_work - 1, at_work * (at_work - 1)]
    best: tuple[float, list[float]] | None = None
    for free in itertools.chain.from_iterable(
        itertools.combinations((1, 2), count) for count in (2, 1, 0)
    ):
        chosen = (0, *free)
        matrix = numpy.stack([columns[index] for index in chosen], axis=1)
        # Relative errors: a light load counts as much as a heavy one.
        terms, *_ = numpy.linalg.lstsq(matrix / target[:, None], numpy.ones_like(target))
        if (terms < 0).any() or terms[0] <= 0:
            continue
        error = float(numpy.square(matrix @ terms / target - 1).sum())
        if best is None or error < best[0]:
            full = [0.0, 0.0, 0.0]
            for index, term in zip(chosen, terms, strict=True):
                full[index] = float(term)
            best = (error, full)
    if best is None:
        return None
    base, slope, curve = best[1]
    return Law(
        gain=1 / base, contention=slope / base, coherency=curve / base,
        seen_per_s=max(point.per_s for point in good),
        seen_at_work=max(point.at_work for point in good),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What so many users would need."""

    users: int
    per_s: float
    nodes: int
    proxies: int


def users_held(law: Law, every_s: float, utilisation: float) -> int:
    """Return the users that these nodes hold at the target share of their peak.

    Where no limit was seen, it is what was measured, and no more.
    """
    return int((law.peak_per_s or law.seen_per_s) * utilisation * every_s)


def needs(
    law: Law, nodes: int, users: int, *, every_s: float, utilisation: float, connections: int
) -> Need:
    """Return nodes and proxies for `users` who ask every `every_s`.

    Nodes share nothing but the database and the caches, so they are counted linearly: true while
    those two keep up. A proxy holds `connections` users.
    """
    per_node_s = (law.peak_per_s or law.seen_per_s) * utilisation / nodes
    wanted_s = users / every_s
    return Need(
        users=users, per_s=wanted_s, nodes=max(1, math.ceil(wanted_s / per_node_s)),
        proxies=max(1, math.ceil(users / connections)),
    )  # fmt: skip
