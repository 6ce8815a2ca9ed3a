"""The other big lists of the admin are paged by position too: in an order that an index holds, every row once."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client

from tests.factories import FIRST_DAY, SourceDayFactory, SourceFactory
from tests.people import client_of
from usage.admin.paging import KeysetList
from usage.models import SourceDay

pytestmark = pytest.mark.django_db
PAGED: dict[str, Any] = {
    model._meta.model_name or "": model_admin
    for model, model_admin in admin.site._registry.items()
    if getattr(model_admin, "keyset", ())
}


@pytest.fixture
def staff() -> Client:
    return client_of("admin")


def test_every_list_that_grows_with_what_is_read_is_paged_by_position() -> None:
    assert {"sourceday", "syncrun", "restatement", "rejectedrecord"} <= set(PAGED)


@pytest.mark.parametrize("name", PAGED)
def test_the_order_of_a_list_is_held_by_an_index(staff: Client, name: str) -> None:
    opts = PAGED[name].opts
    listed = staff.get(f"/admin/{opts.app_label}/{name}/").context["cl"]
    assert isinstance(listed, KeysetList)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    plan = listed.queryset.select_related(None)[:51].explain()
    assert "Index" in plan
    assert "Sort" not in plan


def test_days_of_several_sources_are_walked_through_each_once(staff: Client) -> None:
    for source in SourceFactory.create_batch(3):
        for number in range(40):
            SourceDayFactory(source=source, day=FIRST_DAY + timedelta(days=number))
    met, at = [], ""
    while True:
        listed = staff.get(f"/admin/usage/sourceday/{at}").context["cl"]
        met += [day.pk for day in listed.result_list]
        older = [step.address for step in listed.steps if step.words == "Older"]
        if not older or not older[0]:
            break
        at = older[0]

    assert met == list(SourceDay.objects.order_by("-day", "-source_id").values_list("pk", flat=True))
    assert listed.result_count == 120
