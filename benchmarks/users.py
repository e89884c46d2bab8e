"""Half of the ten thousand users, in a process of its own: `python -m benchmarks.users`.

One JSON object comes in by standard input, another line says "go", and one JSON object goes out.
The generator itself is the site's own (`performance.balancing.loading`).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from performance.balancing.loading import Order, crowd


def main(order: dict[str, Any]) -> dict[str, Any]:
    file = Path(order.pop("file"))

    def go() -> None:
        sys.stdout.write("connected\n")
        sys.stdout.flush()
        sys.stdin.readline()  # everybody begins when all are connected

    seen = crowd(Order(**order), go)
    with file.open("wb") as out:
        seen.latencies.tofile(out)
    return {"asked": seen.asked, "errors": seen.errors, "cpu_s": time.process_time()}


if __name__ == "__main__":
    found = main(json.loads(sys.stdin.readline()))
    sys.stdout.write(json.dumps(found) + "\n")
