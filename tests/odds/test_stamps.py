from __future__ import annotations

import pytest

from odds.stamps import confirmed_s, without_clock

PAGE = b"""<div data-as-of="%s" data-confirmed="1795541922">
<time datetime="x" data-clock>%s UTC</time>
<td class="p%s" data-at="1" title="bet365, confirmed %s ago">2.10</td>
<span data-age="1795541922.5">%s</span><span>in %s</span>"""


def test_two_drawings_of_the_same_prices_are_alike():
    early = PAGE % (b"10.5", b"17:00:01", b"", b"34 s", b"3 s", b"2 h")
    late = PAGE % (b"99.5", b"17:02:09", b" aging", b"2 min", b"2 min", b"59 min")

    assert without_clock(early) == without_clock(late)
    assert without_clock(early) != without_clock(early.replace(b"2.10", b"2.12"))


@pytest.mark.parametrize(
    "one", [b'{"as_of":1.5,"price":2.1}', b'{"last_update" : "2026-11-24T18:08:23Z","price":2.1}']
)
def test_a_changed_price_shows_through_the_stamps(one):
    assert b"2.1" in without_clock(one)
    assert b"as_of" not in without_clock(one)
    assert b"last_update" not in without_clock(one)


def test_a_page_says_when_its_prices_were_confirmed():
    assert confirmed_s(PAGE) == 1795541922.0
    assert confirmed_s(b"<div>") is None
