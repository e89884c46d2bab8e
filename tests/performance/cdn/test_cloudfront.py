"""CloudFront, against moto's server: references of its own, costs, and what it refuses."""

import logging
import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer

from performance.cdn import services
from performance.cdn.models import Purge, PurgeUse
from performance.cdn.providers import cloudfront


@pytest.fixture(scope="module")
def amazon():
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _host, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def distribution(amazon, settings, monkeypatch):
    # As test_publishing has them: botocore keeps the first ones that a process used.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests-secret")
    client = boto3.client("cloudfront", region_name="us-east-1", endpoint_url=amazon)
    made = client.create_distribution(
        DistributionConfig={
            "CallerReference": uuid.uuid4().hex, "Comment": "", "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [
                {"Id": "o", "DomainName": "o.s3.amazonaws.com",
                 "S3OriginConfig": {"OriginAccessIdentity": ""}}]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "o", "ViewerProtocolPolicy": "https-only", "MinTTL": 0,
                "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}}},
        }
    )  # fmt: skip
    settings.PERFORMANCE = {
        "CDN": {
            "provider": "cloudfront",
            "distribution_id": made["Distribution"]["Id"],
            "api_url": amazon,
        }
    }
    cloudfront.client.cache_clear()
    yield made["Distribution"]["Id"], client
    cloudfront.client.cache_clear()


def test_cloudfront_gets_paths_and_tags_under_a_reference_of_their_own(distribution, db):
    name, client = distribution
    for tag in ("a", "b"):
        services.manager.purge(tags=[tag], urls=["/x"])
    services.manager.deliver()

    assert [row.state for row in Purge.objects.all()] == ["sent", "sent"]
    (newest, older) = Purge.objects.all()
    said = [row.answer.removeprefix("invalidation ") for row in (newest, older)]
    seen = client.get_invalidation(DistributionId=name, Id=said[0])["Invalidation"]
    assert sorted(seen["InvalidationBatch"]["Paths"]["Items"]) == ["#b", "#many", "/x"]
    assert seen["InvalidationBatch"]["CallerReference"] == f"{newest.pk}-0"
    assert said[0] != said[1]


def test_cloudfront_costs_money_beyond_the_free_thousand(distribution, db):
    services.manager.purge(tags=[f"t{n}" for n in range(999)])
    services.manager.deliver()
    services.manager.purge(tags=["one", "more"])
    services.manager.deliver()

    costs = [float(row.cost_usd) for row in Purge.objects.order_by("created_at")]
    assert costs == [0, 0.015]  # 999 tags and the overflow's are free, three more are not
    assert float(PurgeUse.objects.get().cost_usd) == 0.015


def test_cloudfront_without_its_distribution_says_so(distribution, settings, db, caplog):
    own = settings.PERFORMANCE["CDN"] | {"distribution_id": "gone"}
    settings.PERFORMANCE = {"CDN": own}
    with caplog.at_level(logging.CRITICAL):
        services.manager.purge(tags=["a"])
        services.manager.deliver()

    row = Purge.objects.get()
    assert (row.state, row.trouble) == ("failed", "refused")
    assert "NoSuchDistribution" in row.answer
