"""The search: ids, names, sources, views, pages and settings; each person finds what they may see and no more."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.incidents.models import Incident
from sync.models import SyncRun, Trigger
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceFactory,
)
from tests.support.users import create_person, sign_in_as
from usage.models import DirectoryEntry, EnvironmentUsage, NameKind, SavedView, Source

pytestmark = pytest.mark.django_db
RUN = str(UUID(int=7919 << 64))
ENVIRONMENT = str(UUID(int=104729 << 64))


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time: a sort of hits that takes too long is left out."""
    monkeypatch.setattr("portal.search.views.SECONDS", 60)


def find(client: Client, text: str) -> dict[str, list[tuple[str, str]]]:
    """Return what is found: by sort, the titles with their addresses."""
    response: Any = client.get("/admin/search/", {"q": text})
    assert response.status_code == 200
    return {group.title: [(hit.title, hit.url) for hit in group.hits] for group in response.context["groups"]}


def list_titles(client: Client, text: str) -> list[str]:
    """Return the titles of all that is found."""
    return [title for hits in find(client, text).values() for title, _ in hits]


def create_entry(source: Source, kind: NameKind, vendor_id: str, text: str, **values: Any) -> DirectoryEntry:
    """Store a name."""
    return DirectoryEntry.objects.create(source=source, kind=kind, vendor_id=vendor_id, name=text, **values)


def test_a_pasted_id_leads_to_its_record() -> None:
    run = EnvironmentUsageFactory(record_id=RUN, environment_id=ENVIRONMENT)
    page = f"/admin/usage/environmentusage/{run.pk}/change/"
    client = sign_in_as("viewer")

    assert find(client, f"  {RUN.upper()} ") == {"Ids": [(f"Run {RUN.upper()}", page)]}
    assert find(client, ENVIRONMENT)["Ids"] == [(f"Environment {ENVIRONMENT}", page)]
    assert client.get(page).status_code == 200


def test_an_id_of_several_records_leads_to_the_latest_and_to_all() -> None:
    source = SourceFactory(vendor="gcore")
    ResourceUsageFactory(source=source, resource_id="r-1", project_id=77, day=datetime(2026, 1, 3, tzinfo=UTC).date())
    latest = ResourceUsageFactory(
        source=source, resource_id="r-1", project_id=77, day=datetime(2026, 1, 9, tzinfo=UTC).date()
    )
    client = sign_in_as("viewer")

    page: Any = client.get("/admin/search/", {"q": "r-1"})

    (hit,) = page.context["groups"][0].hits
    assert hit.url == f"/admin/usage/resourceusage/{latest.pk}/change/"
    assert "latest record 9 Jan 2026" in hit.detail
    ((_, records),) = hit.links
    assert client.get(records).context["cl"].result_count == 2
    assert "Project 77" in list_titles(client, "77")


def test_numbers_of_recipes_and_workspaces_are_found() -> None:
    RecipeUsageFactory(recipe_id=9001, workspace_id=501)
    client = sign_in_as("viewer")

    assert "Recipe 9001" in list_titles(client, "9001")
    assert "Workspace 501" in list_titles(client, "501")
    assert find(client, "99999999999999999999") == {}


def test_the_number_of_a_run_or_an_incident_leads_to_its_page_for_who_may_see_it() -> None:
    source = SourceFactory(slug="main", vendor="ona")
    day = datetime(2026, 1, 3, tzinfo=UTC).date()
    run = SyncRun.objects.create(
        pk=10**6, source=source, trigger=Trigger.ADMIN, from_day=day, to_day=day + timedelta(days=1)
    )
    values = {"subject": "Disk of a", "severity": "critical", "state": "Low", "message": "is full."}
    incident = Incident.objects.create(pk=10**6 + 1, condition="disk_low", key="host:a", **values)
    client = sign_in_as("viewer")

    for row, label, page in (
        (run, "Run of the sync", f"/admin/sync/syncrun/{run.pk}/change/"),
        (incident, "Incident", f"/admin/incidents/incident/{incident.pk}/change/"),
    ):
        assert find(client, str(row.pk)) == {"Ids": [(f"{label} {row.pk}", page)]}
        assert client.get(page).status_code == 200

    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_recipeusage"))
    client = Client()
    client.force_login(user)
    assert find(client, str(incident.pk)) == {}


def test_a_form_that_no_menu_has_is_found_by_who_may_open_it() -> None:
    pages = find(sign_in_as("administrator"), "add token")["Pages"]
    assert pages == [("Add an API token", "/admin/accounts/apitoken/add/")]
    assert "Pages" not in find(sign_in_as("viewer"), "add token")


