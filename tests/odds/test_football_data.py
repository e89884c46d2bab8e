import shutil
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from odds.feeds.football_data import batches, open_file
from odds.feeds.parsed import Refused

HEADER = (
    "Div,Date,Time,HomeTeam,AwayTeam,FTHG,FTAG,FTR,B365H,B365D,B365A,VCH,VCD,VCA,VCCH,VCCD,VCCA"
)
ROW = "E0,16/08/2025,15:00,Leeds,Derby,1,0,H,2.1,3.4,3.5,2.05,3.4,3.6,1.95,3.5,3.9"


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "E0.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def read(path):
    skipped = []
    matches = list(open_file(path).matches(skipped.append))
    return matches, skipped


def test_names_times_and_phases_are_read_by_the_header(write):
    [match], skipped = read(write(f"{HEADER}\n{ROW}\n"))
    [batch] = batches([match])
    opening = [q for q in batch.quotes if q.last_update != match.event.commence_time]
    closing = batch.quotes[len(opening) :]  # after all the opening ones

    assert match.event.sport_key == "soccer_epl"
    assert match.event.commence_time == datetime(2025, 8, 16, 14, tzinfo=UTC)  # 15:00 in summer
    assert {q.last_update for q in opening} == {datetime(2025, 8, 15, 14, tzinfo=UTC)}
    assert [(q.bookmaker_key, q.outcome, q.price) for q in closing] == [
        ("vc_bet", "Leeds", Decimal("1.95")),
        ("vc_bet", "Draw", Decimal("3.5")),
        ("vc_bet", "Derby", Decimal("3.9")),
    ]
    assert skipped == []


def test_a_price_without_an_hour_opens_before_it_closes(write):
    [match], _ = read(write(f"{HEADER}\n{ROW.replace('15:00', '').replace('16/08', '15/08')}\n"))

    assert match.event.date_only
    assert match.opened < match.event.commence_time == datetime(2025, 8, 15, tzinfo=UTC)


def test_bfd_is_a_draw_of_betfair_or_a_bookmaker_of_its_own(write):
    plain = "Div,Date,HomeTeam,AwayTeam"
    [old], _ = read(write(f"{plain},BFH,BFD,BFA\nE0,16/08/24,A,B,2.1,3.4,3.5\n"))
    [new], _ = read(write(f"{plain},BFDH,BFDD,BFDA\nE0,16/08/25,A,B,2.1,3.4,3.5\n"))

    assert {cell.column.bookmaker for cell in old.cells} == {"betfair_sb_uk"}
    assert {cell.column.bookmaker for cell in new.cells} == {"betfred_uk"}


@pytest.mark.parametrize("bad", ["#REF!", "1", "0.5", "-2", "nan", "inf", "1e9"])
def test_a_cell_that_is_no_price_is_reported_with_row_column_and_value(write, bad):
    rows = f"{HEADER}\n{ROW}\n{ROW.replace('16/08', '17/08').replace('2.05', bad)}\n"
    matches, skipped = read(write(rows))

    assert [(s.row, s.column, s.value) for s in skipped] == [(3, "VCH", bad)]
    assert len(matches[1].cells) == 8


def test_ragged_and_empty_rows_are_read_by_the_header_and_reported(write):
    short = ",".join(ROW.split(",")[:11])
    matches, skipped = read(
        write(f"{HEADER}\n{short}\n{',' * 16}\n{ROW.replace('16/', '17/')},3,x\n")
    )

    assert [len(match.cells) for match in matches] == [3, 9]
    assert [(s.row, s.column) for s in skipped] == [(2, "VCH"), (3, ""), (4, ""), (4, "")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-8"])
def test_encodings_are_told_apart(write, encoding):
    [match], _ = read(write(f"{HEADER}\n{ROW.replace('Leeds', 'Málaga')}\n", encoding))

    assert match.event.home_team == "Málaga"


def test_market_columns_and_second_columns_of_a_name_are_reported_not_read(write):
    header = "Div,Date,HomeTeam,AwayTeam,B365H,B365D,B365A,MaxH,MaxD,MaxA,B365H,XYH,B365_2_5"
    [match], skipped = read(write(f"{header}\nE0,16/08/25,A,B,2.1,3.4,3.5,2.2,3.6,3.6,9,9,1.9\n"))

    assert [cell.price for cell in match.cells] == [Decimal(p) for p in ("2.1", "3.4", "3.5")]
    assert [s.column for s in skipped] == ["MaxH", "MaxD", "MaxA", "B365H", "XYH", "B365_2_5"]


ONE_LEFT_OUT = ROW.replace(",H,2.1", ",2.1") + ",9"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<html><body>Moved</body></html>", "HTML"),
        ("", "no header"),
        (ROW, "no header"),
        (f"{HEADER}\n{ROW}\n{HEADER}\n{ROW}", "header stands again in line 3"),
        (f"{HEADER}\n{ROW}\n<li>300</li>", "line 3 is HTML"),
        (f"{HEADER}\n{ROW}\n{ROW.replace('2025', '2026')}", "several seasons"),
        (
            f"{HEADER}\n{ROW.replace('/2025', '/2024').replace('16/08', '11/05')}\n"
            f"{ROW.replace('/2025', '/2024')}",
            "several seasons",
        ),
        (f"{HEADER}\n{ROW.replace('16/08/2025', 'soon')}", "no date"),
        ("Div,Date,HomeTeam,AwayTeam,FTHG,FTAG\nE0,16/08/2025,A,B,1,2", "no column"),
        ("\n".join([HEADER] + [ROW] * 4 + [ONE_LEFT_OUT] * 4), "another layout"),
        (b"PK\x03\x04\x00\x00", "binary"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused_with_its_reason(write, text, reason):
    with pytest.raises(Refused, match=reason):
        open_file(write(text))


@pytest.mark.samples
def test_every_broken_upload_is_refused(samples):
    broken = sorted((samples / "football_data_broken").glob("*.csv"))

    for path in broken:
        with pytest.raises(Refused):
            open_file(path)
    assert broken


@pytest.mark.samples
def test_a_newer_season_under_an_older_header_is_refused_and_the_two_alone_are_not(
    samples, tmp_path
):
    folder = samples / "football_data_uk"
    older, newer = folder / "2425_E1.csv", folder / "2526_E2.csv"
    header = older.read_bytes().split(b"\n")[0]
    mixed = tmp_path / "mixed.csv"
    shutil.copy(newer, mixed)
    mixed.write_bytes(header + b"\n" + newer.read_bytes().split(b"\n", 1)[1])

    with pytest.raises(Refused, match="another layout"):
        open_file(mixed)
    assert open_file(older).rows == open_file(newer).rows == 552


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("ATP,Location,Date,Winner,Loser,WRank,LRank,B365W,B365L", "tennis-data.co.uk"),
        ("event_id,sport_key,bookmaker_key,market,outcome_name,price,point", "flattened"),
        ("date,sport,game_id,home_team,away_team,bookmaker,ml_home,ml_away", "line moves"),
    ],
)
def test_other_files_with_odds_are_refused_by_what_they_are(write, header, name):
    with pytest.raises(Refused, match=name):
        open_file(write(f"{header}\n"))
