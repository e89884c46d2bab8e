"""The pytest plugin: what it fails, what it lets pass, and the command around it."""

import io
import json
import os
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from odds.models import Event, Sport
from performance.queries.checking import watching

pytestmark = pytest.mark.django_db


@pytest.fixture
def events(django_user_model):
    from django.utils import timezone

    for number in range(12):
        sport = Sport.objects.create(key=f"s{number}", title=f"S{number}")
        Event.objects.create(key=f"{number:032x}", sport=sport, commence_time=timezone.now())


def test_an_n_plus_one_is_named_with_its_line_and_remedy(events):
    with watching() as watched:
        for event in Event.objects.all():
            assert event.sport.title

    (problem,) = watched.problems()
    assert (problem.kind, problem.count) == ("n_plus_one", 12)
    assert "test_checking.py" in problem.line
    assert 'select_related("sport") to the query of event' in problem.remedy.lower()


def test_with_the_remedy_nothing_is_found(events):
    with watching() as watched:
        for event in Event.objects.select_related("sport"):
            assert event.sport.title

    assert watched.problems() == []


def test_a_column_without_an_index_is_found_on_a_table_of_twelve_rows(events):
    with watching() as watched:
        list(Event.objects.filter(home_team="x"))
        list(Event.objects.filter(key="x"))

    (problem,) = watched.problems()
    assert problem.kind == "missing_index"
    assert "odds_event (home_team)" in problem.remedy
    assert watched.problems(small=["odds_event"]) == []
    assert watched.problems(indexes=False) == []


def test_the_fixture_fails_what_is_asked_within(events, check_queries):
    with check_queries():
        list(Event.objects.all())

    with pytest.raises(pytest.fail.Exception, match="asked 12 times"), check_queries():
        [event.sport.title for event in Event.objects.all()]


@pytest.mark.check_queries(n_plus_one=20)
def test_the_marker_takes_limits(events):
    assert len([event.sport.title for event in Event.objects.all()]) == 12


def test_the_command_runs_tests_and_says_what_it_found(tmp_path, monkeypatch):
    ours = connection.settings_dict["NAME"].removeprefix("test_")  # it is there and migrated
    other = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{ours}").geturl()
    monkeypatch.setenv("DATABASE_URL", other)
    test = tmp_path / "test_shop.py"
    test.write_text(
        "import pytest\n"
        "from odds.models import Event\n"
        "@pytest.mark.django_db\n"
        "def test_it():\n"
        "    list(Event.objects.filter(home_team='x'))\n"
    )
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 problems"):
        call_command("check_queries", "--json", "--", "--reuse-db", str(test), stdout=out)

    (found,) = json.loads(out.getvalue())
    assert (found["kind"], found["test"].endswith("test_it")) == ("missing_index", True)


def test_the_command_says_when_pytest_could_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")

    with pytest.raises(CommandError, match="checked nothing"):
        call_command("check_queries", str(tmp_path))
