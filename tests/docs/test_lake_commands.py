"""The program of docs/operations.md that reads the lake runs as it stands, and finds what the portal has."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from portal.environment import BASE_DIR
from tests.support.lake import lake_folder, report_and_read  # noqa: F401
from tests.support.scripted_vendor import DAY, Listing
from usage.lake.catalog import build_catalog_url
from usage.lake.publish import publish
from usage.models import Source

pytestmark = pytest.mark.django_db(transaction=True)


def read_program() -> str:
    """Return the program of the page."""
    page = (BASE_DIR / "docs/operations.md").read_text()
    return page.split("```python\n")[1].split("```")[0]


def test_the_program_that_reads_the_lake_runs_as_it_stands(
    lake_folder: Path,  # noqa: F811
    source: Source,
    listing: Listing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report_and_read(source, listing, DAY, range(5), minutes=30)
    publish()
    monkeypatch.setenv("LAKE_CATALOG", build_catalog_url().render_as_string(hide_password=False))
    monkeypatch.setenv("LAKE_URL", f"file://{lake_folder}")
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    variables: dict[str, Any] = {}
    exec(read_program(), variables)
    variables["catalog"].close()
    assert variables["november"] == variables["known"]
    assert (variables["november"].num_rows, variables["open_days"].num_rows) == (5, 1)
    assert variables["by_source"] == [(source.slug, Decimal(5 * 1800))]
    assert variables["by_project"].rows() == [("project", Decimal(5 * 1800))]
