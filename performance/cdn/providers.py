"""The edges we can speak to. Each knows its own headers, limits and errors; none knows a ledger."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from performance.cdn.conf import conf
from performance.cdn.errors import ProviderRefused, ProviderUnreachable

VARNISH_HEADER_BYTES = 4096
"""Keys that one purge carries: Varnish refuses header lines over 8 KB by default."""
CLOUDFRONT_ITEMS = 1000
"""Paths and tags in one invalidation; 3,000 may be in progress at once."""
RETRY_LATER = {"TooManyInvalidationsInProgress", "Throttling", "ThrottlingException"}


class Provider(Protocol):
    name: str

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        """Return the response headers by which this edge learns an answer's tags."""

    def purge(self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool) -> str:
        """Purge, and return what the edge said. `reference` is the same when it is tried again.

        Raises ProviderRefused when trying again is useless, ProviderUnreachable when it is not.
        """


class Varnish:
    """Varnish with the xkey module and the VCL of `deploy/varnish`: tags, soft or hard."""

    name = "varnish"

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        return {
            "Surrogate-Key": " ".join(tags)
        }  # its VCL copies it to `xkey` in vcl_backend_response

    def purge(self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool) -> str:
        header = "xkey-softpurge" if soft else "xkey-purge"
        said = []
        with httpx.Client(timeout=conf().timeout_s) as client:
            for server in conf().varnish_urls:
                for some in _packed(tags, VARNISH_HEADER_BYTES):
                    said.append(self._send(client, f"{server}/", {header: some}))
                for url in urls:
                    said.append(self._send(client, f"{server}{url}", {}))
        return "; ".join(said)

    @staticmethod
    def _send(client: httpx.Client, url: str, headers: dict[str, str]) -> str:
        try:
            answer = client.request("PURGE", url, headers=headers)
        except httpx.HTTPError as error:
            raise ProviderUnreachable(f"Varnish at {url} did not answer: {error}") from error
        if answer.status_code >= 500:
            raise ProviderUnreachable(f"Varnish at {url} answered {answer.status_code}.")
        if answer.status_code >= 400:
            raise ProviderRefused(
                f"Varnish at {url} refused PURGE with {answer.status_code}. "
                "Its VCL must allow this address: see deploy/varnish."
            )
        return f"{answer.status_code} {answer.reason_phrase}"


class CloudFront:
    """Amazon CloudFront: paths, and tags written `#tag` (the distribution's CacheTagConfig).

    CloudFront has no soft purge; a soft one is sent as an invalidation, which is hard.
    """

    name = "cloudfront"

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        return {"Cache-Tag": ",".join(tags[:50])}  # more are ignored by CloudFront

    def purge(self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool) -> str:
        items = [*urls, *(f"#{tag}" for tag in tags)]
        ids = []
        for part, some in enumerate(_sliced(items, CLOUDFRONT_ITEMS)):
            batch = {
                "Paths": {"Quantity": len(some), "Items": some},
                # The same reference and paths are the same invalidation: a retry costs nothing.
                "CallerReference": f"{reference}-{part}",
            }
            try:
                answer = cloudfront_client().create_invalidation(
                    DistributionId=conf().distribution_id, InvalidationBatch=batch
                )
            except ClientError as error:
                code = error.response["Error"]["Code"]
                kind = ProviderUnreachable if code in RETRY_LATER else ProviderRefused
                raise kind(
                    f"CloudFront said {code}: {error.response['Error']['Message']}"
                ) from error
            except BotoCoreError as error:
                raise ProviderUnreachable(f"CloudFront did not answer: {error}") from error
            ids.append(answer["Invalidation"]["Id"])
        return "invalidation " + ", ".join(ids)


@functools.cache
def cloudfront_client() -> Any:
    limits = Config(
        connect_timeout=conf().timeout_s, read_timeout=conf().timeout_s, retries={"max_attempts": 1}
    )
    return boto3.client("cloudfront", region_name="us-east-1", config=limits)


def provider() -> Provider | None:
    """Return the configured edge, or None where there is none."""
    known: dict[str, type[Varnish] | type[CloudFront]] = {
        "varnish": Varnish,
        "cloudfront": CloudFront,
    }
    chosen = known.get(conf().provider)
    return chosen() if chosen else None


def _packed(words: Iterable[str], limit_bytes: int) -> Iterator[str]:
    """Join words by spaces into lines of at most `limit_bytes`."""
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > limit_bytes:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    if line:
        yield line


def _sliced(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
