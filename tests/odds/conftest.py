"""What the tests of odds share."""

import pytest

from odds import answers, compared


@pytest.fixture(autouse=True)
def _nothing_held():
    """No test reads with what another's reader holds."""
    compared.held.clear()
    answers.held.clear()
