"""Amazon CloudFront: paths, and tags written `#tag` (the distribution's CacheTagConfig)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from performance.cdn.conf import conf
from performance.cdn.errors import (
    LimitReached,
    ProviderRefused,
    ProviderUnreachable,
    WrongCredentials,
)
from performance.cdn.providers.base import (
    Provider,
    Receipt,
    fitted,
    shared_max_age,
    sliced,
    with_overflow,
)

ITEMS = 1000
"""Paths and tags in one invalidation; 3,000 may be in progress at once."""
WILDCARDS = 15
"""Paths that end in `*` and may be in progress at once."""
TAGS_READ = 50
HEADER_BYTES = 1783  # CloudFront's limit of one header's value
WAIT_S = 60.0
LIMITS = {"TooManyInvalidationsInProgress", "Throttling", "ThrottlingException"}
KEYS = {
    "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken",
    "UnrecognizedClientException", "MissingAuthenticationToken",
}  # fmt: skip


class CloudFront(Provider):
    """It has no soft purge: a soft one is sent as an invalidation, which is hard."""

    name = "cloudfront"
    can_soften = False
    price_usd = Decimal("0.005")
    free_items = 1000

    def headers(self, tags: Sequence[str]) -> dict[str, str]:
        return {"Cache-Tag": fitted(tags, most=TAGS_READ, limit_bytes=HEADER_BYTES, separator=",")}

    def freshness(self, directives: str, cache_control: str) -> dict[str, str]:
        return shared_max_age(directives, cache_control)

    def purge(
        self, *, reference: str, urls: Sequence[str], tags: Sequence[str], soft: bool
    ) -> Receipt:
        wild = [url for url in urls if url.endswith("*")]
        plain = [url for url in urls if not url.endswith("*")]
        items = [*plain, *(f"#{tag}" for tag in with_overflow(tags))]
        batches = [*sliced(items, ITEMS), *sliced(wild, WILDCARDS)]
        ids = [self._invalidate(f"{reference}-{n}", batch) for n, batch in enumerate(batches)]
        return Receipt(
            "invalidation " + ", ".join(ids), calls=len(ids), billed=len(items) + len(wild)
        )

    def purge_all(self, *, reference: str, soft: bool) -> Receipt:
        return Receipt(f"invalidation {self._invalidate(reference, ['/*'])}", calls=1, billed=1)

    @staticmethod
    def _invalidate(reference: str, items: list[str]) -> str:
        batch = {
            "Paths": {"Quantity": len(items), "Items": items},
            # The same reference and paths are the same invalidation: a retry costs nothing.
            "CallerReference": reference,
        }
        try:
            answer = client().create_invalidation(
                DistributionId=conf().distribution_id, InvalidationBatch=batch
            )
        except ClientError as error:
            raise _meaning(error) from error
        except NoCredentialsError as error:
            raise WrongCredentials(
                "There are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "give this machine a role that may cloudfront:CreateInvalidation."
            ) from error
        except BotoCoreError as error:
            raise ProviderUnreachable(f"CloudFront did not answer: {error}") from error
        return str(answer["Invalidation"]["Id"])


def _meaning(error: ClientError) -> Exception:
    code = error.response["Error"]["Code"]
    text = f"CloudFront said {code}: {error.response['Error'].get('Message', '')}"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in LIMITS:
        return LimitReached(text, WAIT_S)
    if code in KEYS:
        return WrongCredentials(f"{text} Check the AWS keys and cloudfront:CreateInvalidation.")
    if status >= 500:
        return ProviderUnreachable(text)
    return ProviderRefused(text)


@functools.cache
def client() -> Any:
    limits = Config(
        connect_timeout=conf().timeout_s, read_timeout=conf().timeout_s, retries={"max_attempts": 1}
    )
    return boto3.client(
        "cloudfront",
        region_name="us-east-1",
        endpoint_url=conf().api_url or None,
        config=limits,
    )
