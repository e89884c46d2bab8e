from __future__ import annotations

import threading
from decimal import Decimal

import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured

from performance.caching import runtime as runtimes
from performance.caching.services import RefreshFailed, UnusableArgument, cache, cached


class Board(msgspec.Struct, frozen=True):
    sport: str
    prices: tuple[Decimal, ...]


def make_board(name="board", **options):
    calls = []

    @cached(
        name,
        **{"ttl_s": 5, "schema": Board, "tags": lambda sport, limit=10: [f"sport:{sport}"]}
        | options,
    )
    def board(sport: str, limit: int = 10) -> Board:
        calls.append((sport, limit))
        return Board(sport, (Decimal("2.10"),) * limit)

    return board, calls


def test_a_second_read_comes_from_memory_and_a_process_without_memory_from_the_store(hearing):
    board, calls = make_board()

    first = board("epl")
    assert board("epl") == first == Board("epl", (Decimal("2.10"),) * 10)
    board.memory.clear()
    assert board.find("epl").source == "l2"
    assert board.find("epl").source == "l1"
    assert calls == [("epl", 10)]


def test_defaults_and_names_make_the_same_key():
    board, calls = make_board()

    board("epl")
    board("epl", 10)
    board(sport="epl", limit=10)
    assert len(calls) == 1


def test_values_of_different_types_are_different_keys(hearing):
    calls = []

    @cached("echo", ttl_s=5)
    def echo(value: object) -> str:
        calls.append(value)
        return repr(value)

    assert [echo(value) for value in (1, 1.0, True, "1") * 2] == ["1", "1.0", "True", "'1'"] * 2
    assert len(calls) == 4


def test_none_is_a_value_and_not_a_miss():
    calls = []

    @cached("nothing", ttl_s=5)
    def nothing(key: str) -> None:
        calls.append(key)

    assert nothing("a") is None
    assert nothing("a") is None
    assert len(calls) == 1


def test_a_mutable_value_is_each_callers_own(hearing):
    @cached("rows", ttl_s=5)
    def rows(key: str) -> list[int]:
        return [1, 2]

    rows("a").append(3)
    rows("a").append(4)
    assert rows("a") == [1, 2]


async def test_a_coroutine_and_a_thread_share_one_family():
    board, calls = make_board()

    value = await board.aget("epl")
    assert await board.aget("epl") == value
    assert len(calls) == 1


async def test_a_loader_may_be_a_coroutine_function():
    @cached("slow", ttl_s=5)
    async def slow(key: str) -> str:
        return key * 2

    assert await slow.aget("ab") == "abab"


def test_many_asks_the_store_once(fake):
    board, _ = make_board(memory_s=0)
    board("a")
    board("b")
    before = fake.reads

    values = board.many([("a",), ("b",)])
    assert [value.sport for value in values] == ["a", "b"]
    assert fake.reads == before + 1
    assert [value.sport for value in board.many([("c",), ("a",)])] == ["c", "a"]


def test_peek_never_computes(fake):
    board, calls = make_board(memory_s=0)

    assert board.peek("epl").state == "miss"
    board("epl")
    fake.advance(3)
    peek = board.peek("epl")
    assert (peek.state, peek.age_s) == ("fresh", 3)
    fake.advance(3)
    assert board.peek("epl").state == "stale"
    assert len(calls) == 1


def test_refresh_computes_whatever_is_stored():
    board, calls = make_board()

    board("epl")
    board.refresh("epl")
    assert len(calls) == 2


def test_an_argument_without_a_canonical_form_is_refused_by_name():
    board, _ = make_board()

    with pytest.raises(UnusableArgument, match=r"board.*primary key"):
        board(object())


def test_a_function_with_undeclared_arguments_is_refused():
    with pytest.raises(UnusableArgument, match="args"):

        @cached("loose", ttl_s=5)
        def loose(*args: str) -> str:
            return ""


