"""What being watched costs a request: ours beside the libraries people would take otherwise.

Run: python -m benchmarks monitor_rivals (about a minute). The same Django with its seven stock
middlewares, a JSON view and two SQLite queries, in a process a library; rounds go around, so that a
busy moment of the machine meets all. CPU of the whole process, so that threads which send count.
Our own few microseconds are less than what two processes of the same code differ by: so they are
looked for in one process, between short blocks with and without us.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Protocol

from benchmarks.watched import NAMES

ROUNDS = 60
REQUESTS = {"silk": 5}
"""A round's requests: 50, but for what takes milliseconds."""
PAIRS = 240
A_SECOND = 30
"""Pairs whose watched requests are about what a second of CPU serves."""
BLOCKS = ("25 bare", "25", "25", "25 bare")
BUDGET_RATIO = 1.02


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    _ours(report)
    rivals = [name for name in NAMES if name != "ours"]
    processes = {name: _start(name) for name in rivals}
    try:
        for process in processes.values():
            _ask(process, "30")  # imports, caches, the first connection
        rounds: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(ROUNDS):
            for name, process in processes.items():
                rounds[name].append(_ask(process, str(REQUESTS.get(name, 50))))
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    base = statistics.median(rounds["nothing"])
    report.say(f"- nothing: {base:.0f} us of CPU a request")
    for name in rivals[1:]:
        # Each round beside the same round of nothing: what slowed both falls out.
        ratio = statistics.median(
            mine / bare for mine, bare in zip(rounds[name], rounds["nothing"], strict=True)
        )
        report.say(f"- {name}: +{base * (ratio - 1):.0f} us, {ratio:.2f}x")


def _ours(report: Report) -> None:
    """Both stacks in one process, in short blocks that stand next to each other."""
    process = _start("ours")
    try:
        for asked in ("100", "100 bare", "send"):
            _ask(process, asked)
        bare_us, with_us, ratios, sent_us = [], [], [], []
        for number in range(1, PAIRS + 1):
            # Bare, watched, watched, bare: what drifts meets both alike.
            first, one, two, last = (_ask(process, asked) for asked in BLOCKS)
            bare_us += (first, last)
            with_us += (one, two)
            ratios.append((one + two) / (first + last))
            if number % A_SECOND == 0:
                sent_us.append(_ask(process, "send"))
    finally:
        process.kill()
        process.communicate()
    # A second of CPU sends once, whatever it served: so the cost is that share of everything.
    sent_ratio = statistics.median(sent_us) / 1e6
    quiet_us, quiet_with_us = _least_disturbed(bare_us), _least_disturbed(with_us)
    report.say(f"- without us: {quiet_us:.0f} us of CPU a request")
    report.say(
        f"- ours: +{quiet_with_us - quiet_us:.1f} us, "
        f"{quiet_with_us / quiet_us + sent_ratio:.3f}x between the least disturbed tenths, "
        f"{statistics.median(ratios) + sent_ratio:.3f}x in the median pair (budget {BUDGET_RATIO}x)"
    )
    report.say(f"  (the sending of each second is in it: {sent_ratio * 1000:.2f} ms of CPU)")


def _least_disturbed(blocks_us: list[float]) -> float:
    """Return the lowest tenth's bound: what others do on the machine only ever adds."""
    return statistics.quantiles(blocks_us, n=10)[0]


def _start(name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.watched", name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def _ask(process: subprocess.Popen[str], asked: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{asked}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"{process.args[-1]!r} ended; run it by hand to see why")  # type: ignore[index]
    return float(answer)
