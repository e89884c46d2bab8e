"""What the caching room raises on purpose."""

from __future__ import annotations

from performance.core.errors import PerformanceError


class RefreshFailed(PerformanceError):
    """A value could not be recomputed, and no stored copy was young enough to stand in."""

    def __init__(self, key: str, age_s: float | None, limit_s: float) -> None:
        super().__init__(key, age_s, limit_s)  # the arguments themselves, so that it pickles
        self.key = key
        self.age_s = age_s
        self.limit_s = limit_s

    def __str__(self) -> str:
        copy = "nothing is stored" if self.age_s is None else f"the copy is {self.age_s:.0f} s old"
        return (
            f"Could not refresh {self.key!r}, and {copy} (limit {self.limit_s:.0f} s). "
            "The loader's own error is the cause above. To ride out longer outages, "
            "raise max_stale_s of the family."
        )


class UnknownFamily(PerformanceError):
    """No family is registered under that name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"No cached family is called {self.name!r}. There are: {', '.join(self.known)}."


class UnusableArgument(PerformanceError, TypeError):
    """An argument of a cached function cannot become part of a key."""

    def __init__(self, family: str, arguments: str, reason: str) -> None:
        super().__init__(family, arguments, reason)
        self.family = family
        self.arguments = arguments
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.family}{self.arguments} cannot be cached: {self.reason}. Pass plain values "
            "(text, numbers, dates, tuples of them); of a model, its primary key."
        )


class StoreAway(PerformanceError):
    """The cache server does not answer, or its breaker is open."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The cache server did not answer ({self.reason}). "
            "Answers come from memory and the database until it is back; see CACHE_URL."
        )


class OriginBusy(PerformanceError):
    """As many loaders run as may run at once, and none ended in time."""

    def __init__(self, family: str, limit: int) -> None:
        super().__init__(family, limit)
        self.family = family
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.limit} loaders of {self.family!r} run already in this process, the most that "
            "may. Find out why they are slow, or raise `parallel` of the family."
        )


class LoaderTooSlow(PerformanceError):
    """A loader took longer than its family's hard limit; it finishes behind."""

    def __init__(self, family: str, limit_s: float) -> None:
        super().__init__(family, limit_s)
        self.family = family
        self.limit_s = limit_s

    def __str__(self) -> str:
        return (
            f"The loader of {self.family!r} took longer than its hard limit of {self.limit_s} s. "
            "It finishes behind, and its value is stored then: ask again."
        )


class UnusableRule(PerformanceError, ValueError):
    """An invalidation rule of a CacheConfig row that says nothing we can do."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule, reason)
        self.rule = rule
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"The rule {self.rule!r} cannot be used: {self.reason}. A rule is one of "
            "tag:sport:soccer_epl, model:odds.Price, every:60s (or m, h, d), key:board* (names of "
            "families)."
        )


class UnreadableKey(PerformanceError, ValueError):
    """A text that should name one cached value, and does not."""

    def __init__(self, text: str, family: str, signature: str) -> None:
        super().__init__(text, family, signature)
        self.text = text
        self.family = family
        self.signature = signature

    def __str__(self) -> str:
        return (
            f"{self.text!r} is no key. It looks like {self.family}[…]: the arguments of "
            f"{self.signature} as a JSON list, in their order."
        )


class UnusableTarget(PerformanceError, ValueError):
    """What should be purged or warmed is not said, or said twice."""

    def __init__(self, given: str) -> None:
        super().__init__(given)
        self.given = given

    def __str__(self) -> str:
        return (
            f"{self.given or 'Nothing'} is named; name exactly one of: tags, families, a key, "
            "or everything."
        )
