"""What must hold for any arguments, any envelope and any bytes."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from performance.caching import keys
from performance.caching.envelope import (
    GENERATION_BYTES,
    Envelope,
    State,
    Unreadable,
    judge,
    poisoned,
    seal,
    unseal,
)
from performance.caching.memory import _key
from performance.caching.policy import Policy
from performance.caching.services import UnusableArgument
from performance.caching.store import holders_of, poison_of

zones = st.builds(lambda hours: timezone(timedelta(hours=hours)), st.integers(-12, 12))
plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=zones)
    | st.uuids()
)
# Few values of many kinds, so that pairs often look alike: 1, True, 1.0, Decimal("1.0"), "1" …
alike = st.sampled_from([0, 1, True, False, 1.0, -0.0, 0.0, "1", b"1", None, "", b""])
nested = st.recursive(plain | alike, lambda inner: st.lists(inner, max_size=3).map(tuple))
arguments = st.lists(nested, max_size=4).map(tuple)


@given(arguments, arguments)
def test_what_is_one_key_in_memory_is_one_key_in_the_store(first, second):
    assert keys.digest("f", first) == keys.digest("f", first)
    assert hash(_key(first)) == hash(_key(first))
    if _key(first) == _key(second):
        assert keys.digest("f", first) == keys.digest("f", second)


@given(st.lists(alike, min_size=1, max_size=3).map(tuple), st.lists(alike, max_size=3).map(tuple))
def test_values_that_python_calls_equal_stay_apart(first, second):
    same = [(type(value), str(value)) for value in first] == [
        (type(value), str(value)) for value in second
    ]

    assert (keys.digest("f", first) == keys.digest("f", second)) is same
    assert (_key(first) == _key(second)) is same


def test_a_key_is_the_same_in_every_process():
    """Sets and mappings have another order in each: their hashes are seeded anew."""
    script = (
        "from performance.caching.keys import digest;"
        "print(digest('f', (frozenset({'a','b','c'}), {'x': 1, 'y': 2}, (1, 'z'))))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, timeout=30,
            capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip

    assert len(said) == 1


@given(st.sampled_from([object(), lambda: 1, 2**70, type]))
def test_what_has_no_canonical_form_is_refused(argument):
    with pytest.raises(UnusableArgument, match="cannot be cached"):
        keys.digest("f", (argument,))


generation = st.binary(min_size=GENERATION_BYTES, max_size=GENERATION_BYTES)
envelopes = st.builds(
    Envelope,
    schema=st.text(max_size=8),
    created_s=st.floats(0, 2e9),
    soft_s=st.floats(0, 2e9),
    ttl_s=st.floats(0, 1e6),
    cost_ms=st.floats(0, 1e6),
    generations=st.lists(generation, max_size=4).map(tuple),
    compressed=st.just(False),
    payload=st.binary(max_size=4000),
)


@given(envelopes, st.sampled_from([None, 0, 1000]))
def test_an_envelope_comes_back_as_it_was(envelope, compress_from_bytes):
    stored = seal(envelope, compress_from_bytes=compress_from_bytes)

    assert unseal(stored, schema=envelope.schema, max_bytes=10_000) == envelope


@given(envelopes, st.data())
def test_a_changed_byte_anywhere_is_never_taken_for_a_value(envelope, data):
    stored = bytearray(seal(envelope, compress_from_bytes=1000))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Unreadable):
        unseal(bytes(stored), schema=envelope.schema, max_bytes=10_000)


@given(st.binary(max_size=300), st.booleans())
def test_bytes_that_are_no_envelope_are_unreadable_and_nothing_else(stored, ours):
    with pytest.raises(Unreadable):
        unseal(b"\x02" + stored if ours else stored, schema="s", max_bytes=1000)


times = st.floats(0, 1e4)
policies = st.builds(
    lambda ttl_s, stale_s, more_s, every_s: Policy(
        ttl_s=ttl_s, stale_s=stale_s, max_stale_s=stale_s + more_s, memory_s=1, every_s=every_s
    ),
    st.floats(0.1, 1e4),
    times,
    times,
    st.sampled_from([0, 1, 60, 3600]),
)


@given(envelopes, policies, st.floats(0, 2e9), st.data())
def test_an_entry_is_served_only_with_the_generations_it_was_made_under(
    envelope, policy, now_s, data
):
    current = list(envelope.generations)
    verdict = judge(envelope, current, now_s=now_s, policy=policy)
    assert judge(envelope, [*current, b"x" * 16], now_s=now_s, policy=policy) is State.MISS
    if verdict is State.FRESH:
        assert now_s < envelope.created_s + min(policy.ttl_s, envelope.ttl_s)
    if now_s >= policy.ends_s(envelope.created_s, envelope.ttl_s):
        assert verdict is State.MISS
    if current:
        at = data.draw(st.integers(0, len(current) - 1))
        was = current[at]
        current[at] = data.draw(
            st.none() | generation.filter(lambda new: new[:8] != was[:8]) | st.just(b"p" + b"1" * 8)
        )
        assert judge(envelope, current, now_s=now_s, policy=policy) is State.MISS


@given(st.sets(st.binary(min_size=8, max_size=8), min_size=1, max_size=20))
def test_a_poison_names_its_holders_and_is_never_a_sound_generation(holders):
    assert holders_of(poison_of(holders)) == holders
    assert poisoned([poison_of(holders)])
    assert not poisoned([b"x" * GENERATION_BYTES, None])
