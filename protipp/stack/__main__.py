"""`python -m protipp.stack SOURCE [--edge]`: what `manage.py up` turns into, without Django."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time

from django.core.exceptions import ImproperlyConfigured

from protipp.stack import options as wishes
from protipp.stack.errors import StackError
from protipp.stack.logs import Stream
from protipp.stack.options import Options
from protipp.stack.supervisor import Supervisor
from protipp.stack.tree import Tree


def main(source: str, *more: str) -> int:
    began = time.monotonic()
    try:
        options = wishes.read(source, edge="--edge" in more)
        tree = Tree(options.local)
        tree.take("manage.py up")
        left = tree.end_leftovers()
        wishes.check(options)
    except (StackError, ImproperlyConfigured) as error:
        sys.stderr.write(f"up: {error}\n")
        return 1
    stream = Stream(options.local / "up.log")
    if left:
        stream.say(f"ended what a killed run had left: {', '.join(left)}")
    try:
        return asyncio.run(supervise(options, tree, stream, began))
    finally:
        stream.close()


async def supervise(options: Options, tree: Tree, stream: Stream, began: float) -> int:
    """Run the stack until a signal; 0 after one, 1 when it could not start."""
    asked = asyncio.Event()
    for wanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(wanted, asked.set)
    supervisor = Supervisor(options, tree, stream)
    starting = asyncio.create_task(supervisor.start())
    waiting = asyncio.create_task(asked.wait())
    stream.say("starting; Ctrl-C stops everything")
    try:
        await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            stream.block(welcome(options, starting.result(), time.monotonic() - began))
            await waiting
        return 0
    except StackError as error:
        stream.say(str(error), bad=True)
        return 1
    finally:
        starting.cancel()
        ending = time.monotonic()
        if asked.is_set():
            stream.say("stopping")
        await supervisor.stop()
        stream.say(f"all processes ended ({time.monotonic() - ending:.1f} s)")


def welcome(options: Options, missing: list[str], took_s: float) -> list[str]:
    """Return the last lines of a start: where it is, and how to get in."""
    login = json.loads((options.local / "login.json").read_text())
    site = os.environ.get("SITE_URL") or options.site_url
    password = f"password  {login['password']}" if login["password"] else login["note"]
    lines = [
        "",
        f"  ProTipp runs   {site}/",
        f"  staff pages    {site}/admin/",
        f"  staff login    {login['username']}   {password}",
        "",
        f"  started in {took_s:.1f} s · Ctrl-C stops everything · log: {options.local / 'up.log'}",
    ]
    if options.edge:
        lines.insert(-2, "  edge           Varnish behind the proxy, static files in S3 (--edge)")
    if missing:
        lines.append(f"  not running (see above; tried again): {', '.join(missing)}")
    return [*lines, ""]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
