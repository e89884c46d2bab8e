import json

import pytest
from django.core.exceptions import ImproperlyConfigured

from protipp import env
from protipp.stack.errors import StackError
from protipp.stack.tree import Tree


@pytest.fixture
def local(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "LOCAL_DIR", tmp_path)
    monkeypatch.setattr(env, "STACK_FILE", tmp_path / "stack.json")
    env._stack.cache_clear()
    yield tmp_path
    env._stack.cache_clear()


def test_a_running_stack_fills_in_what_is_not_set(local, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    tree = Tree(local)
    tree.take("a test")
    tree.publish(8001, {"REDIS_URL": "redis://127.0.0.1:1/0", "SITE_URL": "http://x"})
    monkeypatch.setenv("SITE_URL", "http://mine")

    assert env.text("REDIS_URL") == "redis://127.0.0.1:1/0"
    assert env.text("SITE_URL") == "http://mine"


def test_what_a_killed_stack_wrote_down_is_not_believed(local, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    written = {"pid": 1, "port": 1, "environment": {"REDIS_URL": "redis://gone"}}
    (local / "stack.json").write_text(json.dumps(written))
    (local / "lock").write_text("manage.py up (pid 1)")

    assert not env.is_running()
    assert env.text("REDIS_URL", "the default") == "the default"


def test_a_tree_is_held_once(local):
    Tree(local).take("manage.py up")
    with pytest.raises(StackError, match=r"manage\.py up"):
        Tree(local).take("manage.py up")


@pytest.mark.parametrize("value", ["maybe", "2", "o n"])
def test_a_flag_that_is_neither_yes_nor_no_is_refused_by_name(local, monkeypatch, value):
    monkeypatch.setenv("DEBUG", value)
    with pytest.raises(ImproperlyConfigured, match=r"DEBUG is .*must be one of"):
        env.flag("DEBUG")


@pytest.mark.parametrize("value", ["-1", "many", "1.5", "0"])
def test_a_number_out_of_range_is_refused_by_name(local, monkeypatch, value):
    monkeypatch.setenv("QUERY_LIMIT_MS", value)
    with pytest.raises(ImproperlyConfigured, match=r"QUERY_LIMIT_MS is .*from 1 up"):
        env.number("QUERY_LIMIT_MS", 15_000, minimum=1)


def test_the_environment_goes_before_the_settings_option_by_option(local, monkeypatch):
    monkeypatch.setenv("PERFORMANCE", '{"BALANCING": {"max_web": 8}, "CDN": {"networks": ["a"]}}')

    found = env.sections("PERFORMANCE", {"BALANCING": {"max_web": 4, "min_web": 2}})

    assert found == {"BALANCING": {"max_web": 8, "min_web": 2}, "CDN": {"networks": ("a",)}}


@pytest.mark.parametrize("value", ["{", "[]", '{"BALANCING": 1}'])
def test_sections_that_cannot_be_read_are_refused_by_name(local, monkeypatch, value):
    monkeypatch.setenv("PERFORMANCE", value)
    with pytest.raises(ImproperlyConfigured, match="PERFORMANCE"):
        env.sections("PERFORMANCE", {})
