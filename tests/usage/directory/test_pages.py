"""Names on the staff's pages: lists, record pages, chips, suggestions, Explore, its charts and its files."""

import pytest
from django.urls import reverse

from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as
from usage.models import DirectoryEntry, EnvironmentUsage, NameKind, Source

pytestmark = pytest.mark.django_db


def test_lists_record_pages_chips_and_suggestions_show_names_before_ids(source: Source) -> None:
    DirectoryEntry.objects.filter(vendor_id="p2").update(gone_at="2026-01-05T00:00:00Z")
    create_source_days(rolled=True)
    staff, list_url = sign_in_as("admin"), reverse("admin:usage_environmentusage_changelist")
    page = staff.get(list_url, {"project_id": "p1,p2"}).content.decode()
    assert '<span class="named">Payments<span class="code" title="p1">p1</span></span>' in page
    assert "no longer at the vendor" in page
    assert "Project: Payments, =SUM(1)" in page
    record = EnvironmentUsage.objects.get(user_id="u2")
    detail = staff.get(reverse("admin:usage_environmentusage_change", args=[record.pk])).content.decode()
    assert 'data-field="user_name"' in detail
    assert "Grace Hopper" in detail
    options = staff.get(f"{list_url}suggest/user_id/", {"part": "hopp"}).json()["options"]
    assert options == [{"value": "u2", "label": "Grace Hopper"}]


def test_explore_and_its_charts_and_files_show_names_and_tell_apart_those_that_are_equal(source: Source) -> None:
    DirectoryEntry.objects.filter(kind=NameKind.PROJECT).update(name="Payments")
    create_source_days(rolled=True)
    staff = sign_in_as("admin")
    params = {"kind": "environment-usage", "from": "2026-01-01", "to": "2026-01-02", "group_by": "project_id"}
    response = staff.get(reverse("admin:explore"), params)
    assert '<span class="named">Payments<span class="code" title="p1">p1</span></span>' in response.content.decode()
    assert set(response.context["charts"]["panels"][0]["labels"]) == {"Payments (p1)", "Payments (p2)"}
    series_page = staff.get(reverse("admin:explore"), {**params, "group_by": "user_id,day"})
    assert {"Ada Lovelace", "unknown"} <= {
        series["name"] for series in series_page.context["charts"]["panels"][0]["series"]
    }
    team_page = staff.get(reverse("admin:explore"), {**params, "group_by": "team"}).content.decode()
    assert "Checkout" in team_page
    assert "A user in two teams counts in each of them" in team_page
    lines = b"".join(staff.get(reverse("admin:explore_export"), {**params, "format": "csv"})).decode()
    assert "project_id,project_name," in lines
