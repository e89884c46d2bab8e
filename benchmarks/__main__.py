"""`make bench`: run the benchmarks named (or all); what was seen goes into RESULTS.md, by section.

Each benchmark is a module with `run(report)`; it measures both sides of a comparison in one run,
alternating, and reports medians and their ratio. Nothing here is asserted: machines differ.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from protipp.stack.servers import Servers

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
HEAD = """# Results

Written by `make bench`, each section when it was last run.
Ratios hold across machines better than times do."""
BENCHMARKS = {
    "import_prices": "Importing odds",
    "cached_board": "The board's API, cached and not",
    "cache_misses": "What the cache adds to a miss",
    "cache_libraries": "A hit beside other libraries",
    "cache_costs": "What public answers and invalidations cost",
    "layer_on_off": "Every route with the whole layer and without",
    "recorder_cost": "What monitoring costs",
    "monitor_rivals": "Being watched, beside other libraries",
    "monitor_merging": "2,000 series a second, and how true they are",
    "screen_lag": "From an event to the screen",
    "capture_cost": "What watching queries costs, beside other libraries",
    "large_queries": "Readers at a million prices and twenty million changes",
    "edge_hits": "The edge: hits, purges, cold clients",
    "publishing_speed": "Publishing static files to S3",
    "cold_load": "A page's first load over a slow link",
    "live_sockets": "Thousands of sockets and a broadcast each second",
    "node_throughput": "One, two and four web nodes, and what the proxy adds",
    "scaling_step": "A step of users, and the autoscaler",
}


class Report:
    """Collects lines; prints each as it comes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str = "") -> None:
        self.lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def machine() -> str:
    memory_gib = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    )


@contextmanager
def servers_of_its_own() -> Iterator[None]:
    """PostgreSQL (durable, as in production) and two Valkeys, migrated and empty."""
    local = Path(tempfile.mkdtemp(prefix="protipp-bench-"))
    local.chmod(0o711)  # as root, PostgreSQL's account must pass through
    servers = Servers(local, durable=True)
    try:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "protipp.settings",
            "PROTIPP_LOCAL_DIR": str(local),
            "LOG_LEVEL": "WARNING",
            **servers.start(),
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        yield
    finally:
        servers.stop()
        for folder in servers.folders:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"{name!r} is no benchmark; there are: {', '.join(BENCHMARKS)}.")

    # As Ctrl-C: every `with` is left in order, and nothing that was started stays behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sections = _sections()
    with servers_of_its_own():
        for name in names:
            report = Report()
            report.say(f"Measured {datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {machine()}.")
            report.say()
            importlib.import_module(f"benchmarks.{name}").run(report)
            sections[BENCHMARKS[name]] = "\n".join(report.lines).strip()
            _write(sections)  # each at once: what was measured is not lost with what comes after


def _sections() -> dict[str, str]:
    """What RESULTS.md says now, by title; a benchmark that is not run keeps its section."""
    if not RESULTS.exists():
        return {}
    _, *parts = f"\n{RESULTS.read_text()}".split("\n## ")
    return {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}


def _write(sections: dict[str, str]) -> None:
    known = [title for title in BENCHMARKS.values() if title in sections]
    parts = [HEAD, *(f"## {title}\n\n{sections[title]}" for title in known)]
    RESULTS.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
