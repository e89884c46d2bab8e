from __future__ import annotations

from typing import Any

from django import forms

from performance.caching.errors import StoreAway
from performance.caching.services import cache
from performance.core import acts, pages


@pages.register
class CachePage(pages.Page):
    slug = "cache"
    title = "CacheStatus"
    permission = "performance_caching.view_cache"
    order = 20
    acts = ("cache.purge", "cache.warm")

    def snapshot(self) -> dict[str, Any]:
        return cache.overview()


def _choices() -> list[tuple[str, str]]:
    return [("", "all families"), *((family.name, family.name) for family in cache.families())]


def _warmable() -> list[tuple[str, str]]:
    names = [family.name for family in cache.families() if family.warm is not None]
    return [("", "all families"), *((name, name) for name in names)]


class PurgeForm(forms.Form):
    tags = forms.CharField(
        required=False,
        help_text="Separated by spaces, such as sport:soccer_epl; empty purges the family.",
    )
    family = forms.ChoiceField(required=False, choices=_choices)
    soft = forms.BooleanField(
        required=False, initial=True, help_text="Serve the old value while a new one is computed."
    )


class WarmForm(forms.Form):
    family = forms.ChoiceField(required=False, choices=_warmable)
    limit = forms.IntegerField(min_value=1, max_value=1000, initial=50)


def _purge(*, tags: str, family: str, soft: bool) -> str:
    if tags.split():
        done = cache.invalidate(*tags.split(), hard=not soft)
    else:
        done = cache.purge(*([family] if family else []), hard=not soft)
    if not done:
        raise StoreAway("the purge is sent as soon as it is back")
    return f"Purged {_target(tags, family)}{' softly' if soft else ''}, in every process."


def _preview_purge(*, tags: str, family: str, soft: bool) -> str:
    effect = "is served once more while it is refreshed" if soft else "is computed anew"
    return f"Everything under {_target(tags, family)} {effect} when next asked for."


def _target(tags: str, family: str) -> str:
    if tags.split():
        return f"the tags {', '.join(tags.split())}"
    return f"the family {family}" if family else "all families"


def _warm(*, family: str, limit: int) -> str:
    plan = cache.warming_plan(*([family] if family else []), limit=limit)
    outcomes = list(cache.warm(plan, force=True))
    failed = [outcome for outcome in outcomes if outcome.error]
    said = f"Warmed {len(outcomes) - len(failed)} of {len(outcomes)} values."
    return f"{said} The first error: {failed[0].key}: {failed[0].error}" if failed else said


def _preview_warm(*, family: str, limit: int) -> str:
    plan = cache.warming_plan(*([family] if family else []), limit=limit)
    return f"This would compute {len(plan)} values anew, one after the other."


acts.register(
    acts.Act(
        name="cache.purge",
        title="Purge",
        permission="performance_caching.purge_cache",
        form=PurgeForm,
        run=_purge,
        preview=_preview_purge,
        initial={"soft": True},
    )
)
acts.register(
    acts.Act(
        name="cache.warm",
        title="Warm",
        permission="performance_caching.warm_cache",
        form=WarmForm,
        run=_warm,
        preview=_preview_warm,
        initial={"limit": 50},
    )
)
