"""One POST to an address that staff have given: never to our own network, never for long.

The name is resolved here, each of its addresses is judged, and the connection goes to the one that
was judged: a name that answers otherwise a moment later leads nowhere (DNS rebinding). Redirects
are not followed, and no proxy of the environment is asked.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import threading
import time
from urllib.parse import SplitResult, urlsplit

import httpx

from performance.monitoring.conf import conf
from performance.monitoring.errors import AddressRefused

SHORTEST_SECRET = 16
PHASE_S = 3.0
"""For connecting, and for each read and write."""
DEADLINE_S = 8.0
"""For all of it, whatever the other side drips."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_address(url: str) -> SplitResult:
    """Return the parts of an address that may be asked; raises AddressRefused. Asks no server.

    https only, or http to a network of `webhook_networks`; no user in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused(url, str(error)) from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise AddressRefused(url, "it must look like https://example.org/hook")
    if parts.username or parts.password:
        raise AddressRefused(url, "it must not hold a user or a password; use the secret")
    if any(character <= " " for character in url):
        raise AddressRefused(url, "it must hold no blanks")
    if port == 0:
        raise AddressRefused(url, "it has the port 0")
    if parts.scheme == "http" and not conf().webhook_networks:
        raise AddressRefused(url, "http is not encrypted; it must be https")
    try:
        literal = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return parts
    _judge(url, literal, parts.scheme)
    return parts


def resolve(url: str) -> tuple[SplitResult, str]:
    """Return the parts and the one address to connect to; raises AddressRefused, or OSError.

    One inner address among several refuses all: a name of ours is not half ours.
    """
    parts = check_address(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    assert parts.hostname is not None
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(row[4][0]).partition("%")[0]) for row in found]
    for address in addresses:
        _judge(url, address, parts.scheme)
    return parts, str(addresses[0])


def _judge(url: str, address: Address, scheme: str) -> None:
    inner = getattr(address, "ipv4_mapped", None) or address
    if any(inner in ipaddress.ip_network(known) for known in conf().webhook_networks):
        return
    if not inner.is_global or inner.is_multicast:
        raise AddressRefused(url, f"{address} is an address inside a network")
    if scheme == "http":
        raise AddressRefused(url, "http is not encrypted; it must be https")


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Send `body` and return the answer's status. Raises AddressRefused, OSError, httpx.HTTPError.

    The answer's body is not read. It takes `DEADLINE_S` + `PHASE_S` at most, after the name's
    resolution, which the system's resolver bounds.
    """
    parts, address = resolve(url)
    host = f"[{address}]" if ":" in address else address
    target = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
    headers = {"Host": parts.netloc, "User-Agent": "ProTipp", **headers}
    with httpx.Client(trust_env=False, timeout=PHASE_S, follow_redirects=False) as client:
        timer = threading.Timer(DEADLINE_S, client.close)
        timer.daemon = True
        timer.start()
        try:
            with client.stream(
                "POST", target, content=body, headers=headers,
                extensions={"sni_hostname": parts.hostname},
            ) as answer:  # fmt: skip
                return answer.status_code
        except RuntimeError as error:  # the client was closed under it
            raise httpx.ReadTimeout(f"no answer within {DEADLINE_S:.0f} s") from error
        finally:
            timer.cancel()


def signature(secret: str, body: bytes, at_s: int | None = None) -> str:
    """Return `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`, so old ones can be told.

    >>> signature("0123456789abcdef", b"{}", 1)[:8]
    't=1,v1=2'
    """
    at_s = int(time.time()) if at_s is None else at_s
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"
