"""Starts the whole stack in order, watches it, and ends it. It imports no Django."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protipp import env
from protipp.stack import build, control, edge, haproxy, nodes, postgres, valkey, workers
from protipp.stack.child import Child
from protipp.stack.errors import StackError
from protipp.stack.folders import kept_secret, socket_folder
from protipp.stack.logs import Stream
from protipp.stack.options import Options
from protipp.stack.processes import Spec, describe_exit, failed
from protipp.stack.tree import Tree

FIRST_NODES = (("web", "web-1"), ("web", "web-2"), ("live", "live-1"))
SERVERS = ("postgres", "valkey-cache", "valkey-bus", "seaweedfs")
SITE_ENDS_WITHIN_S = 3.0
SERVERS_END_WITHIN_S = 1.5
"""Together below the 5 s in which everything is to end."""
SETUP_WITHIN_S = 300.0


class Supervisor:
    """One stack in one tree, from the first server to the last answer."""

    def __init__(self, options: Options, tree: Tree, stream: Stream) -> None:
        self.options = options
        self._tree = tree
        self._stream = stream
        self._children: dict[str, Child] = {}
        self._environment: dict[str, str] = {}
        self._control: asyncio.Server | None = None

    async def start(self) -> list[str]:
        """Start all; return the names of those that do not run yet and are tried again."""
        self._environment = self._first_environment()
        await self._start_servers()
        first = [nodes.spec(kind, name, self._environment) for kind, name in FIRST_NODES]
        proxy = haproxy.spec(self.options, self._folder("PROTIPP_HAPROXY_DIR"), self._environment)
        await self._set_up(first)
        self._control = await control.serve(
            Path(self._environment["PROTIPP_SUPERVISOR"]),
            {"start": self._start_node, "stop": self._stop_node, "list": self._list_nodes},
        )
        self._publish()
        await self._start_all(first)
        await self._start_all([proxy])
        await self._start_all(
            workers.specs(self.options.source, self.options.local, self._environment), needed=False
        )
        return [
            name for name, child in self._children.items() if child.pid is None or child.restarts
        ]

    def _first_environment(self) -> dict[str, str]:
        local = self.options.local
        own = {
            "DJANGO_SETTINGS_MODULE": "protipp.settings",
            "PYTHONUNBUFFERED": "1",
            "PROTIPP_LOCAL_DIR": str(local),
            "PROTIPP_HAPROXY_DIR": str(socket_folder(local, "haproxy")),
            "PROTIPP_SUPERVISOR": str(socket_folder(local, "control") / "up.sock"),
            "SECRET_KEY": os.environ.get("SECRET_KEY")
            or kept_secret(local / "secret-key", secrets.token_urlsafe(50)),
            "SITE_URL": os.environ.get("SITE_URL") or self.options.site_url,
            "PORT": str(self.options.port),
            "BIND": self.options.bind,
            "PROTIPP_BUILD": build.name(env.BASE_DIR),
            **self.options.given,
        }
        return {**os.environ, **own}

    def _folder(self, name: str) -> Path:
        return Path(self._environment[name])

    async def _start_servers(self) -> None:
        """Start the servers that were not given, all at once, and the edge where it is wanted."""
        local, given, specs = self.options.local, self.options.given, []
        cluster = None
        if self.options.edge:
            found = edge.prepare(local)
            self._environment |= found.environment()
            specs += [edge.varnish(found, os.environ), edge.seaweed(found, os.environ)]
        if "DATABASE_URL" not in given:
            cluster = await asyncio.to_thread(postgres.prepare, local)
            self._environment["DATABASE_URL"] = cluster.url
            specs.append(postgres.spec(cluster))
        for name, make in (("CACHE_URL", valkey.cache), ("REDIS_URL", valkey.bus)):
            if name not in given:
                server = make(local)
                self._environment[name] = server.url
                specs.append(valkey.spec(server))
        await self._start_all(specs)
        if cluster is not None:
            await asyncio.to_thread(postgres.ensure_database, cluster)

    async def _set_up(self, first: list[Spec]) -> None:
        """Migrate, build, make the login and the proxy's file; StackError with what it said."""
        wanted = [
            {"kind": kind, "id": name, "address": nodes.address(spec)}
            for (kind, name), spec in zip(FIRST_NODES, first, strict=True)
        ]
        spec = Spec(
            name="setup",
            argv=(sys.executable, "-m", "protipp.stack.setup", json.dumps(wanted)),
            environment={**self._environment, "PROTIPP_PROCESS": "setup"},
            cwd=env.BASE_DIR,
        )
        code, said = await Child(spec, self._stream, self._note).run_once(SETUP_WITHIN_S)
        if code != 0:
            raise failed(spec, describe_exit(code), said)

    async def _start_all(self, specs: list[Spec], *, needed: bool = True) -> None:
        """Start these at once; without `needed`, one that fails is said and tried again."""
        children = [Child(spec, self._stream, self._note) for spec in specs]
        self._children |= {child.spec.name: child for child in children}
        results = await asyncio.gather(
            *(child.start() for child in children), return_exceptions=not needed
        )
        for result in results:
            if isinstance(result, StackError):
                self._stream.say(str(result), bad=True)
            elif isinstance(result, BaseException):
                raise result

    def _note(self) -> None:
        self._tree.note(
            (name, child.pid, int(child.spec.stop_signal))
            for name, child in self._children.items()
            if child.pid is not None
        )

    def _publish(self) -> None:
        names = (
            "DATABASE_URL", "CACHE_URL", "REDIS_URL", "SECRET_KEY", "SITE_URL",
            "PROTIPP_HAPROXY_DIR", "PROTIPP_SUPERVISOR", "PORT", "BIND",
            *(edge.SETTINGS if self.options.edge else ()),
        )  # fmt: skip
        known = {name: self._environment[name] for name in names}
        if "PERFORMANCE" in self._environment:
            known["PERFORMANCE"] = self._environment["PERFORMANCE"]
        self._tree.publish(self.options.port, known)

    # --- what the balancer may ask for ----------------------------------------------------------

    async def _start_node(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = str(request.get("id"))
        child = self._nodes().get(name)
        spare = request.get("spare") is True
        if child is not None and not spare:
            child.give_share()  # it may have been booting as a spare, and is wanted now
        if child is None:
            spec = nodes.spec(str(request.get("kind")), name, self._environment, spare=spare)
            child = Child(spec, self._stream, self._note)
            self._children[name] = child
            self._stream.say(f"{name} starts{' ahead' if spare else ''}, as the balancer asks")
            await child.begin()  # it announces itself in the registry once it answers
        return {"id": name, "address": nodes.address(child.spec)}

    async def _stop_node(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = str(request.get("id"))
        if name in self._nodes():
            self._stream.say(f"{name} stops, as the balancer asks")
            child = self._children.pop(name)
            await child.end(SITE_ENDS_WITHIN_S)
            self._note()
        return {"id": name}

    async def _list_nodes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "nodes": [
                {
                    "id": name,
                    "kind": child.spec.environment["PROTIPP_PROCESS"],
                    "address": nodes.address(child.spec),
                    "pid": child.pid,
                    "spare": "PROTIPP_SPARE" in child.spec.environment,
                    "restarts": child.restarts,
                }
                for name, child in self._nodes().items()
            ]
        }

    def _nodes(self) -> dict[str, Child]:
        return {
            name: child
            for name, child in self._children.items()
            if "PROTIPP_NODE_ADDRESS" in child.spec.environment
        }

    # --- the end --------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End the site, then the servers; at most 5 s, whatever they do."""
        self._tree.withdraw()
        if self._control is not None:
            self._control.close()
        site = [child for name, child in self._children.items() if name not in SERVERS]
        servers = [child for name, child in self._children.items() if name in SERVERS]
        for group, within_s in ((site, SITE_ENDS_WITHIN_S), (servers, SERVERS_END_WITHIN_S)):
            ended = await asyncio.gather(*(child.end(within_s) for child in group))
            for child, by_itself in zip(group, ended, strict=True):
                if not by_itself:
                    self._stream.say(f"{child.spec.name} was killed: it did not end by itself")
        self._children.clear()
        self._note()
