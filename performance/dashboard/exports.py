"""Every table of every live page as CSV and as JSON: what the page shows, nothing beside it.

A table is a list of rows in the page's snapshot, or in what its address chooses. A cell that a
spreadsheet would take for a formula is written as text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from performance.core import broadcast, pages

Row = Mapping[str, Any]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that spreadsheets run (OWASP, CSV injection)."""
FORMATS = ("csv", "json")


def tables(snapshot: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return the lists of rows, by name; those of the address go before the snapshot's."""
    return {
        name: value
        for name, value in {**snapshot, **chosen}.items()
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    }


def of_page(page: pages.Page, request: HttpRequest) -> dict[str, list[Row]]:
    """Gather a page's tables anew; raises what the page's own view shows as 503."""
    chosen = page.choose(request.GET.dict())
    return tables(page.snapshot(), broadcast.plain(chosen))


def as_csv(rows: list[Row], filename: str) -> HttpResponse:
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(answer)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return answer


def as_json(rows: list[Row], filename: str) -> HttpResponse:
    answer = JsonResponse(broadcast.plain(rows), safe=False)
    answer["Content-Disposition"] = f'attachment; filename="{filename}"'
    return answer


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(broadcast.plain(value))
    return f"'{text}" if text.startswith(FORMULA) else text


def links(names: Mapping[str, list[Row]], address: str, query: str) -> Iterator[dict[str, str]]:
    """Yield what the page's list of downloads shows; `address` is the page's own."""
    asked = f"?{query}" if query else ""
    for name in names:
        yield {
            "name": name.replace("_", " "),
            **{kind: f"{address}tables/{name}.{kind}{asked}" for kind in FORMATS},
        }
