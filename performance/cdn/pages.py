from __future__ import annotations

from typing import Any

from django import forms

from performance.cdn import services
from performance.core import acts, pages

MOST_WARMED = 100


@pages.register
class CdnPage(pages.Page):
    slug = "cdn"
    title = "CDN"
    permission = "performance_cdn.view_cdn"
    order = 40
    acts = ("cdn.purge", "cdn.warm", "cdn.purge_all")

    def snapshot(self) -> dict[str, Any]:
        return services.overview()


class PurgeForm(forms.Form):
    tags = forms.CharField(
        required=False, help_text="Separated by spaces, such as sport:soccer_epl."
    )
    urls = forms.CharField(
        required=False, label="URLs", help_text="Paths separated by spaces, such as /arbitrage/."
    )
    soft = forms.BooleanField(
        required=False, initial=True, help_text="Serve the old answer while a new one is fetched."
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not cleaned.get("tags") and not cleaned.get("urls"):
            raise forms.ValidationError("Name at least one tag or URL to purge.")
        return cleaned


def _purge(*, tags: str, urls: str, soft: bool) -> str:
    purge = services.manager.purge(tags=tags.split(), urls=urls.split(), soft=soft)
    return (
        f"{purge.items} items are on their way to {purge.provider}; the ledger says what it said."
    )


def _preview(*, tags: str, urls: str, soft: bool) -> str:
    kind = "expire" if soft else "remove"
    return f"This would {kind} {services.preview(tags.split(), urls.split())}"


class WarmForm(forms.Form):
    paths = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}),
        initial="/ /arbitrage/",
        help_text="Paths separated by spaces or lines; the edge fetches each of them now.",
    )

    def clean_paths(self) -> str:
        paths: str = self.cleaned_data["paths"]
        if len(paths.split()) > MOST_WARMED:
            raise forms.ValidationError(
                f"{len(paths.split())} paths are too many at once; at most {MOST_WARMED}."
            )
        return paths


def _warm(*, paths: str) -> str:
    answers = services.warm_edge(paths.split())
    well = [one for one in answers if one.status is not None and one.status < 400]
    kept = sum(one.hit is True for one in well)
    said = f"{len(well)} of {len(answers)} answered, {kept} of them were there already."
    failed = next((one for one in answers if one not in well), None)
    return said if failed is None else f"{said} {failed.path}: {failed.error or failed.status}."


class PurgeAllForm(forms.Form):
    soft = forms.BooleanField(
        required=False, initial=True, help_text="Serve old answers while new ones are fetched."
    )


def _purge_all(*, soft: bool) -> str:
    purge = services.manager.purge_all(soft=soft)
    return f"Everything at {purge.provider} is on its way out; the ledger says what it said."


def _preview_all(*, soft: bool) -> str:
    kind = "expire" if soft else "remove"
    return f"This would {kind} {services.preview((), (), everything=True)}"


acts.register(
    acts.Act(
        name="cdn.purge",
        title="Purge at the edge",
        permission="performance_cdn.send_purge",
        form=PurgeForm,
        run=_purge,
        preview=_preview,
        initial={"soft": True},
    )
)

acts.register(
    acts.Act(
        name="cdn.warm",
        title="Warm the edge",
        permission="performance_cdn.warm_edge",
        form=WarmForm,
        run=_warm,
        initial={"paths": "/ /arbitrage/"},
    )
)

acts.register(
    acts.Act(
        name="cdn.purge_all",
        title="Purge everything",
        permission="performance_cdn.purge_everything",
        form=PurgeAllForm,
        run=_purge_all,
        preview=_preview_all,
        dangerous=True,  # the origin then answers every first request itself
        initial={"soft": True},
    )
)
