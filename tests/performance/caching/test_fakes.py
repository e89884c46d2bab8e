"""`cache.fake()`: what other people's tests hold."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from performance.caching.services import RefreshFailed, UnknownFamily, cache, cached


@pytest.fixture
def board():
    calls = []

    @cached("board", ttl_s=10, stale_s=20, max_stale_s=60, memory_s=10, tags=lambda key: [key])
    def board(key: str) -> str:
        calls.append(key)
        if key == "broken":
            raise OSError("no database")
        return f"{key}{len(calls)}"

    return board


def test_the_clock_moves_both_tiers(fake, board):
    assert board("a") == "a1"
    fake.advance(8)
    assert board("a") == "a1"
    fake.advance(3)
    assert board("a") == "a1"  # stale, served while it is refreshed
    fake.settle()
    assert board("a") == "a2"
    fake.advance(1000)
    assert board("a") == "a3"


def test_what_was_computed_hit_and_invalidated_can_be_asserted(fake, board):
    board("a")
    board("a")
    board.memory.clear()
    board("a")

    assert (fake.computed("board"), fake.hits("board")) == (1, 2)
    assert not fake.invalidated("a")
    cache.invalidate("a", hard=False)
    assert fake.invalidated("a")
    with pytest.raises(UnknownFamily, match="board"):
        fake.computed("bored")


def test_counting_begins_with_the_fake(board):
    with cache.fake():
        board("a")
    with cache.fake() as second:
        assert second.computed("board") == 0


def test_a_store_that_fails_now_and_then_fails_no_read(fake, board):
    fake.chaos(share=0.5, seed=1)
    for number in range(200):
        board.memory.clear()
        assert board(f"k{number % 7}").startswith("k")
    fake.chaos()

    assert 7 < fake.computed("board") < 200
    assert fake.calls["read"] > 7


def test_the_next_calls_fail_and_then_no_more(fake, board):
    fake.fail_next(2)
    board("a")
    board.memory.clear()
    fake.fail_next(0)
    board("a")
    board.memory.clear()
    assert board.peek("a").state == "fresh"


def test_an_invalidation_that_the_store_missed_is_sent_again(fake, board):
    board("a")
    fake.fail_next(1)

    assert cache.invalidate("a") is False
    fake.runtime.resend()
    assert board("a") == "a2"


@pytest.mark.parametrize("loss", ["evict_values", "corrupt"])
def test_lost_or_damaged_values_are_misses(fake, board, loss):
    board("a")
    board.memory.clear()

    assert getattr(fake, loss)("board") == 1
    assert board("a") == "a2"


def test_lost_generations_make_everything_a_miss(fake, board):
    board("a")

    assert fake.evict_generations() >= 2
    assert board("a") == "a2"


def test_without_the_push_memory_is_off_and_comes_back(fake, board):
    board("a")
    fake.lose_push()
    before = fake.reads
    board("a")
    board("a")
    assert fake.reads == before + 2
    fake.restore_push()
    board("a")
    board("a")
    assert fake.reads == before + 3


def test_a_loader_that_fails_past_the_limit_is_an_error(fake, board):
    with pytest.raises(RefreshFailed):
        board("broken")


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"share": -0.1}, {"slow_s": -1}])
def test_chaos_without_sense_is_refused(fake, wrong):
    with pytest.raises(ValueError, match="0 to 1"):
        fake.chaos(**wrong)


class Tracer:
    """Has what OpenTelemetry's tracers have."""

    def __init__(self):
        self.spans = []
        self.open = []

    @contextmanager
    def start_as_current_span(self, name, *, attributes):
        self.spans.append(("/".join([*self.open, name]), attributes))
        self.open.append(name)
        try:
            yield
        finally:
            self.open.pop()


def test_a_tracer_is_told_of_misses_loaders_and_invalidations_and_of_no_hit(fake):
    @cached("traced", ttl_s=60, tags=lambda key: ["all"])
    def traced(key: str) -> str:
        return key

    tracer = Tracer()
    cache.trace(tracer)
    try:
        traced("a")
        traced("a")
        cache.invalidate("all")
    finally:
        cache.trace(None)
    traced("a")

    (miss, load, invalidation) = tracer.spans
    assert miss[0] == "cache.compute"
    assert miss[1]["cache.family"] == "traced"
    assert load == ("cache.compute/cache.load", {"cache.family": "traced"})
    assert invalidation == ("cache.invalidate", {"cache.tags": ["all"], "cache.hard": True})
