"""Importing odds: prices a second into PostgreSQL, and the share that reading the files takes.

Run: python -m benchmarks import_prices. It imports real seasons of football-data.co.uk from
PROTIPP_SAMPLES, through the command's own path, each file read twice; without them it writes
seasons of the same shape.
"""

from __future__ import annotations

import os
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = Path(os.environ.get("PROTIPP_SAMPLES") or ROOT.parent / "shared" / "data")
WANTED_PER_S = 50_000
MOST_FILES = 30
SERVER_COUNTS_WITHIN_S = 0.5
"""PostgreSQL knows what a process of its own cost once that has ended."""


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


class Measured(NamedTuple):
    prices: int
    seconds: float
    client_s: float
    """Processor time of the processes that read the files and send the prices."""
    server_s: float
    """Processor time of the PostgreSQL processes that store them."""

    def __str__(self) -> str:
        per_price = 1e6 / self.prices
        return (
            f"{self.prices / self.seconds:,.0f} prices/s; processor time a price: "
            f"{self.client_s * per_price:.1f} us here, {self.server_s * per_price:.1f} us in "
            "PostgreSQL"
        )


def run(report: Report) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0]).parent()
    assert server is not None
    with tempfile.TemporaryDirectory() as folder:
        real = _real_files()
        files = real or _written_files(Path(folder))
        results = {
            name: _measure(files, server, store=store)
            for name, store in (("read only", False), ("stored", True), ("stored again", True))
        }
    stored = results["stored"]
    kind = "real" if real else "written"
    report.say(f"{len(files)} {kind} files, {stored.prices:,} prices, opening and closing ones")
    for name, measured in results.items():
        report.say(f"- {name}: {measured}")
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    report.say(f"- peak memory: {peaks[0]:.0f} MiB, and of the second process {peaks[1]:.0f} MiB")
    ratio = stored.prices / stored.seconds / WANTED_PER_S
    report.say(f"- wanted: {WANTED_PER_S:,} prices/s stored; as it ran, {ratio:.2f}x of that")


def _measure(files: list[Path], server: psutil.Process, *, store: bool) -> Measured:
    from odds.importing.hands import hands
    from odds.importing.run import FileResult, Import, Options

    def work(import_file: Import, file: tuple[Path, str], tell: object) -> FileResult:
        return import_file(*file, Options(store=store))

    named = [(file, file.name) for file in files]
    started, client_s, server_s = time.perf_counter(), _own_cpu_s(), _cpu_s(server)
    with hands(named, store=store) as each:
        prices = sum(result.prices for result in each(work))
    elapsed_s = time.perf_counter() - started
    time.sleep(SERVER_COUNTS_WITHIN_S)
    return Measured(
        prices,
        elapsed_s,
        _own_cpu_s() - client_s,
        _cpu_s(server) - server_s,
    )


def _own_cpu_s() -> float:
    """Processor time of this process, and of the second one, which has ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _cpu_s(server: psutil.Process) -> float:
    """Processor time of PostgreSQL's ended processes: each file's connection is one."""
    times = server.cpu_times()
    return float(times.children_user + times.children_system)


def _real_files() -> list[Path]:
    folder = SAMPLES / "football_data_uk"
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.glob("*.csv")) if "resaved" not in path.name][
        -MOST_FILES:
    ]


def _written_files(folder: Path) -> list[Path]:
    """Write ten seasons of 380 matches with six bookmakers' opening and closing prices."""
    chance = random.Random(7)
    codes = ("B365", "BW", "IW", "PS", "WH", "VC")
    names = [f"{code}{middle}{end}" for middle in ("", "C") for code in codes for end in "HDA"]
    files = []
    for season in range(10):
        lines = [",".join(["Div", "Date", "HomeTeam", "AwayTeam", *names])]
        for match in range(380):
            prices = [
                f"{(1 + chance.random() * 0.1) * base:.2f}"
                for _ in range(len(names) // 3)
                for base in (2.3, 3.2, 2.9)
            ]
            day = f"{match % 28 + 1:02}/{match // 28 % 5 + 8:02}/{2010 + season}"
            lines.append(",".join(["E0", day, f"Home {match}", f"Away {match}", *prices]))
        files.append(folder / f"season_{season}.csv")
        files[-1].write_text("\n".join(lines))
    return files
