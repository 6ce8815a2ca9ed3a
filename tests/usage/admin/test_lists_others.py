"""The other long lists of the admin are paged by position too: in the order of an index, with every row once."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.accounts.models import create_token
from portal.incidents.models import Channel, Incident
from portal.reports.models import Report
from sync.models import SyncRun, Trigger
from tests.support.factories import FIRST_DAY, SourceDayFactory, SourceFactory
from tests.support.users import create_person, sign_in_as
from usage.admin.lists import pagination
from usage.admin.lists.base import UsageAdmin
from usage.admin.lists.pagination import KeysetList
from usage.models import RejectedRecord, Restatement, SourceDay
from usage.templatetags.usage_pages import list_filter_chips

pytestmark = pytest.mark.django_db
# Who is asking (2), the page within its time limit, and the choices of the filters; the audit log, which has more than
# a page of entries from the start, is also counted.
QUERIES = {
    "apitoken": 5,
    "auditentry": 12,
    "channel": 5,
    "directoryentry": 5,
    "group": 6,
    "incident": 8,
    "note": 5,
    "rejectedrecord": 8,
    "report": 5,
    "restatement": 8,
    "source": 6,
    "sourceday": 8,
    "syncrun": 8,
    "user": 7,
}
PAGED: dict[str, Any] = {
    model._meta.model_name or "": model_admin
    for model, model_admin in admin.site._registry.items()
    if getattr(model_admin, "keyset", ())
}


@pytest.fixture
def staff() -> Client:
    return sign_in_as("admin")


def test_every_list_that_grows_with_what_is_read_is_paged_by_position() -> None:
    assert {"sourceday", "syncrun", "restatement", "rejectedrecord"} <= set(PAGED)


@pytest.mark.parametrize("name", PAGED)
def test_the_order_of_a_list_is_held_by_an_index(staff: Client, name: str) -> None:
    opts = PAGED[name].opts
    change_list = staff.get(f"/admin/{opts.app_label}/{name}/").context["cl"]
    assert isinstance(change_list, KeysetList)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    plan = change_list.queryset.select_related(None)[:51].explain()
    assert "Index" in plan
    assert "Sort" not in plan


def test_days_of_several_sources_are_walked_through_each_once(staff: Client) -> None:
    for source in SourceFactory.create_batch(3):
        for number in range(40):
            SourceDayFactory(source=source, day=FIRST_DAY + timedelta(days=number))
    day_ids, query_string = [], ""
    while True:
        change_list = staff.get(f"/admin/usage/sourceday/{query_string}").context["cl"]
        day_ids += [day.pk for day in change_list.result_list]
        older_urls = [link.url for link in change_list.page_links if link.label == "Older"]
        if not older_urls or not older_urls[0]:
            break
        query_string = older_urls[0]

    assert day_ids == list(SourceDay.objects.order_by("-day", "-source_id").values_list("pk", flat=True))
    assert change_list.result_count == 120


def test_every_list_asks_as_many_queries_for_many_rows_as_for_few(staff: Client) -> None:
    def count_queries() -> dict[str, int]:
        counts = {}
        for model, model_admin in admin.site._registry.items():
            if not isinstance(model_admin, UsageAdmin):
                with CaptureQueriesContext(connection) as queries:
                    staff.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"))
                counts[str(model._meta.model_name)] = len(queries)
        return counts

    create_rows_of_every_list()
    staff.get("/admin/")
    first_counts = count_queries()
    create_rows_of_every_list()
    create_rows_of_every_list()

    assert (first_counts, count_queries()) == (QUERIES, QUERIES)


def create_rows_of_every_list() -> None:
    """Add a row of every list, each of another source, person and token."""
    source: Any = SourceFactory.create()
    day = SourceDayFactory(source=source, day=FIRST_DAY, rejected=1)
    RejectedRecord.objects.create(source_day=day, payload="{}", payload_digest="1" * 32, reason="no id", attempt=1)
    Restatement.objects.create(source_day=day, attempt=2, records_before=1, records_after=1)
    Channel.objects.create(name=source.slug, recipients="ops@example.com")
    owner = create_person("viewer", sources=[source])
    Report.objects.create(name=source.slug, owner=owner, next_at="2030-01-01T07:00:00Z").people.add(owner)
    fields = {"key": f"source:{source.pk}", "subject": source.slug, "source": source}
    Incident.objects.create(condition="day_partial", severity="warning", **fields)
    end = FIRST_DAY + timedelta(days=1)
    SyncRun.objects.create(source=source, trigger=Trigger.ADMIN, from_day=FIRST_DAY, to_day=end, days_total=1)
    create_token(source.slug, ["usage:read"], sources=[source], created_by=owner)


def test_all_rows_of_a_list_are_offered_by_a_number_that_says_if_it_is_an_estimate(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = SourceFactory.create()
    for number in range(60):
        SourceDayFactory(source=source, day=FIRST_DAY + timedelta(days=number))
    assert "Select all 60 source days" in staff.get("/admin/usage/sourceday/").content.decode()

    monkeypatch.setattr(pagination, "MAX_COUNTED", 50)
    assert "Select all about " in staff.get("/admin/usage/sourceday/").content.decode()


def test_applied_filters_are_chips_above_the_folded_form(staff: Client) -> None:
    source: Any = SourceFactory.create(slug="one")
    SourceDayFactory(source=source, day=FIRST_DAY)
    page = staff.get("/admin/usage/sourceday/?source=one&day__range__gte=2026-01-01&state=")
    chips = list_filter_chips(page.context["cl"])
    assert [chip.label for chip in chips] == ["Source: one", "Day from: 2026-01-01"]
    assert "source" not in chips[0].remove_url
    assert "day__range__gte=2026-01-01" in chips[0].remove_url
    assert "source=one" in chips[1].remove_url
    content = page.content.decode()
    assert content.index("Remove the filter Source: one") < content.index('id="filter-form"')
    assert '<details class="fold"><summary>Filters</summary>' in content


def test_no_heading_is_the_name_of_a_function() -> None:
    headings = [
        (model_admin.opts.label, str(label_for_field(name, model_admin.model, model_admin)))
        for model_admin in admin.site._registry.values()
        for name in (*model_admin.list_display, *(model_admin.fields or ()), *model_admin.readonly_fields)
        if name in model_admin.list_display or hasattr(model_admin, name)
    ]
    assert [heading for heading in headings if "_" in heading[1]] == []
