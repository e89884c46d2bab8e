"""The pages `queries` (what runs), `queries-plan` (one statement), `queries-database` (upkeep)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery import current_app
from django import forms
from django.urls import reverse

from performance.core import acts, pages
from performance.queries import services
from performance.queries.errors import StatisticsMissing


@pages.register
class QueriesPage(pages.Page):
    slug = "queries"
    title = "QueryOptimizer"
    permission = "performance_queries.view_queries"
    order = 30
    acts = ("queries.analyze", "queries.cancel", "queries.terminate")

    def snapshot(self) -> dict[str, Any]:
        return services.optimizer.overview()

    def choose(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the statements by `?sort=`; without it the snapshot's, which are live."""
        sort = query.get("sort", "")
        chosen: dict[str, Any] = {"sort": sort, "sorts": services.SORTS, "notice": ""}
        if not sort:
            return chosen
        if sort not in services.SORTS:
            chosen["sort"] = ""
            chosen["notice"] = (
                f"Statements cannot be sorted by {sort!r}; by: {', '.join(services.SORTS)}."
            )
            return chosen
        try:
            found = services.optimizer.slowest(sort=sort, limit=50)
            chosen["sorted"] = [one.as_dict() for one in found]
        except StatisticsMissing as error:
            chosen["notice"] = str(error)
        return chosen


@pages.register
class PlanPage(pages.Page):
    """One statement: its plan as a tree, its cost by the minute, who asks it. It stands still."""

    slug = "queries-plan"
    title = "Query plan"
    permission = "performance_queries.view_queries"
    order = 31
    acts = ("queries.analyze",)

    def snapshot(self) -> dict[str, Any]:
        return {}

    def choose(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the plan kept as `?plan=`, or the statement of `?query=` by the server's id."""
        return services.optimizer.look(plan=query.get("plan", ""), query=query.get("query", ""))


@pages.register
class DatabasePage(pages.Page):
    """What needs looking after. It stands still: reading it each second would be a load."""

    slug = "queries-database"
    title = "Database upkeep"
    permission = "performance_queries.view_queries"
    order = 32
    acts = ("queries.advise",)

    def snapshot(self) -> dict[str, Any]:
        return services.optimizer.upkeep()

    def changes(self) -> dict[str, Any]:
        return {}


class BackendForm(forms.Form):
    pid = forms.IntegerField(min_value=1, max_value=2**31 - 1, label="Process id")
    backend_start = forms.DateTimeField(
        help_text="As the table of running statements shows it: a process id is used again.",
    )


class StatementForm(forms.Form):
    sql = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        max_length=100_000,
        label="Statement",
        help_text="One SELECT with its values. It is run, read-only, for 1.5 s at most.",
    )


def _cancel(*, pid: int, backend_start: datetime) -> str:
    services.optimizer.cancel(pid, backend_start)
    return f"The statement of backend {pid} was told to stop."


def _terminate(*, pid: int, backend_start: datetime) -> str:
    services.optimizer.terminate(pid, backend_start)
    return f"Backend {pid} was told to end; its open transaction is rolled back."


def _analyze(*, sql: str) -> str:
    name = services.optimizer.analyze(sql)
    address = reverse("admin:performance_page", args=[PlanPage.slug])
    return f"It was run, and its plan is kept for an hour: {address}?plan={name}"


def _advise() -> str:
    current_app.send_task("performance.queries.advise_indexes", expires=60)
    return "A worker looks for missing indexes now; what it proves is on this page in a minute."


for _act in (
    acts.Act(
        name="queries.cancel",
        title="Cancel a statement",
        permission="performance_queries.cancel_query",
        form=BackendForm,
        run=_cancel,
    ),
    acts.Act(
        name="queries.terminate",
        title="End a connection",
        permission="performance_queries.terminate_backend",
        form=BackendForm,
        run=_terminate,
        dangerous=True,
    ),
    acts.Act(
        name="queries.analyze",
        title="Explain a statement",
        permission="performance_queries.explain_query",
        form=StatementForm,
        run=_analyze,
    ),
    acts.Act(
        name="queries.advise",
        title="Look for missing indexes",
        permission="performance_queries.explain_query",
        run=_advise,
    ),
):
    acts.register(_act)