def test_two_families_of_one_name_are_refused():
    make_board()
    with pytest.raises(ImproperlyConfigured, match="Two cached families are called 'board'"):

        @cached("board", ttl_s=5)
        def other(key: str) -> str:
            return key


def test_a_policy_that_contradicts_itself_is_refused():
    with pytest.raises(ImproperlyConfigured, match=r"max_stale_s is 5 and stale_s is 30"):
        cached("odd", ttl_s=5, stale_s=30, max_stale_s=5)


class Origin:
    """A loader that can be told to fail or to hold."""

    def __init__(self):
        self.calls = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.calls += 1
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        return self.calls


def make_price(origin, **options):
    @cached("price", **{"ttl_s": 5, "stale_s": 10, "max_stale_s": 60, "memory_s": 0} | options)
    def price(key: str) -> int:
        return origin()

    return price


@pytest.fixture
def wait_for_refresh(eventually):
    return lambda: eventually(runtimes.current().workers.idle)


def test_a_stale_copy_is_served_while_it_is_refreshed_behind(fake, wait_for_refresh):
    origin = Origin()
    price = make_price(origin)

    assert price("a") == 1
    fake.advance(6)
    assert price.find("a").source == "stale"
    wait_for_refresh()
    assert price("a") == 2


def test_a_failing_loader_gives_the_copy_up_to_its_limit_and_then_an_error(fake):
    origin = Origin()
    price = make_price(origin)
    price("a")
    origin.error = OSError("the database is away")

    fake.advance(20)
    assert price.find("a").source == "fallback"
    assert price("a") == 1
    fake.advance(46)
    with pytest.raises(RefreshFailed, match="nothing is stored") as caught:
        price("a")
    assert isinstance(caught.value.__cause__, OSError)


def test_retries_of_a_failed_refresh_are_throttled(fake):
    origin = Origin()
    price = make_price(origin)
    price("a")
    origin.error = OSError()
    fake.advance(20)

    for _ in range(10):
        assert price("a") == 1
    assert origin.calls == 2
    fake.advance(1.1)
    price("a")
    assert origin.calls == 3


def test_a_loader_that_is_too_slow_gives_the_copy(fake, wait_for_refresh, settings):
    settings.PERFORMANCE = {"CACHING": {"patience_s": 0.05}}
    origin = Origin()
    price = make_price(origin)
    price("a")
    fake.advance(20)
    origin.gate.clear()

    assert price.find("a").source == "fallback"
    origin.gate.set()
    wait_for_refresh()
    assert price("a") == 2


def test_an_answer_listed_in_raises_passes_as_it_is(fake):
    @cached("event", ttl_s=5, raises=(LookupError,))
    def event(key: str) -> str:
        raise KeyError(key)

    with pytest.raises(KeyError):
        event("x")


def test_soft_invalidation_serves_the_old_value_once_more_and_hard_does_not(fake, wait_for_refresh):
    origin = Origin()
    price = make_price(origin)

    price("a")
    cache.invalidate("family:price", hard=False)
    assert price.find("a").source == "stale"
    wait_for_refresh()
    assert price.find("a").source == "l2"
    cache.invalidate("family:price")
    assert price.find("a").source == "miss"


def test_a_hard_change_stays_hard_when_a_soft_one_follows(fake):
    origin = Origin()
    price = make_price(origin)

    price("a")
    cache.invalidate("family:price")
    cache.invalidate("family:price", hard=False)
    assert price.find("a").source == "miss"


def test_a_value_beyond_the_size_limit_is_served_and_not_stored(fake, settings):
    settings.PERFORMANCE = {"CACHING": {"max_value_bytes": 1000}}

    @cached("page", ttl_s=5, memory_s=0)
    def page(key: str) -> str:
        return key * 2000

    assert len(page("x")) == 2000
    assert page.peek("x").state == "miss"
    assert page.counts.too_big == 1
