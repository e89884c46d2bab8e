import json
from decimal import Decimal

import pytest

from odds import margins

METHODS = {
    "multiplicative": margins.multiplicative,
    "power": lambda prices: margins.power(prices).probabilities,
    "shin": lambda prices: margins.shin(prices).probabilities,
}


@pytest.mark.samples
@pytest.mark.parametrize("name", METHODS)
def test_probabilities_are_those_of_an_independent_solver_with_fifty_digits(samples, name):
    cases = json.loads((samples / "golden" / "implied_probabilities.json").read_text())["cases"]
    cases = [case for case in cases if name in case["independent"]]

    for case in cases:
        found = METHODS[name]([Decimal(price) for price in case["odds"]])
        assert found == pytest.approx(case["independent"][name]["p"], abs=1e-14)
    assert len(cases) > 20


@pytest.mark.samples
def test_published_values_of_shin_hold_and_bad_input_raises(samples):
    for case in json.loads((samples / "golden" / "published_values.json").read_text()):
        if "raises" in case:
            with pytest.raises(ValueError, match="price"):
                margins.shin(case["odds"])
        else:
            found = margins.shin(case["odds"])
            assert found.probabilities == pytest.approx(case["p"], abs=1e-11)
            assert found.z == pytest.approx(case["z"], abs=1e-11)


def test_a_book_without_margin_is_its_own_probabilities():
    for method in METHODS.values():
        assert method([3, 3, 3]) == pytest.approx([1 / 3] * 3, abs=1e-15)


def test_long_shots_keep_a_positive_probability_where_equal_shares_would_not():
    prices = [1.01, 13, 501, 1001, 1001]

    for method in METHODS.values():
        found = method(prices)
        assert min(found) > 0
        assert sum(found) == pytest.approx(1, abs=1e-15)


def test_shin_refuses_a_book_below_one_and_says_what_takes_it():
    with pytest.raises(ValueError, match="multiplicative"):
        margins.shin([2.2, 2.2])

    assert margins.power([2.2, 2.2]).k < 1
    assert margins.overround_pct([2.0, 2.0]) == 0


@pytest.mark.parametrize("prices", [[], [2], [2, 1], [2, float("nan")], [2, float("inf")]])
def test_prices_that_are_no_book_raise(prices):
    for method in METHODS.values():
        with pytest.raises(ValueError, match="price"):
            method(prices)
