"""What being watched costs a request: ours beside the libraries people would take otherwise.

Run: python -m benchmarks monitor_rivals (about two minutes). The same Django with its seven stock
middlewares, a JSON view and two SQLite queries, in a process a library; rounds go around, so that a
busy moment of the machine meets all. CPU of the whole process, so that threads which send count.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Protocol

from benchmarks.watched import NAMES

ROUNDS = 21
REQUESTS = {"silk": 20}
"""A round's requests: 300, but for what takes milliseconds."""
BUDGET_RATIO = 1.02


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    processes = {name: _start(name) for name in NAMES}
    try:
        for process in processes.values():
            _ask(process, 30)  # imports, caches, the first connection
        rounds: dict[str, list[float]] = {name: [] for name in NAMES}
        for _ in range(ROUNDS):
            for name, process in processes.items():
                rounds[name].append(_ask(process, REQUESTS.get(name, 300)))
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    base = statistics.median(rounds["nothing"])
    report.say(f"- nothing: {base:.0f} us of CPU a request")
    for name in NAMES[1:]:
        # Each round beside the same round of nothing: what slowed both falls out.
        ratio = statistics.median(
            mine / bare for mine, bare in zip(rounds[name], rounds["nothing"], strict=True)
        )
        budget = f" (budget {BUDGET_RATIO}x)" if name == "ours" else ""
        report.say(f"- {name}: +{base * (ratio - 1):.0f} us, {ratio:.2f}x{budget}")


def _start(name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.watched", name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def _ask(process: subprocess.Popen[str], times: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{times}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{process.args[-1]!r} ended; run it by hand to see why")  # type: ignore[index]
    return float(answer)
