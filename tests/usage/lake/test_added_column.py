"""A column that was added after days were published: older files of the lake lack it and return its default."""

import pytest
from django.db import connection, transaction

from tests.support.lake import list_old_columns, report_and_read
from tests.support.scripted_vendor import DAY, Listing
from usage.columns import build_select
from usage.lake.archive_tables import open_archive
from usage.lake.publish import publish
from usage.lake.query import wrap
from usage.lake.staging import name_table, stage_day
from usage.models import EnvironmentUsage, Source

pytestmark = pytest.mark.django_db(transaction=True)
ADDED = "runner_id"


@pytest.mark.usefixtures("lake_folder")
def test_a_day_comes_back_with_the_default(source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    report_and_read(source, listing, DAY, range(3))
    with monkeypatch.context() as release:
        for module in ("catalog", "publish", "maintenance"):
            release.setattr(f"usage.lake.{module}.get_lake_columns", list_old_columns)
        publish()
    monkeypatch.setattr(EnvironmentUsage, "added", (ADDED,))
    day = source.days.get(day=DAY)
    with open_archive() as archive, transaction.atomic():
        stage_day(archive, EnvironmentUsage, day)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {ADDED} FROM {name_table(EnvironmentUsage)}")
            assert cursor.fetchall() == [("",)] * 3


def test_an_export_has_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnvironmentUsage, "added", (ADDED,))
    rows = {"id": "{1,2}", ADDED: '{NULL,"runner"}', "stopped_at": "{NULL,NULL}"}
    statement = build_select(EnvironmentUsage.objects.order_by(), ["id", ADDED])
    query = wrap(statement, EnvironmentUsage, [*rows], rows)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, query.params)
        assert cursor.fetchall() == [(1, ""), (2, "runner")]
