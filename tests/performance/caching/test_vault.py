"""Values that are encrypted and signed in the store."""

from __future__ import annotations

import zlib

import pytest
from django.core.exceptions import ImproperlyConfigured

from performance.caching import services
from performance.caching.conf import CachingConf
from performance.caching.envelope import FORMAT, HEAD_BYTES
from performance.caching.services import cached

OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture
def secrets(settings):
    def set_to(*secrets):
        settings.PERFORMANCE = {"CACHING": {"secrets": list(secrets)}}

    return set_to


def make_account(**options):
    calls = []

    @cached("account", ttl_s=60, memory_s=0, tags=lambda key: [f"tag:{key}"], **options)
    def account(key: str) -> str:
        calls.append(key)
        return f"the balance of {key}" * 100

    return account, calls


def stored(fake):
    return {key: value for key, (value, _) in fake.kept.items() if ":v:account:" in key}


@pytest.mark.parametrize("schema", [str, bytes])
def test_what_lies_in_the_store_says_nothing_and_is_read_back(fake, secrets, schema):
    secrets(NEW)

    @cached("account", ttl_s=60, memory_s=0, schema=schema)
    def account(key: str):
        text = f"the balance of {key}"
        return text if schema is str else text.encode()

    assert account("a") == account("a")
    (data,) = stored(fake).values()
    assert b"balance" not in data
    assert account.counts.hit_l2 == 1


def test_without_secrets_values_lie_open_and_with_them_those_are_misses(fake, secrets):
    account, calls = make_account()
    account("a")
    assert calls == ["a"]

    secrets(NEW)
    account("a")
    account("a")
    assert calls == ["a", "a"]
    assert account.counts.unreadable >= 1


def test_a_changed_secret_costs_no_miss_while_the_old_one_is_kept(fake, secrets):
    account, calls = make_account()
    secrets(OLD)
    account("a")
    secrets(NEW, OLD)
    account("a")
    assert calls == ["a"]

    secrets(NEW)
    account("a")
    assert calls == ["a", "a"]


def test_a_value_put_in_anothers_place_is_a_miss_and_counted(fake, secrets):
    secrets(NEW)
    account, calls = make_account()
    account("a")
    account("b")
    first, second = stored(fake)
    fake.kept[first] = fake.kept[second]

    assert account("a") == "the balance of a" * 100
    assert account("b") == "the balance of b" * 100
    assert calls == ["a", "b", "a"]
    assert account.counts.unreadable >= 1


def test_no_bit_of_a_value_can_be_turned_even_with_its_checksum_mended(fake, secrets):
    secrets(NEW)
    account, calls = make_account()
    account("a")
    ((key, data),) = stored(fake).items()
    for at in range(HEAD_BYTES, len(data), 7):
        body = bytearray(data[HEAD_BYTES:])
        body[at - HEAD_BYTES] ^= 1
        forged = FORMAT + zlib.crc32(body).to_bytes(4, "big") + bytes(body)
        fake.kept[key] = (forged, fake.kept[key][1])
        calls.clear()
        account("a")
        assert calls == ["a"], f"byte {at} was changed and nobody saw it"


def test_the_inspector_opens_what_it_may_see(hearing, secrets):
    secrets(NEW)
    account, _ = make_account()
    account("a")

    found = services.inspect('account["a"]')
    assert found.state == "fresh"
    assert "the balance of a" in found.value


def test_a_secret_that_can_be_guessed_is_refused_and_not_shown():
    with pytest.raises(ImproperlyConfigured, match="has one of 6 letters") as refused:
        CachingConf(secrets=["secret"])
    assert "'secret'" not in str(refused.value).replace("['secrets']", "")
