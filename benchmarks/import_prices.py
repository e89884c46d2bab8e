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
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = Path(os.environ.get("PROTIPP_SAMPLES") or ROOT.parent / "shared" / "data")
WANTED_PER_S = 50_000
MOST_FILES = 30


class Report(Protocol):
    def say(self, line: str = "") -> None: ...


def run(report: Report) -> None:
    from odds.importing.run import Options, import_file

    with tempfile.TemporaryDirectory() as folder:
        files = _real_files() or _written_files(Path(folder))
        results = {}
        for name, store in (("read only", False), ("stored", True), ("stored again", True)):
            started = time.perf_counter()
            prices = sum(import_file(f, f.name, Options(store=store)).prices for f in files)
            results[name] = prices / (time.perf_counter() - started)
    kind = "real" if _real_files() else "written"
    report.say(f"{len(files)} {kind} files, {prices:,} prices, a quote each at opening and closing")
    for name, per_s in results.items():
        report.say(f"- {name}: {per_s:,.0f} prices/s")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report.say(f"- peak memory of the process: {peak_mib:.0f} MiB")
    report.say(
        f"- wanted: {WANTED_PER_S:,} prices/s stored, {results['stored'] / WANTED_PER_S:.2f}x"
    )


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
