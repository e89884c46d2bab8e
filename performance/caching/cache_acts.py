"""What staff may do on the page `cache`: purge, warm, and set a family's policy."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from performance.caching import services
from performance.caching.services import STRATEGIES, StoreAway, Target, cache
from performance.core import acts
from performance.core.errors import PerformanceError

EVERYTHING = "*"
WARMING_ENDS_S = 20
"""An act answers a request: what is not warm by then is left to beat, and said."""


class TargetForm(forms.Form):
    """One of three ways to say what is meant; the families' list has "all" for everything."""

    family = forms.ChoiceField(required=False)
    tags = forms.CharField(
        required=False, help_text="Separated by spaces, such as sport:soccer_epl."
    )
    key = forms.CharField(
        required=False, help_text='One value: its family and arguments, board["soccer_epl"].'
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(family.name, family.name) for family in self.offered()]
        self.fields["family"].choices = [("", "–"), (EVERYTHING, "all families"), *names]  # type: ignore[attr-defined]

    def offered(self) -> list[Any]:
        return cache.families()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                _target(cleaned["family"], cleaned["tags"], cleaned["key"]).chosen()
            except PerformanceError as error:
                raise ValidationError(str(error)) from None
        return cleaned


class PurgeForm(TargetForm):
    soft = forms.BooleanField(
        required=False, initial=True, help_text="Serve the old value while a new one is computed."
    )


class WarmForm(TargetForm):
    limit = forms.IntegerField(
        min_value=1, max_value=1000, initial=50, help_text="At most so many values a family."
    )

    def offered(self) -> list[Any]:
        return [family for family in cache.families() if family.warm is not None]


def _target(family: str, tags: str, key: str) -> Target:
    everything = family == EVERYTHING
    return Target(
        tags=tuple(tags.split()),
        families=(family,) if family and not everything else (),
        key=key.strip(),
        everything=everything,
    )


def _purge(*, family: str = "", tags: str = "", key: str = "", soft: bool = False) -> str:
    target = _target(family, tags, key)
    if not services.purge(target, soft=soft):
        raise StoreAway("the purge is sent as soon as it is back")
    softly = " softly" if soft and not target.key else ""
    return f"Purged {target}{softly}, in every process."


def _foresee_purge(*, family: str = "", tags: str = "", key: str = "", soft: bool = False) -> str:
    return services.foresee_purge(_target(family, tags, key), soft=soft).said


def _warm(*, family: str = "", tags: str = "", key: str = "", limit: int = 50) -> str:
    plan = services.warming_plan(_target(family, tags, key), limit=limit)
    outcomes = list(services.warm_for(plan, within_s=WARMING_ENDS_S))
    failed = [outcome for outcome in outcomes if outcome.error]
    said = f"Warmed {len(outcomes) - len(failed)} of {len(plan)} values."
    if len(outcomes) < len(plan):
        said += f" {WARMING_ENDS_S} s were over; `manage.py warm_cache` has no such limit."
    return f"{said} The first error: {failed[0].key}: {failed[0].error}" if failed else said


def _foresee_warming(*, family: str = "", tags: str = "", key: str = "", limit: int = 50) -> str:
    return services.foresee_warming(_target(family, tags, key), limit=limit)


class ConfigureForm(forms.Form):
    """One family's CacheConfig row; what it says is checked as the model checks it."""

    family = forms.ChoiceField()
    ttl_seconds = forms.IntegerField(
        min_value=1, label="Fresh for", help_text="Seconds that a value counts as fresh."
    )
    strategy = forms.ChoiceField(
        choices=[(name, name) for name in STRATEGIES],
        help_text="memory: each process for itself. redis: memory and the shared store. "
        "cdn: both, and the edge may keep it.",
    )
    compression_enabled = forms.BooleanField(required=False, label="Compress")
    version = forms.IntegerField(
        min_value=1, initial=1, help_text="Raise it, and everything stored before is a miss."
    )
    invalidation_rules = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One a line: tag:sport:soccer_epl, model:odds.Price, every:60s, key:board*.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["family"].choices = [(one.name, one.name) for one in cache.families()]  # type: ignore[attr-defined]

    def clean_invalidation_rules(self) -> list[str]:
        lines = map(str.strip, self.cleaned_data["invalidation_rules"].splitlines())
        return [line for line in lines if line]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            services.row_of(**cleaned)  # its ValidationError names the fields as they are here
        return cleaned


class ResetForm(forms.Form):
    family = forms.ChoiceField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["family"].choices = [(one.name, one.name) for one in cache.families()]  # type: ignore[attr-defined]


def _configure(*, family: str, **settings: Any) -> str:
    services.row_of(family, **settings).save()
    return f"{family} is set in every process within a second: {_told(settings)}."


def _foresee_configuring(*, family: str, **settings: Any) -> str:
    found = cache.family(family)
    now = services.settings_in_force(family)
    changed = {name: value for name, value in settings.items() if now[name] != value}
    if not changed:
        return f"That is what is in force for {family} already."
    said = ", ".join(f"{name} {_one(now[name])} → {_one(value)}" for name, value in changed.items())
    outcome = f"{family}: {said}."
    if settings["version"] != now["version"] or settings["strategy"] == "memory":
        outcome += " Everything stored of it is a miss from then on."
    else:
        outcome += " Memories are emptied once; what is stored is judged by the new settings."
    if settings["strategy"] == "cdn" and found.cdn is None:
        outcome += f" Edges keep nothing all the same: {family} is not declared public."
    return outcome


def _reset(*, family: str) -> str:
    if services.forget_row(family):
        return f"{family} follows the code again, in every process within a second."
    return f"{family} followed the code already."


def _foresee_reset(*, family: str) -> str:
    defaults = cache.family(family).defaults
    return (
        f"{family} goes back to what the code says: fresh for {defaults.ttl_s:g} s, "
        f"{defaults.strategy}, version {defaults.version}, no rules."
    )


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_one(value)}" for name, value in settings.items())


def _one(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


PURGE = acts.register(
    acts.Act(
        name="cache.purge",
        title="Purge",
        permission="performance_caching.purge_cache",
        form=PurgeForm,
        run=_purge,
        preview=_foresee_purge,
        initial={"soft": True},
    )
)
WARM = acts.register(
    acts.Act(
        name="cache.warm",
        title="Warm",
        permission="performance_caching.warm_cache",
        form=WarmForm,
        run=_warm,
        preview=_foresee_warming,
        initial={"limit": 50},
    )
)
CONFIGURE = acts.register(
    acts.Act(
        name="cache.configure",
        title="Set a family",
        permission="performance_caching.change_cacheconfig",
        form=ConfigureForm,
        run=_configure,
        preview=_foresee_configuring,
    )
)
RESET = acts.register(
    acts.Act(
        name="cache.reset",
        title="Back to the code's settings",
        permission="performance_caching.change_cacheconfig",
        form=ResetForm,
        run=_reset,
        preview=_foresee_reset,
    )
)
ON_THE_BAR = (PURGE, WARM, CONFIGURE)
