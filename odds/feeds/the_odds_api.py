"""The Odds API v4 as a source: asks as often as the month's credits allow.

https://the-odds-api.com/liveapi/guides/v4/ - the key travels in the address, so no address is ever
logged. What an answer means is told by its `error_code`; the status only when there is none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec

from odds.conf import OddsConf
from odds.errors import FeedMisconfigured, FeedRefused, FeedUnavailable
from odds.feeds import quota
from odds.feeds.fetching import Answer, get
from odds.feeds.odds_api_json import parse_events
from odds.feeds.parsed import Refused, Skipped
from odds.quotes import Batch, Quote
from performance.core import signals

logger = logging.getLogger(__name__)

NAME = "the-odds-api"
UPCOMING = "upcoming"
"""Not a sport: what is live and the next eight matches of all sports."""
KEY_CODES = {"MISSING_KEY", "INVALID_KEY", "DEACTIVATED_KEY"}
SPORT_CODES = {"UNKNOWN_SPORT", "INVALID_SPORT"}
BUSY_S = 2.0
"""What the provider advises after EXCEEDED_FREQ_LIMIT, where it names no time itself."""
SAMPLE_LENGTH = 500
LONGEST_REST_S = 3600.0
"""Credits may be bought meanwhile: a feed that ran out of them looks again this often."""


class TheOddsApiSource:
    """`sports` are keys such as `soccer_epl`. One call costs markets x regions credits."""

    name = NAME

    def __init__(
        self,
        *,
        key: str,
        options: OddsConf,
        sports: Sequence[str] = (),
        once: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not key:
            raise FeedMisconfigured(
                "The Odds API needs a key: set THE_ODDS_API_KEY (one is free at the-odds-api.com)."
            )
        self.key = key
        self.options = options
        self.sports = list(dict.fromkeys(sports)) or [UPCOMING]
        self.once = once
        self.clock = clock
        self.skipped: list[Skipped] = []
        self._remaining: int | None = None
        self._offered: dict[str, dict[tuple[Any, ...], Quote]] = {}
        self._unknown: set[str] = set()

    def batches(
        self, cursor: dict[str, Any] | None, wait: Callable[[float], bool]
    ) -> Iterator[Batch]:
        """Ask each sport when it is due. `asked` in the cursor keeps a feed that is restarted
        again and again from spending the month's credits."""
        asked = {sport: datetime.fromisoformat(at) for sport, at in _asked(cursor).items()}
        if self._remaining is None:
            self._remaining = (cursor or {}).get("remaining")
        left = [*self.sports]
        with httpx.Client() as client:
            while left if self.once else True:
                sport = left.pop(0) if self.once else self._next(asked, wait)
                if sport is None:
                    return
                batch = self._ask(client, sport)
                asked[sport] = self.clock()
                if batch is None:
                    continue
                where = {one: at.isoformat() for one, at in asked.items()}
                yield msgspec.structs.replace(
                    batch, cursor={"asked": where, "remaining": self._remaining}
                )
                # Only now is it stored: a batch that failed must find its withdrawals again.
                self._offered[sport] = {_place(quote): quote for quote in batch.quotes}

    def _next(self, asked: dict[str, datetime], wait: Callable[[float], bool]) -> str | None:
        """Wait until a sport is due and return it; None when the feed is to end."""
        while True:
            now = self.clock()
            sports = [sport for sport in self.sports if sport not in self._unknown]
            interval_s = quota.interval_s(
                self._remaining,
                a_call=quota.cost(len(self.options.markets), len(self.options.regions)),
                sports=len(sports),
                reserve=self.options.reserve_credits,
                now=now,
                least_s=self.options.min_interval_s,
                most_s=self.options.max_interval_s,
            )
            if interval_s is None:
                if self._rest(now, wait):
                    return None
                continue
            never = datetime.min.replace(tzinfo=UTC)
            sport = min(sports, key=lambda one: asked.get(one, never))
            due = asked[sport] + timedelta(seconds=interval_s) if sport in asked else now
            early_s = (due - now).total_seconds()
            if early_s <= 0:
                return sport
            if wait(early_s):
                return None

    def _rest(self, now: datetime, wait: Callable[[float], bool]) -> bool:
        """Wait for the next month's credits, or an hour; True when the feed is to end."""
        reset = quota.next_reset(now)
        logger.warning(
            "%s: %s credits are left, which is not enough for a call; the count starts anew on %s",
            NAME,
            self._remaining,
            f"{reset:%Y-%m-%d}",
        )
        if wait(min(LONGEST_REST_S, (reset - now).total_seconds())):
            return True
        self._remaining = None  # the next answer's headers say what there is now
        return False

    def _ask(self, client: httpx.Client, sport: str) -> Batch | None:
        """Return what the provider quotes for `sport`; None when there is nothing to store."""
        answer = self._get(client, f"/sports/{sport}/odds")
        payload = self._read(answer, sport)
        if payload is None:
            return None
        try:
            parsed = parse_events(payload, source=NAME)
        except Refused as error:
            raise FeedRefused(NAME, error.reason, self._sample(answer.body)) from None
        self.skipped += parsed.skipped
        now_offered = {_place(quote) for quote in parsed.batch.quotes}
        before = {} if sport == UPCOMING else self._offered.get(sport, {})
        withdrawn = [quote for place, quote in before.items() if place not in now_offered]
        return msgspec.structs.replace(parsed.batch, withdrawn=[_undated(q) for q in withdrawn])

    def _get(self, client: httpx.Client, path: str) -> Answer:
        answer = get(
            client,
            self.options.base_url.rstrip("/") + path,
            {
                "apiKey": self.key,
                "regions": ",".join(self.options.regions),
                "markets": ",".join(self.options.markets),
                "oddsFormat": "decimal",
                "dateFormat": "iso",
            },
            source=NAME,
            secret=self.key,
            timeout_s=self.options.timeout_s,
            most_bytes=self.options.max_response_bytes,
        )
        remaining = answer.headers.get("x-requests-remaining", "").split(".")[0]
        if remaining.lstrip("-").isdigit():
            self._remaining = int(remaining)
            signals.recorder.gauge("feed_credits", NAME, self._remaining)
        return answer

    def _read(self, answer: Answer, sport: str) -> Any:
        """Return the decoded answer; None when it only tells of our quota or sport."""
        try:
            # Decimal: 1.1 is what the provider wrote, and no float is.
            payload = json.loads(answer.body, parse_float=Decimal)
        except (ValueError, RecursionError):
            payload = None
        code = payload.get("error_code") if isinstance(payload, dict) else None
        if isinstance(code, str):
            message = str(payload.get("message", ""))[:200].replace(self.key, "***")
            return self._refused(code, message, sport, answer)
        if answer.status == 429 or answer.status >= 500:
            raise FeedUnavailable(NAME, f"HTTP {answer.status}", _retry_after_s(answer))
        if answer.status != 200 or payload is None:
            raise FeedRefused(
                NAME, f"HTTP {answer.status}, and no JSON of odds", self._sample(answer.body)
            )
        return payload

    def _refused(self, code: str, message: str, sport: str, answer: Answer) -> None:
        if code == "OUT_OF_USAGE_CREDITS":
            self._remaining = 0
            if self.once:
                raise FeedMisconfigured(f"{NAME}: {message} ({code})")
            return
        if code == "EXCEEDED_FREQ_LIMIT":
            raise FeedUnavailable(
                NAME, f"{message or 'too many calls'} ({code})", _retry_after_s(answer)
            )
        if code in KEY_CODES:
            raise FeedMisconfigured(
                f"{NAME} does not take the key: {message} ({code}). Set THE_ODDS_API_KEY anew."
            )
        if code in SPORT_CODES:
            self._unknown.add(sport)
            logger.warning("%s knows no sport %r (%s); it is not asked again", NAME, sport, code)
            if self._unknown.issuperset(self.sports):
                raise FeedMisconfigured(
                    f"{NAME} knows none of the sports {', '.join(self.sports)} ({code}). "
                    "GET /v4/sports lists those that are in season."
                )
            return
        raise FeedMisconfigured(
            f"{NAME} does not take the question: {message} ({code}). "
            "See PERFORMANCE['ODDS']: regions, markets."
        )

    def _sample(self, body: bytes) -> str:
        return body[:SAMPLE_LENGTH].decode("utf-8", "replace").replace(self.key, "***")


def _asked(cursor: dict[str, Any] | None) -> dict[str, str]:
    return (cursor or {}).get("asked") or {}


def _place(quote: Quote) -> tuple[Any, ...]:
    return quote.event_key, quote.bookmaker_key, quote.market, quote.outcome, quote.point


def _undated(quote: Quote) -> Quote:
    """A withdrawal is news of now, whenever the price was last confirmed."""
    return msgspec.structs.replace(quote, last_update=None)


def _retry_after_s(answer: Answer) -> float | None:
    """Return what the provider asks for, at most an hour; None leaves it to the backoff."""
    asked = answer.headers.get("retry-after", "")
    if asked.isdigit():
        return min(float(asked), LONGEST_REST_S)
    return BUSY_S if answer.status == 429 else None
