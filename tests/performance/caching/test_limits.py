"""What bounds a family: times, places, entries, and the value's own word."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from django.core.exceptions import ImproperlyConfigured

from performance.caching import memory
from performance.caching import runtime as runtimes
from performance.caching.services import (
    LoaderTooSlow,
    OriginBusy,
    RefreshFailed,
    cached,
)
from performance.core import stores

pytestmark = pytest.mark.timed


def make_match(**options):
    @cached(
        "match",
        **{"ttl_s": 300, "stale_s": 10, "memory_s": 0, "ttl": lambda value: value["for_s"]}
        | options,
    )
    def match(key: str, for_s: float | None) -> dict[str, float | None]:
        return {"for_s": for_s}

    return match


def test_a_value_may_say_how_long_it_is_good_for(fake):
    match = make_match()
    match("live", 2)
    match("tomorrow", None)

    fake.advance(3)
    assert match.peek("live", 2).state == "stale"
    assert match.peek("tomorrow", None).state == "fresh"
    fake.advance(10)
    assert match.peek("live", 2).state == "miss", "stale is counted from its own end"


def test_a_value_never_says_more_than_its_family_allows(fake):
    match = make_match()
    match("long", 10_000)

    fake.advance(301)
    assert match.peek("long", 10_000).state == "stale"


def test_a_value_that_says_0_is_served_and_not_stored(fake):
    match = make_match(memory_s=60)

    assert match("over", 0) == {"for_s": 0}
    assert match.peek("over", 0).state == "miss"


class Slow:
    """A loader that waits until told, and counts."""

    def __init__(self):
        self.calls = 0
        self.refused = 0
        self.go = threading.Event()

    def __call__(self) -> int:
        self.calls += 1
        assert self.go.wait(60)
        return self.calls


def make_slow(**options):
    origin = Slow()

    @cached("slow", **{"ttl_s": 60} | options)
    def slow(key: str) -> int:
        return origin()

    return slow, origin


def test_a_cold_caller_waits_no_longer_than_the_hard_limit_and_the_loader_finishes_behind(
    eventually,
):
    slow, origin = make_slow(hard_limit_s=0.05)

    with pytest.raises(RefreshFailed) as caught:
        slow("a")
    assert isinstance(caught.value.__cause__, LoaderTooSlow)
    with pytest.raises(RefreshFailed):
        slow("a")
    eventually(lambda: origin.calls)
    assert origin.calls == 1, "the second caller waited for the same run"
    origin.go.set()
    eventually(lambda: slow.peek("a").state == "fresh")
    assert slow("a") == 1
    assert slow.counts.too_slow == 2


def test_a_quick_loader_never_meets_the_hard_limit_and_its_error_is_its_own(fake):
    @cached("quick", ttl_s=60, hard_limit_s=5, raises=(LookupError,))
    def quick(key: str) -> str:
        if key == "none":
            raise KeyError(key)
        return key

    assert quick("a") == "a"
    with pytest.raises(KeyError):
        quick("none")


def test_the_soft_limit_is_the_familys_own(fake, eventually, settings):
    settings.PERFORMANCE = {"CACHING": {"patience_s": 60}}
    origin = Slow()
    origin.go.set()

    @cached("soft", ttl_s=5, stale_s=0, max_stale_s=60, memory_s=0, soft_limit_s=0.05)
    def soft(key: str) -> int:
        return origin()

    soft("a")
    fake.advance(20)
    origin.go.clear()
    started = time.monotonic()
    assert soft.find("a").source == "fallback"
    assert time.monotonic() - started < 30, "less than the room's patience_s"
    origin.go.set()
    eventually(runtimes.current().workers.idle)
    assert soft("a") == 2


def refused(done, origin):
    """The error of one; once three are refused, those who run may end."""
    error = done.exception()
    if error is not None:
        origin.refused += 1
        if origin.refused == 3:
            origin.go.set()
    return error


def test_no_more_loaders_than_allowed_run_at_once(settings):
    settings.PERFORMANCE = {"CACHING": {"lease_wait_s": 0.1}}
    slow, origin = make_slow(parallel=2)

    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(slow, key) for key in "abcde"]
        failed = [error for done in as_completed(answers) if (error := refused(done, origin))]
    assert origin.calls == 2
    assert [type(error.__cause__) for error in failed] == [OriginBusy] * 3
    assert slow.counts.busy == 3


def test_a_family_over_its_budget_serves_new_keys_without_storing_them(fake):
    @cached("flood", ttl_s=60, memory_s=0, entries=5)
    def flood(key: int) -> int:
        return key

    for number in range(5):
        flood(number)
    flood.budget.recount(fake, fake.clock())
    assert flood.budget.full
    assert flood(99) == 99
    assert flood.peek(99).state == "miss"
    assert flood.counts.over_budget == 1
    flood.refresh(3)
    assert flood.peek(3).state == "fresh", "what is there already is still refreshed"

    fake.advance(3 * 120)
    flood.budget._recounted_at = 0
    flood.budget.recount(fake, fake.clock())
    assert not flood.budget.full, "the window has moved on"


def test_the_store_counts_the_keys_of_all_processes(eventually):
    @cached("counted", ttl_s=60, entries=1000)
    def counted(key: int) -> int:
        return key

    for number in range(300):
        counted(number)
    eventually(lambda: 280 < counted.budget.entries < 320)
    (name,) = [key for key in stores.cache_store().keys("*:n:*") if b"{counted}" in key]
    assert stores.cache_store().ttl(name) > 0


def test_a_limit_that_makes_no_sense_is_refused_by_name():
    with pytest.raises(ImproperlyConfigured, match=r"Family 'odd': hard_limit_s is 0"):
        cached("odd", hard_limit_s=0)


def test_switched_off_every_read_computes_and_nothing_is_kept(settings):
    settings.PERFORMANCE = {"CACHING": {"enabled": False}}
    calls = []

    @cached("off", ttl_s=60)
    def off(key: str) -> str:
        calls.append(key)
        return key

    assert [off("a"), *off.many([("a",)]), off.refresh("a")] == ["a"] * 3
    assert len(calls) == 3
    assert not stores.cache_store().keys("*:v:off:*")


def in_memory(value="value", weight=10):
    return memory.Entry(
        value, until=time.monotonic() + 60, cells=(), created_s=0.0, fresh_until_s=0.0,
        ends_s=0.0, cost_us=1, weight=weight,
    )  # fmt: skip


def test_what_memory_holds_is_counted_while_others_store():
    held = memory.Memory(max_bytes=2**20, max_entries=2_000)
    over, stored = threading.Event(), [0, 0]

    def store(first):
        number = first
        while not over.is_set():
            held.put((str(number % 5_000),), in_memory())
            number += 2
            stored[first] += 1

    threads = [threading.Thread(target=store, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        while min(stored) < 3_000:
            assert held.held_bytes <= 2_001 * (10 + memory.ENTRY_OVERHEAD_BYTES)
            held.oldest_s(0.0)
    finally:
        over.set()
        for thread in threads:
            thread.join()

    assert len(held) == 2_000


ROOM = 100


@pytest.fixture(params=["entries", "bytes"])
def room(request):
    """Memory for ROOM entries, bounded in one way or the other."""
    if request.param == "entries":
        return memory.Memory(max_bytes=2**30, max_entries=ROOM)
    return memory.Memory(max_bytes=ROOM * (1000 + memory.ENTRY_OVERHEAD_BYTES))


def read(held, number):
    """Read a value, and keep it if it was not there; return whether it was."""
    found = held.get((str(number),)) is not None
    if not found:
        held.put((str(number),), in_memory(weight=1000))
    return found


def test_a_scan_flushes_nothing_that_is_read(room):
    for _ in range(3):
        for number in range(ROOM // 2):
            read(room, number)
    for number in range(1_000, 1_000 + 50 * ROOM):  # a crawler reads all there is, once
        read(room, number)

    assert all(read(room, number) for number in range(ROOM // 2))
    assert len(room) == ROOM
    assert room.evicted == 50 * ROOM - ROOM // 2


def test_what_was_read_and_is_not_any_more_makes_room(room):
    for number in range(ROOM):
        read(room, number)
        read(room, number)
        read(room, number)
    for _ in range(30):  # others are read now
        for number in range(2_000, 2_000 + ROOM // 2):
            read(room, number)

    assert all(read(room, number) for number in range(2_000, 2_000 + ROOM // 2))
    assert len(room) == ROOM


def test_memory_counts_what_it_holds_through_everything_that_happens():
    dice, held = random.Random(7), memory.Memory(max_bytes=20_000)
    for _ in range(20_000):
        key = (str(int(dice.paretovariate(0.7))),)
        if held.get(key) is None or dice.random() < 0.2:
            held.put(key, in_memory(weight=dice.randrange(3_000)))
        if dice.random() < 0.0005:
            held.clear()

    entries = list(held._entries.values())
    assert held.held_bytes == sum(one.weight + memory.ENTRY_OVERHEAD_BYTES for one in entries)
    assert held.held_bytes <= 20_000
    assert held._on_trial == sum(held._size(one) for one in entries if not one.proven)
    assert set(held._trial) | set(held._proven) == set(held._entries)
    assert not set(held._trial) & set(held._proven)
    assert len(held._gone) <= len(entries) + 1


def test_whoever_holds_what_memory_gave_up_can_see_it(room):
    first, second = in_memory(), in_memory()
    room.put(("a",), first)
    room.put(("a",), second)
    assert not first.alive()
    assert second.alive()
    room.clear()
    assert not second.alive()
