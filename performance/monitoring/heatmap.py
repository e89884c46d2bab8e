"""Latency over time as a picture: a row an octave, a column a stretch, darker where more fell.

Percentiles hide two humps; this shows them. The server draws it as SVG: no script. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from performance.monitoring.histogram import OCTAVE
from performance.monitoring.merging import Merged

LOWEST, HIGHEST = -10, 4
"""Octaves of seconds: everything up to 1 ms is in the lowest row, beyond 8 s in the highest."""
COLUMNS = 60
SLOW_OCTAVE = -3
"""Rows beyond 1/8 s are drawn in the colour of what is bad."""
WIDTH, HEIGHT = 600, 210


def heatmap(parts: Mapping[datetime, Merged], begin: datetime, end: datetime) -> dict[str, Any]:
    """Return the cells to draw, the rows' names and a sentence that says the same."""
    length_s = (end - begin).total_seconds()
    cells: dict[tuple[int, int], int] = {}
    for at, part in parts.items():
        column = int((at - begin).total_seconds() / length_s * COLUMNS)
        column = min(max(column, 0), COLUMNS - 1)
        for (kind, _, _), row in part.series.items():
            if kind != "request":
                continue
            for index, count in row.buckets.items():
                octave = min(max(math.ceil(index / OCTAVE), LOWEST), HIGHEST)
                cells[column, octave] = cells.get((column, octave), 0) + count
    most = max(cells.values(), default=0)
    rows = HIGHEST - LOWEST + 1
    step_x, step_y = WIDTH / COLUMNS, HEIGHT / rows
    return {
        "cells": [
            {
                "x": round(column * step_x, 1),
                "y": round((HIGHEST - octave) * step_y, 1),
                "opacity": round(0.12 + 0.88 * math.log1p(count) / math.log1p(most), 2),
                "slow": octave > SLOW_OCTAVE,
                "count": count,
                "upto": _name(octave),
            }
            for (column, octave), count in sorted(cells.items())
        ],
        "width": round(step_x - 0.5, 1),
        "height": round(step_y - 0.5, 1),
        "labels": [_name(octave) for octave in range(HIGHEST, LOWEST - 1, -2)],
        "begin": f"{begin:%m-%d %H:%M}" if length_s > 86_400 else f"{begin:%H:%M}",
        "end": f"{end:%H:%M}",
        "text": _in_words(cells),
    }


def _name(octave: int) -> str:
    if octave == HIGHEST:
        return f"> {2 ** (octave - 1)} s"
    ms = 2.0**octave * 1000
    return f"≤ {ms:.0f} ms" if ms < 1000 else f"≤ {ms / 1000:.0f} s"


def _in_words(cells: Mapping[tuple[int, int], int]) -> str:
    total = sum(cells.values())
    if not total:
        return "No request was measured."
    slow = sum(count for (_, octave), count in cells.items() if octave > SLOW_OCTAVE)
    return f"{total:,} requests, {slow / total:.1%} of them slower than 125 ms."
