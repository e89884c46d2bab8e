from __future__ import annotations

from typing import Any

from django import forms

from performance.cdn import services
from performance.core import acts, pages


@pages.register
class CdnPage(pages.Page):
    slug = "cdn"
    title = "CDN"
    permission = "performance_cdn.view_cdn"
    order = 40
    acts = ("cdn.purge",)

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
    return f"This would {kind} {len(tags.split())} tags and {len(urls.split())} URLs at the edge."


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
