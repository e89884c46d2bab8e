from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

from performance.core import acts, pages
from performance.queries import services


@pages.register
class QueriesPage(pages.Page):
    slug = "queries"
    title = "QueryOptimizer"
    permission = "performance_queries.view_queries"
    order = 30
    acts = ("queries.cancel", "queries.terminate")

    def snapshot(self) -> dict[str, Any]:
        return services.optimizer.overview()


class BackendForm(forms.Form):
    pid = forms.IntegerField(min_value=1, max_value=2**31 - 1, label="Process id")
    backend_start = forms.DateTimeField(
        help_text="As the table of running statements shows it: a process id is used again.",
    )


def _cancel(*, pid: int, backend_start: datetime) -> str:
    services.optimizer.cancel(pid, backend_start)
    return f"The statement of backend {pid} was told to stop."


def _terminate(*, pid: int, backend_start: datetime) -> str:
    services.optimizer.terminate(pid, backend_start)
    return f"Backend {pid} was told to end; its open transaction is rolled back."


acts.register(
    acts.Act(
        name="queries.cancel",
        title="Cancel a statement",
        permission="performance_queries.cancel_query",
        form=BackendForm,
        run=_cancel,
    )
)
acts.register(
    acts.Act(
        name="queries.terminate",
        title="End a connection",
        permission="performance_queries.terminate_backend",
        form=BackendForm,
        run=_terminate,
        dangerous=True,
    )
)
