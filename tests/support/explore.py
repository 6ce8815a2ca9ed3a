"""The Explore page, for tests, and the text that a person reads on it."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

from django.test import Client

from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days

PAGE = "/admin/explore/"
JANUARY = "from=2026-01-01&to=2026-02-01"


def open_explore(client: Client, query: str, status: int = 200) -> Any:
    """Return the page of a query, after creating the days of the records."""
    create_source_days(rolled=False)
    response = client.get(f"{PAGE}?{query}")
    assert response.status_code == status, response.headers
    return response


def extract_text(html: str) -> str:
    """Return the text of HTML."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def list_rows(response: Any) -> list[list[str]]:
    """Return the text of the table's cells, the totals and others last."""
    (table,) = re.findall(r'<table class="plain explore-table".*?</table>', response.content.decode(), re.DOTALL)
    _, *rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    return [[extract_text(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def store_some_of_each() -> None:
    """Store a little usage of every kind."""
    ona, gcore, workato = (SourceFactory(slug=name, vendor=name) for name in ("ona", "gcore", "workato"))
    EnvironmentUsageFactory.create_batch(7, source=ona)
    for number in range(9):
        ResourceUsageFactory(
            source=gcore,
            day=date(2026, 1, 1 + number % 4),
            project_id=number % 3,
            consumed_unit=("minutes", "bytes")[number % 2],
            consumed_quantity=Decimal("123456789012345678.000001") * (number + 1),
            tags={"team": "data"} if number else {},
        )
    RecipeUsageFactory.create_batch(5, source=workato)
    create_source_days(rolled=True)


QUESTIONS = (
    "kind=environment-usage&group_by=project_id,day",
    f"kind=environment-usage&{JANUARY}&group_by=user_id&order_by=-records&limit=2",
    f"kind=environment-usage&{JANUARY}&group_by=day&basis=accrued&measures=runtime_seconds",
    f"kind=resource-usage&{JANUARY}&group_by=project_id,week&compare=previous",
    "kind=resource-usage&group_by=tag:team&project_id=1,2",
    "kind=resource-usage",
    f"kind=recipe-usage&{JANUARY}&group_by=recipe_name,hour&tz=UTC",
    f"kind=recipe-usage&{JANUARY}&group_by=day&fill=zero",
    f"kind=usage&{JANUARY}&interval=month",
    "kind=usage",
)
