"""Plans and advice that take longer than a page may: kept on the bus until they are looked at."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, cast

from performance.core import stores

PLAN_KEY = "queries:plan:{}"
ADVICE_KEY = "queries:advice"
PLAN_S = 3_600
ADVICE_S = 7 * 86_400


def keep_plan(sql: str, plan: list[Any]) -> str:
    """Keep an analysed plan for an hour; return the name under which it is found."""
    name = secrets.token_hex(8)
    stores.bus().set(PLAN_KEY.format(name), json.dumps({"sql": sql, "plan": plan}), ex=PLAN_S)
    return name


def kept_plan(name: str) -> dict[str, Any] | None:
    return _read(PLAN_KEY.format(name))


def keep_advice(advices: list[dict[str, Any]]) -> None:
    """Keep the newest advice for a week."""
    found = {"at_unix_s": time.time(), "advices": advices}
    stores.bus().set(ADVICE_KEY, json.dumps(found), ex=ADVICE_S)


def kept_advice() -> dict[str, Any] | None:
    return _read(ADVICE_KEY)


def _read(key: str) -> dict[str, Any] | None:
    text = cast("bytes | None", stores.bus().get(key))
    return None if text is None else dict(json.loads(text))
