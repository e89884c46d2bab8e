import io
import json
import time

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from odds.errors import ImportStopped
from odds.importing import beside, hands
from odds.importing.beside import Beside
from odds.importing.run import Options, import_file
from odds.models import Event, Price, PriceChange

HEADER = "Div,Date,Time,HomeTeam,AwayTeam,B365H,B365D,B365A,B365CH,B365CD,B365CA"
FILES = 4


@pytest.fixture
def folder(tmp_path):
    """Four seasons of two matches; each has a cell that is no price and an arbitrage."""
    for season in range(FILES):
        rows = [
            f"E0,16/08/{2010 + season},15:00,Leeds,Derby,2.1,3.4,4.9,2.0,3.4,#REF!",
            f"E0,17/08/{2010 + season},15:00,Stoke,Hull,2.5,3.4,3.5,2.0,3.4,3.8",
        ]
        (tmp_path / f"season_{season}.csv").write_text("\n".join([HEADER, *rows]))
    return tmp_path


def run(folder):
    out, err = io.StringIO(), io.StringIO()
    call_command("import_odds", str(folder), "--arbitrage", "--json", stdout=out, stderr=err)
    total = json.loads(err.getvalue().splitlines()[-1])["total"]
    files = [json.loads(line) for line in err.getvalue().splitlines()[:-1]]
    del total["seconds"], total["prices_per_s"]
    return out.getvalue(), files, total


def stored():
    return Event.objects.count(), Price.objects.count(), PriceChange.objects.count()


@pytest.mark.django_db(transaction=True)
def test_two_processes_tell_and_store_what_one_does(folder, monkeypatch):
    alone = run(folder)
    after_one = stored()
    Event.objects.all().delete()
    PriceChange.objects.all().delete()

    used = []
    monkeypatch.setattr(hands, "FROM_BYTES", 0)
    there = Beside.import_file

    def used_too(other, *arguments):
        result = there(other, *arguments)
        used.append(psutil.Process(other.process.pid))
        return result

    monkeypatch.setattr(Beside, "import_file", used_too)
    monkeypatch.setattr(hands, "import_file", lambda *a: _after(used, lambda: import_file(*a)))
    together = run(folder)

    assert not used[0].is_running()  # it ends with its owner
    assert together == alone
    assert stored() == after_one == (2 * FILES, 6 * FILES, 9 * FILES)


def _after(used, act):
    """Let the second process have a file before this one takes its own."""
    deadline = time.monotonic() + 60
    while not used and time.monotonic() < deadline:
        time.sleep(0.05)
    return act()


@pytest.mark.django_db(transaction=True)
def test_a_second_process_that_is_killed_is_named_with_its_file(folder, monkeypatch):
    with Beside() as other:
        path = folder / "season_0.csv"
        assert other.import_file(path, "season_0.csv", Options()).stored == 9
        other.process.kill()
        with pytest.raises(ImportStopped, match=r"season_1\.csv was not imported to its end"):
            other.import_file(folder / "season_1.csv", "season_1.csv", Options())

    assert Event.objects.count() == 2


def test_what_goes_wrong_over_there_is_told_here(folder, monkeypatch):
    monkeypatch.setattr(hands, "FROM_BYTES", 0)

    def stop(*_):
        raise ImportStopped("season_0.csv", "OperationalError: no such database")

    monkeypatch.setattr(Beside, "import_file", stop)
    monkeypatch.setattr(hands, "import_file", stop)
    with pytest.raises(CommandError, match="no such database"):
        call_command("import_odds", str(folder), stdout=io.StringIO())


def test_an_error_of_the_import_is_one_line_of_the_answer(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("as it broke")

    monkeypatch.setattr(beside, "import_file", broken)
    answers = io.BytesIO()
    task = beside.Task(connection.settings_dict["NAME"], "x.csv", "x.csv", arbitrages=False)
    beside.work([beside.msgspec.json.encode(task)], answers)

    assert json.loads(answers.getvalue()) == {"error": "ValueError: as it broke"}
