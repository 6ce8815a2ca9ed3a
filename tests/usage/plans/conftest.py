"""Long tables, which are filled once for the tests of this folder: that takes as long as all their queries."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.models import Model
from django.template.response import SimpleTemplateResponse
from pytest_django import DjangoDbBlocker

from tests.support.database import keep_rows
from tests.support.long_tables import fill_long_tables
from tests.support.source_days import create_source_days
from usage.models import Rollup, SourceDay


@pytest.fixture(scope="package")
def long_tables(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill every table of usage and roll its days up; each test is rolled back to that."""
    with keep_rows(django_db_blocker):
        fill_long_tables()
        create_source_days(rolled=True)
        with connection.cursor() as cursor:
            models: list[type[Model]] = [SourceDay, *Rollup.__subclasses__()]
            tables = ", ".join(model._meta.db_table for model in models)
            cursor.execute(f"ANALYZE {tables}")
        yield


@pytest.fixture(autouse=True)
def _nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pages empty: what they show is fetched before, and to draw it takes half of the time."""
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")
