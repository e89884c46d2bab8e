"""A plan as a tree to look at: what each node costs by itself, and which one is hot. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MISJUDGED = 10
"""Rows estimated wrong by this factor are worth a word."""
WASTED_ROWS = 1_000
DETAILS = (
    ("Index Cond", "index"), ("Hash Cond", "hash"), ("Merge Cond", "merge"),
    ("Recheck Cond", "recheck"), ("Join Filter", "join filter"), ("Filter", "filter"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One line of the tree. Times in ms over all loops, costs in the planner's units; own ones are
    without the children's. None where the statement was not run."""

    depth: int
    title: str
    details: list[str]
    cost: float
    own_cost: float
    rows_expected: float
    rows: float | None
    loops: int | None
    own_ms: float | None
    share: float
    """Of the whole, 0 to 1: of the time where it was run, else of the cost."""
    hot: bool
    """Whether it takes the largest share: look here first."""
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "steps": list(range(self.depth))}


def tree(plan: dict[str, Any]) -> list[Node]:
    """Return the nodes of EXPLAIN's JSON (its "Plan"), parents before children."""
    flat = list(_walk(plan, 0))
    ran = "Actual Total Time" in plan
    own = [_own(node, "ms" if ran else "cost") for node, _ in flat]
    whole = sum(own) or 1.0
    hottest = own.index(max(own))
    return [
        _node(node, depth, own[number] / whole, number == hottest)
        for number, (node, depth) in enumerate(flat)
    ]


def _walk(node: dict[str, Any], depth: int) -> Any:
    yield node, depth
    for child in node.get("Plans", ()):
        yield from _walk(child, depth + 1)


def _total(node: dict[str, Any], kind: str) -> float:
    if kind == "cost":
        return float(node.get("Total Cost", 0.0))
    return float(node.get("Actual Total Time", 0.0)) * float(node.get("Actual Loops", 1))


def _own(node: dict[str, Any], kind: str) -> float:
    """Return what a node costs without its children; a CTE's cost is its own, not its reader's."""
    below = sum(
        _total(child, kind)
        for child in node.get("Plans", ())
        if child.get("Parent Relationship") != "InitPlan" or kind == "ms"
    )
    return max(0.0, _total(node, kind) - below)


def _node(node: dict[str, Any], depth: int, share: float, hot: bool) -> Node:
    ran = "Actual Total Time" in node
    return Node(
        depth=depth,
        title=_title(node),
        details=[f"{name}: {node[key]}" for key, name in DETAILS if key in node],
        cost=float(node.get("Total Cost", 0.0)),
        own_cost=round(_own(node, "cost"), 2),
        rows_expected=float(node.get("Plan Rows", 0)),
        rows=float(node["Actual Rows"]) if ran else None,
        loops=int(node["Actual Loops"]) if ran else None,
        own_ms=round(_own(node, "ms"), 3) if ran else None,
        share=round(share, 4),
        hot=hot,
        warnings=_warnings(node),
    )


def _title(node: dict[str, Any]) -> str:
    words = [node["Node Type"]]
    if node.get("Join Type") not in (None, "Inner"):
        words.append(f"({node['Join Type']})")
    if "Index Name" in node:
        words += ["by", node["Index Name"]]
    if "Relation Name" in node:
        words += ["on", node["Relation Name"]]
    if "CTE Name" in node:
        words += ["of", node["CTE Name"]]
    if "Subplan Name" in node:
        words.append(f"[{node['Subplan Name']}]")
    return " ".join(str(word) for word in words)


def _warnings(node: dict[str, Any]) -> list[str]:
    found = []
    removed = float(node.get("Rows Removed by Filter", 0)) * float(node.get("Actual Loops", 1))
    kept = float(node.get("Actual Rows", 0)) * float(node.get("Actual Loops", 1))
    if removed >= WASTED_ROWS and removed > 9 * kept:
        found.append(f"read {removed + kept:.0f} rows to keep {kept:.0f}: an index may help")
    if "Actual Rows" in node and node.get("Actual Loops"):
        expected, seen = max(float(node["Plan Rows"]), 1), max(float(node["Actual Rows"]), 1)
        if max(expected / seen, seen / expected) >= MISJUDGED and max(expected, seen) >= 100:
            found.append(f"expected {expected:.0f} rows, met {seen:.0f}: ANALYZE the table")
    if node.get("Sort Space Type") == "Disk":
        found.append(f"sorted {node.get('Sort Space Used', 0)} kB on disk: raise work_mem")
    if int(node.get("Hash Batches", 1)) > 1:
        found.append(f"hashed in {node['Hash Batches']} batches on disk: raise work_mem")
    return found