def test_names_lead_to_their_chart_and_teams_too() -> None:
    source = SourceFactory(slug="main", vendor="ona", time_zone="Europe/Berlin")
    create_entry(source, NameKind.PROJECT, "p-1", "Payments, new")
    create_entry(source, NameKind.TEAM, "t-1", "Payments team")
    group = create_entry(source, NameKind.GROUP, "g-1", "Payments group")
    client = sign_in_as("viewer")

    urls = dict(find(client, "payments")["Names"])

    assert "kind=environment-usage" in urls["Payments, new"]
    assert "source=main&project_id=p-1&group_by=day" in urls["Payments, new"]
    assert "team=t-1" in urls["Payments team"]
    assert urls["Payments group"] == f"/admin/usage/directoryentry/{group.pk}/change/"
    for address in urls.values():
        assert client.get(address).status_code == 200
    assert list_titles(client, "p-1") == ["Payments, new"]


def test_people_are_found_by_name_only_by_those_who_may_see_it() -> None:
    source = SourceFactory(vendor="ona")
    create_entry(source, NameKind.USER, "u-1", "Ada Lovelace", email="ada@example.com", pseudonym="Kolibatumi")

    assert list_titles(sign_in_as("administrator"), "lovelace") == ["Ada Lovelace"]
    viewer = sign_in_as("viewer")
    for text in ("lovelace", "ada@example", "kolibatumi"):
        assert list_titles(viewer, text) == []
    response = viewer.get("/admin/search/", {"q": "u-1"}).content.decode()
    assert "Lovelace" not in response


def test_someone_limited_to_a_source_finds_nothing_of_another() -> None:
    visible, hidden = SourceFactory(slug="mine-a", vendor="ona"), SourceFactory(slug="mine-b", vendor="ona")
    for source in (visible, hidden):
        EnvironmentUsageFactory(source=source, record_id=f"run-{source.slug}", project_id="p-shared")
        create_entry(source, NameKind.PROJECT, f"p-{source.slug}", f"Payments {source.slug}")
    owner = create_person("admin")
    SavedView.objects.create(
        owner=owner, name="Payments view", kind="environment-usage", question="source=mine-b", shared=True
    )
    client = sign_in_as("viewer", sources=[visible])

    assert list_titles(client, "payments") == ["Payments mine-a"]
    assert "mine-b" not in "".join(list_titles(client, "mine"))
    assert find(client, "run-mine-b") == {}
    assert list_titles(client, "run-mine-a") == ["Run run-mine-a"]
    response = client.get("/admin/search/", {"q": "p-shared"}).content.decode()
    assert "mine-a" in response
    assert "mine-b" not in response


def test_someone_without_a_permission_finds_nothing_that_needs_it() -> None:
    run = EnvironmentUsageFactory(record_id=RUN)
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_recipeusage"))
    client = Client()
    client.force_login(user)

    assert find(client, RUN) == {}
    assert "Sources" not in find(client, run.source.slug)
    assert Client().get("/admin/search/", {"q": RUN}).status_code == 302


def test_sources_views_pages_and_settings_are_found() -> None:
    SourceFactory(slug="gcore-main", vendor="gcore")
    user = create_person("viewer")
    view = SavedView.objects.create(owner=user, name="Spend by team", kind="resource-usage", question="group_by=day")
    client = Client()
    client.force_login(user)

    assert list_titles(client, "gcore-m") == ["gcore-main"]
    assert find(client, "SPEND")["Saved views"] == [("Spend by team", f"/admin/explore/views/{view.pk}/")]
    assert ("Coverage", "/admin/coverage/") in find(client, "coverage")["Pages"]
    assert "API tokens" not in dict(find(client, "tokens").get("Pages", []))
    (setting,) = find(client, "PORTAL_PERSON_NAMES")["Documentation and settings"]
    assert setting[0] == "PORTAL_PERSON_NAMES"
    assert client.get(setting[1]).status_code == 200
    chapters = [url for _, url in find(client, "mirrors")["Documentation and settings"]]
    assert "/admin/documentation/docs/api.md#mirrors" in chapters


@pytest.mark.parametrize("text", ["", " ", "a", "\0\0", "%", "x" * 5000, "<script>", "~none", "id:1'--"])
def test_odd_texts_find_nothing_and_break_nothing(text: str) -> None:
    SourceFactory()
    response = sign_in_as("viewer").get("/admin/search/", {"q": text})
    assert response.status_code == 200
    assert b"<script>alert" not in response.content


def test_a_search_costs_the_same_queries_and_reads_indexes_only() -> None:
    source = SourceFactory(vendor="ona")
    client = sign_in_as("viewer")

    def count_queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            find(client, RUN)
        return len(captured)

    few_queries = count_queries()
    EnvironmentUsageFactory.create_batch(30, source=source)
    assert count_queries() == few_queries
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for column in ("environment_id", "project_id", "user_id"):
            rows = EnvironmentUsage.objects.filter(**{f"{column}__in": [RUN]}).order_by("-stopped_at", "-id")[:1]
            assert "Index" in rows.explain(), column
