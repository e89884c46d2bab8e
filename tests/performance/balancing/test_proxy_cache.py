"""What the proxy keeps: one of a crowd asks a node, and all others are answered meanwhile."""

import threading
import time
import uuid

import pytest

from performance.balancing.proxy_cache import EARLIEST, GRACE_S

CROWD = 30
NODE_TAKES_S = 0.3
FOR_S = 3.0
HERD = 3 * CROWD
"""How many would ask the nodes if everybody did who comes while the next answer is made."""


def ask_as_a_crowd(site, path):
    """Return all answers that many got who asked without a pause, and for how long they did."""
    answers = []
    began = time.monotonic()

    def go_on_asking():
        while time.monotonic() < began + FOR_S:
            answers.append(site.ask(path, headers={"Accept-Encoding": "br"}))

    site.ask(path, headers={"Accept-Encoding": "br"})  # a cold address is asked for by all
    crowd = [threading.Thread(target=go_on_asking) for _ in range(CROWD)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return answers, time.monotonic() - began


def is_hit(answer):
    return "proxy; hit" in answer.headers.get("cache-status", "")


@pytest.mark.stack
def test_of_a_crowd_one_at_a_time_asks_a_node(site):
    answers, took_s = ask_as_a_crowd(site, f"/lasting/{uuid.uuid4()}?{NODE_TAKES_S}")
    asked = [one for one in answers if not is_hit(one)]

    assert {one.status for one in answers} == {200}
    assert 1 <= len(asked) <= took_s / EARLIEST + 5 < HERD
    assert len(answers) > 10 * len(asked)
    assert len({one.body for one in answers}) >= 2, "the crowd was never given a newer answer"
    assert not [one for one in answers if "s-maxage" in one.headers["cache-control"]]
    assert max(int(one.headers.get("age", 0)) for one in answers) <= 1 + GRACE_S


@pytest.mark.stack
def test_an_answer_that_allows_no_more_is_given_for_its_second_only(site):
    answers, _ = ask_as_a_crowd(site, f"/brief/{uuid.uuid4()}?{NODE_TAKES_S}")

    assert [one for one in answers if is_hit(one)]
    assert max(int(one.headers.get("age", 0)) for one in answers) <= 1


def test_answers_in_different_encodings_are_asked_for_apart(site):
    path = f"/lasting/{uuid.uuid4()}?0"
    plain = site.ask(path, headers={"Accept-Encoding": "identity"})
    packed = site.ask(path, headers={"Accept-Encoding": "br"})

    assert not is_hit(plain)
    assert not is_hit(packed)
