import threading

import pytest

from odds.importing import abreast as module
from odds.importing.abreast import abreast


def test_files_run_at_once_and_are_told_in_their_order():
    told, both = [], threading.Barrier(2, timeout=5)

    def work(file, tell):
        both.wait()  # fails unless two are under way
        for number in range(3):
            tell(told.append, (file, number))
        return file * 10

    assert list(abreast(work, [0, 1, 2, 3], at_once=2)) == [0, 10, 20, 30]
    assert told == [(file, number) for file in range(4) for number in range(3)]


def test_a_file_with_much_to_tell_waits_for_its_turn(monkeypatch):
    monkeypatch.setattr(module, "MOST_HELD", 2)
    told, second_is_full = [], threading.Event()

    def work(file, tell):
        if file == 0:
            assert second_is_full.wait(5)
        for number in range(5):
            if file == 1 and number == 2:
                second_is_full.set()
            tell(told.append, (file, number))

    list(abreast(work, [0, 1], at_once=2))

    assert told == [(file, number) for file in range(2) for number in range(5)]


def test_an_error_ends_all_and_is_raised_as_it_is():
    begun = []

    def work(file, tell):
        begun.append(file)
        if file == 1:
            raise ValueError("the file's own")

    with pytest.raises(ValueError, match="the file's own"):
        list(abreast(work, range(50), at_once=2))

    assert len(begun) < 50


def test_a_slow_file_keeps_no_other_from_being_read():
    told, last_is_read = [], threading.Event()

    def work(file, tell):
        tell(told.append, file)
        if file == 0:
            assert last_is_read.wait(5)
        if file == 5:
            last_is_read.set()
        return file

    assert list(abreast(work, range(6), at_once=2)) == list(range(6))
    assert told == list(range(6))


def test_telling_that_fails_ends_all_and_leaves_nobody_waiting(monkeypatch):
    monkeypatch.setattr(module, "MOST_HELD", 1)
    third_is_full = threading.Event()

    def broken(_):
        raise BrokenPipeError

    def work(file, tell):
        if file == 0:
            assert third_is_full.wait(5)
        elif file == 1:
            tell(broken, file)
        else:
            third_is_full.set()
            tell(print, file)
            tell(print, file)

    with pytest.raises(BrokenPipeError):
        list(abreast(work, range(3), at_once=2))
