import csv
import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from odds.importing.run import Options, import_file
from odds.models import Event, Price, PriceChange

HEADER = "Div,Date,Time,HomeTeam,AwayTeam,B365H,B365D,B365A,B365CH,B365CD,B365CA,WHH,WHD,WHA"
ROW = "E0,16/08/2025,15:00,Leeds,Derby,2.1,3.4,3.5,2.0,3.4,3.8,2.4,3.9,#REF!"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.csv").write_text(f"{HEADER}\n{ROW}\n")
    (tmp_path / "page.csv").write_text("<html></html>\n")
    return tmp_path


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    error = None
    try:
        call_command("import_odds", *map(str, arguments), stdout=out, stderr=err)
    except CommandError as raised:
        error = raised
    return out.getvalue(), err.getvalue(), error


def state():
    prices = Price.objects.order_by("event__key", "bookmaker__key", "market", "outcome", "point")
    key = ("event__key", "bookmaker__key", "market", "outcome", "point", "price", "last_update")
    return list(prices.values_list(*key)), PriceChange.objects.count()


@pytest.mark.django_db(transaction=True)
def test_a_refused_file_leaves_nothing_and_the_rest_goes_on(folder):
    out, _, error = run(folder)

    assert "1 of 2 files were refused" in str(error)
    assert "page.csv: REFUSED" in out
    assert Event.objects.get().home_team == "Leeds"
    assert Price.objects.count() == 5
    assert PriceChange.objects.count() == 7  # two closed at another price than they opened


@pytest.mark.django_db(transaction=True)
def test_importing_again_changes_nothing(folder):
    run(folder / "good.csv")
    before = state()
    out, _, error = run(folder / "good.csv", "--json")

    assert error is None
    assert state() == before
    report = json.loads(out.splitlines()[0])
    assert (report["prices"], report["stored"]) == (8, 0)
    assert report["unchanged"] + report["late"] == 8


def test_a_dry_run_needs_no_database_and_reports_every_cell(folder):
    out, _, _ = run(folder / "good.csv", "--dry-run", "--json")
    report, total = map(json.loads, out.splitlines())

    assert report["skipped"] == [
        {"row": 2, "column": "WHA", "value": "#REF!", "reason": "a price is a number above 1"}
    ]
    assert (report["rows"], report["prices"], report["stored"], report["refused"]) == (
        1,
        8,
        0,
        None,
    )
    assert total["total"]["files"] == 1


def test_arbitrage_as_json_is_alone_on_stdout(folder):
    (folder / "arb.csv").write_text(f"{HEADER}\n{ROW.replace('3.5,2.0', '4.9,2.0')}\n")
    out, err, _ = run(folder, "--dry-run", "--arbitrage", "--json")
    line, _ = map(json.loads, out.splitlines())

    assert list(line) == [
        "file", "row", "market", "phase", "line", "sum_inverse", "roi_pct", "legs", "suspect",
        "needs_exchange",
    ]  # fmt: skip
    assert (line["file"], line["row"], line["market"], line["phase"]) == (
        "arb.csv",
        2,
        "1X2",
        "open",
    )
    assert [json.loads(report)["refused"] is None for report in err.splitlines()[:3]].count(
        False
    ) == 1


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CommandError, match="nowhere"):
        call_command("import_odds", str(tmp_path / "nowhere"))


@pytest.mark.django_db(transaction=True)
def test_killed_in_the_middle_and_run_again_it_ends_like_a_clean_run(tmp_path):
    rows = [
        ROW.replace("Leeds", f"Home {n}").replace("16/08", f"{n % 28 + 1:02}/09")
        for n in range(6000)
    ]
    path = tmp_path / "big.csv"
    path.write_text("\n".join([HEADER, *rows]))
    environment = {**os.environ, "DATABASE_URL": _url(), "PROTIPP_FAILPOINT": "after_merge:2"}
    command = [sys.executable, str(ROOT / "manage.py"), "import_odds", str(path)]

    killed = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    half = Price.objects.count()
    run(path)
    resumed = state()

    assert 0 < half < len(resumed[0])
    assert (len(resumed[0]), resumed[1]) == (6000 * 5, 6000 * 7)


def _url():
    """The URL of the tests' own database, as the process that is killed needs it."""
    place = {**connection.settings_dict, **connection.get_connection_params()}
    query = urlencode({"host": place["host"], "port": place.get("port") or 5432})
    login = quote(place.get("user") or "")
    if place.get("password"):
        login += f":{quote(place['password'])}"
    if str(place["host"]).startswith("/"):
        return f"postgres://{login}@/{quote(place['NAME'])}?{query}"
    return f"postgres://{login}@{place['host']}:{place.get('port') or 5432}/{quote(place['NAME'])}"


def arbitrages(job):
    path, name = job
    found = []
    result = import_file(path, name, Options(store=False, found=found.append))
    return result.refused, found


def expected(path):
    with path.open() as file:
        return {
            (row["file"], int(row["row"]), row["market"], row["phase"], float(row["line"] or "nan")
             if row["line"] else None): row
            for row in csv.DictReader(file)
        }  # fmt: skip


def agree(wanted, found):
    got = {(o["file"], o["row"], o["market"], o["phase"], o["line"]): o for o in found}
    assert got.keys() == wanted.keys()
    for key, row in wanted.items():
        one = got[key]
        legs = {leg["outcome"]: leg for leg in one["legs"]}
        assert one["sum_inverse"] == pytest.approx(float(row["sum_inverse"]), abs=1e-9)
        assert one["roi_pct"] == pytest.approx(float(row["roi_pct"]), abs=1e-6)
        assert one["needs_exchange"] == (row["needs_exchange"] == "1")
        ratio = float(row["max_best_over_median"] or 0)
        if abs(ratio - 1.3) > 0.0006:  # three places in the oracle
            assert bool(one["suspect"]) == (ratio > 1.3 or row["single_book"] == "1")
        for place in "123":
            if row[f"o{place}"]:
                leg = legs[row[f"o{place}"]]
                assert leg["stake_pct"] == pytest.approx(float(row[f"stake{place}"]), abs=1e-6)
                assert leg["bookmakers"] == sorted(row[f"books{place}"].split("|"))


@pytest.mark.samples
@pytest.mark.parametrize(
    ("folders", "oracle"),
    [
        (("football_data_uk", "football_data_uk_derived"), "football_data_arbs.csv"),
        (("odds_api_v4/odds", "odds_api_v4/odds_renested"), "odds_api_arbs.csv"),
    ],
    ids=["football-data", "the-odds-api"],
)
def test_the_arbitrages_in_real_files_are_those_of_the_oracle(samples, folders, oracle):
    jobs = [
        (path, path.relative_to(samples).as_posix())
        for folder in folders
        for path in sorted((samples / folder).iterdir())
        if not path.name.startswith(("fixtures", "0405_E0_resaved"))  # as ORACLE.md leaves them out
    ]
    with ProcessPoolExecutor(2) as pool:
        results = list(pool.map(arbitrages, jobs, chunksize=4))

    assert [refused for refused, _ in results if refused] == []
    agree(expected(samples / "arbs" / oracle), [one for _, found in results for one in found])
