"""When football-data.co.uk's matches start and its prices were taken, in UTC.

Its notes say that prices of weekend games are collected on Friday afternoons and those of midweek
games on Tuesday afternoons, and that times are the United Kingdom's.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

UK = ZoneInfo("Europe/London")
COLLECTED_AT = time(15)
"""The afternoon, made an hour."""
TUESDAY, FRIDAY = 1, 4
FIRST_YEAR = 1993
"""Of football-data.co.uk's files; two digits from 93 on belong to that century."""

_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})|(\d{4})[-/](\d{1,2})[-/](\d{1,2})")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::\d\d)?")


@lru_cache(maxsize=4096)
def read_date(cell: str) -> date | None:
    """Return the date of `dd/mm/yy`, `dd/mm/yyyy` or `yyyy-mm-dd`; None when it is none.

    >>> read_date("07/08/99"), read_date("31/02/2020")
    (datetime.date(1999, 8, 7), None)
    """
    found = _DATE.fullmatch(cell)
    if not found:
        return None
    day, month, year = found[1] or found[6], found[2] or found[5], found[3] or found[4]
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= FIRST_YEAR % 100 else 2000
    try:
        return date(number, int(month), int(day))
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def kick_off(day: date, cell: str) -> datetime | None:
    """Return the start in UTC; None when the cell is no time of day."""
    found = _TIME.fullmatch(cell)
    if not found:
        return None
    return datetime.combine(day, time(int(found[1]), int(found[2])), UK).astimezone(UTC)


def midnight(day: date) -> datetime:
    """Return what stands for the start of a match whose hour nobody gave."""
    return datetime.combine(day, time(), UTC)


@lru_cache(maxsize=4096)
def opening_time(day: date, starts: datetime) -> datetime:
    """Return when the opening prices of a match were taken, as far as the notes tell.

    Friday to Monday: that Friday; Tuesday to Thursday: that Tuesday; 15:00 in the UK. Always at
    least an hour before the start, so that an opening price never counts as newer than, or as
    new as, the closing one, whose time is the start.
    """
    weekday = day.weekday()
    since = (weekday - FRIDAY) % 7 if weekday >= FRIDAY or weekday == 0 else weekday - TUESDAY
    collected = datetime.combine(day - timedelta(days=since), COLLECTED_AT, UK).astimezone(UTC)
    return min(collected, starts - timedelta(hours=1))
