"""Which nodes get nothing new because others are better off: those cut off from their database.

Pure but for what one object remembers from round to round. A node whose database is away still
gives out what is cached, so it is spared only while others do all of it. Where everybody lost the
database nobody is better off, and nobody leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from performance.balancing.haproxy import BACKENDS
from performance.balancing.nodes import Node
from performance.balancing.runtime import View

LOOKS = 2
"""Rounds in a row on which a node must say so. Each round begins with a question to PostgreSQL,
so when it is PostgreSQL that died, the balancer stops before it believes anybody."""
MOST_ASIDE = 0.5
"""Share of a kind's slots that may be set aside: the rest must be able to carry the load."""


class Aside:
    """Who was cut off, and for how many rounds. `already` are those a leader before set aside."""

    def __init__(self, already: Iterable[str] = ()) -> None:
        self._looks = dict.fromkeys(already, LOOKS)

    def of(self, nodes: Sequence[Node], view: View | None) -> list[Node]:
        """Return the nodes, `aside` set where they say for LOOKS rounds that they lost something.

        Only while one of the same kind is up and has lost nothing, and so that at most half of the
        kind's slots go, the longest lost first. Call it once a round.
        """
        self._looks = {node.id: self._looks.get(node.id, 0) + 1 for node in nodes if node.lost}
        aside: set[str] = set()
        for kind in BACKENDS:
            mine = [node for node in nodes if node.kind == kind and not node.draining]
            if any(_is_well(node, view) for node in mine):
                aside |= self._spared(mine)
        return [replace(node, aside=node.id in aside) for node in nodes]

    def _spared(self, mine: Sequence[Node]) -> set[str]:
        allowed = MOST_ASIDE * sum(node.slots for node in mine)
        cut_off = [node for node in mine if self._looks.get(node.id, 0) >= LOOKS]
        found: set[str] = set()
        for node in sorted(cut_off, key=lambda node: (-self._looks[node.id], node.id)):
            allowed -= node.slots
            if allowed < 0:
                break
            found.add(node.id)
        return found


def _is_well(node: Node, view: View | None) -> bool:
    """Whether others can leave their share to this one; the proxy's word counts where it speaks."""
    if node.lost:
        return False
    if view is None:
        return True
    server = view.of(BACKENDS[node.kind][0]).get(node.id)
    return server is not None and server.status == "UP"
