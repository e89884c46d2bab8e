"""A lifetime for each family, by how often its values change and what computing them costs. Pure.

A refresh that finds the same value was work for nothing; an answer that is no longer true was a
lifetime too long. Between the two lies the advice, and it says what it rests on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ENOUGH_READS = 100
ENOUGH_PAIRS = 20
OUTDATED_SHARE = 0.05
"""So many answers of a family without tags may be older than a change, on average."""
UNTOLD_SHARE = 0.01
"""Of one with tags, which are there to tell every change."""
WORTH_IT = 2.0
"""A lifetime is only advised when it differs by this factor: less is noise."""
LONGEST_S = 86_400.0
NICE = (1, 2, 3, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was counted of one family over `window_s` seconds, in all processes."""

    ttl_s: float
    tagged: bool
    warmed: bool
    """It is computed before anyone asks."""
    reads: int
    misses: int
    outdated: int
    """Misses that an invalidation made."""
    loads: int
    load_mean_ms: float | None
    compared: int
    """Refreshes whose value was held against the one before."""
    changed: int
    compared_s: float
    """The time between all those pairs, added up."""
    window_s: float


@dataclass(frozen=True, slots=True)
class Advice:
    ttl_s: float | None
    """The lifetime advised; None when the one in force fits, or too little is known."""
    verdict: str
    """unknown, fits, longer, shorter or no use."""
    said: str
    evidence: str


def advise(facts: Facts) -> Advice:
    """Return what the counters say about a family's lifetime."""
    evidence = _evidence(facts)
    if facts.warmed and facts.loads > max(ENOUGH_PAIRS, facts.reads):
        said = (
            f"It was computed {facts.loads:,} times for {facts.reads:,} reads: warming costs more "
            "than it spares. Let `warm` name fewer values, or let them live longer."
        )
        return Advice(None, "no use", said, evidence)
    if facts.reads < ENOUGH_READS:
        said = f"Too little is known: advice needs {ENOUGH_READS} reads in the window."
        return Advice(None, "unknown", said, evidence)
    if _is_no_use(facts):
        said = (
            f"{facts.outdated / facts.reads:.0%} of all reads met a value that an invalidation had "
            "just ended: it changes faster than it is read, and no lifetime helps."
        )
        return Advice(None, "no use", said, evidence)
    if facts.compared < ENOUGH_PAIRS:
        said = f"Too little is known: advice needs {ENOUGH_PAIRS} refreshes to compare."
        return Advice(None, "unknown", said, evidence)
    wanted_s = nice(min(LONGEST_S, _longest_s(facts)))
    if wanted_s >= facts.ttl_s * WORTH_IT:
        return Advice(wanted_s, "longer", _longer(facts, wanted_s), evidence)
    if wanted_s * WORTH_IT <= facts.ttl_s:
        return Advice(wanted_s, "shorter", _shorter(facts, wanted_s), evidence)
    return Advice(None, "fits", "The lifetime fits what was seen.", evidence)


def change_rate(facts: Facts) -> float:
    """Return changes a second of one value, as far as refreshes could see them.

    Of n pairs of mean distance d, X without a change: -ln((X + 0.5) / (n + 0.5)) / d, which does
    not undercount when several changes fall between two looks (Cho, Garcia-Molina: Estimating
    Frequency of Change, 2003). Without any change the upper end of its 95 % interval is taken, 3
    over the time watched: not having seen one is no proof that there are none.
    """
    watched_s = max(facts.compared_s, 1e-3)
    if not facts.changed:
        return 3 / watched_s
    unchanged = facts.compared - facts.changed
    distance_s = watched_s / facts.compared
    return -math.log((unchanged + 0.5) / (facts.compared + 0.5)) / distance_s


def outdated_share(rate: float, ttl_s: float) -> float:
    """Return which share of answers is older than a change, for values renewed each `ttl_s`.

    Changes come as a Poisson process: an answer of age a is true with e^(-rate a), and ages are
    even between 0 and ttl_s.
    """
    expected = rate * ttl_s
    if expected < 1e-6:
        return expected / 2  # the next line would lose all its digits
    return 1 - (1 - math.exp(-expected)) / expected


def nice(seconds: float) -> float:
    """Return the largest of 1, 2, 3, 5, 10, 20, … that is not above `seconds`; at least 0.1."""
    if seconds <= 0.1:
        return 0.1
    power: float = 10.0 ** math.floor(math.log10(seconds) + 1e-9)
    fitting = [step * power for step in NICE if step * power <= seconds * (1 + 1e-9)]
    return round(max(fitting), 3)


def _longest_s(facts: Facts) -> float:
    """Return the longest lifetime with no more outdated answers than are allowed; by halving."""
    allowed = UNTOLD_SHARE if facts.tagged else OUTDATED_SHARE
    rate = change_rate(facts)
    low_s, high_s = 0.0, LONGEST_S
    for _ in range(60):
        middle_s = (low_s + high_s) / 2
        if outdated_share(rate, middle_s) <= allowed:
            low_s = middle_s
        else:
            high_s = middle_s
    return low_s


def _is_no_use(facts: Facts) -> bool:
    return facts.outdated > facts.reads / 2


def _longer(facts: Facts, wanted_s: float) -> str:
    renewed = facts.loads - facts.outdated
    spared = max(0.0, renewed * (1 - facts.ttl_s / wanted_s))
    minutes = facts.window_s / 60
    spared_ms = spared * (facts.load_mean_ms or 0.0) / minutes
    return (
        f"{_seconds(wanted_s)} would do: about {spared / minutes:.1f} loads a minute fewer "
        f"({spared_ms:.0f} ms of loaders' work), and at most {_share(facts, wanted_s)} of the "
        "answers outdated."
    )


def _shorter(facts: Facts, wanted_s: float) -> str:
    if facts.tagged:
        return (
            f"{_share(facts, facts.ttl_s)} of the answers are outdated though nobody invalidated "
            f"them: find the change that no tag tells, or take {_seconds(wanted_s)}."
        )
    return (
        f"{_share(facts, facts.ttl_s)} of the answers are outdated at {_seconds(facts.ttl_s)}; "
        f"{_seconds(wanted_s)} would bring that to {_share(facts, wanted_s)}. A tag would bring "
        "it to none."
    )


def _evidence(facts: Facts) -> str:
    hits = 1 - facts.misses / facts.reads if facts.reads else None
    parts = [
        f"{facts.reads:,} reads"
        + ("" if hits is None else f", {hits:.1%} hits, {facts.outdated:,} ended by invalidation")
    ]
    if facts.compared:
        distance_s = facts.compared_s / facts.compared
        parts.append(
            f"{facts.compared:,} refreshes about {distance_s:.1f} s after the one before found "
            f"{facts.changed:,} changes that nobody had told"
        )
    return "; ".join(parts) + "."


def _share(facts: Facts, ttl_s: float) -> str:
    return f"{outdated_share(change_rate(facts), ttl_s):.1%}"


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"
