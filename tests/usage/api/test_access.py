"""Who may see what: scopes, staff permissions, and sources that a token cannot learn of."""

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client, RequestFactory
from rest_framework.request import Request

from portal.accounts.models import Scope
from portal.incidents.models import Incident
from sync.models import SyncRun, Trigger
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import (
    FIRST_DAY,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.users import sign_in_as
from usage.api.access import filter_by_scope
from usage.models import DirectoryEntry, RejectedRecord, Restatement, Source

pytestmark = pytest.mark.django_db
USAGE = ("environment-usage", "resource-usage", "recipe-usage")
SYNC = ("sources", "sources/seen/days", "sync-runs", "restatements", "rejected-records", "incidents")
CHALLENGE = 'Bearer realm="usage portal"'


def fill(slug: str) -> dict[str, Any]:
    """Create one row of each kind for a source; returns their keys."""
    day = SourceDayFactory(source__slug=slug, source__vendor=f"vendor-of-{slug}", day=FIRST_DAY)
    source: Source = day.source
    run = SyncRun.objects.create(
        source=source, trigger=Trigger.API, from_day=FIRST_DAY, to_day=FIRST_DAY.replace(day=2)
    )
    restatement = Restatement.objects.create(source_day=day, attempt=2, records_before=3, records_after=4)
    rejected_record = RejectedRecord.objects.create(
        source_day=day, payload=slug, payload_digest="d", reason="r", attempt=1
    )
    fields = {
        "key": f"source:{source.pk}",
        "subject": slug,
        "severity": "warning",
        "state": "Late",
        "message": "is late.",
    }
    incident = Incident.objects.create(condition="source_late", source=source, **fields)
    entry = DirectoryEntry.objects.create(source=source, kind="project", vendor_id=f"project of {slug}", name=slug)
    return {
        "directory": entry.pk,
        "environment-usage": EnvironmentUsageFactory(source=source).pk,
        "resource-usage": ResourceUsageFactory(source=source).pk,
        "recipe-usage": RecipeUsageFactory(source=source).pk,
        "sources": slug,
        f"sources/{slug}/days": FIRST_DAY,
        "sync-runs": run.pk,
        "restatements": restatement.pk,
        "rejected-records": rejected_record.pk,
        "incidents": incident.pk,
    }


@pytest.mark.parametrize("path", [*USAGE, *SYNC, "environment-usage/1", "schema", "docs", "nowhere", "sources/a/sync"])
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_a_stranger_is_let_in_nowhere(path: str, method: str) -> None:
    for query in ("", "?format=bogus&unknown=1"):
        response = getattr(Client(), method)(f"{API}/{path}/{query}")
        assert "Send a portal token" in get_problem_details(response, 401)[""][0]
        assert response["WWW-Authenticate"] == CHALLENGE


def test_only_health_answers_strangers() -> None:
    for path in ("live", "ready"):
        assert Client().get(f"/health/{path}").status_code == 200


@pytest.mark.parametrize(("paths", "scope"), [(USAGE, Scope.USAGE_READ), (SYNC, Scope.SYNC_READ)])
def test_a_token_without_the_scope_is_told_which_one_is_missing(paths: tuple[str, ...], scope: str) -> None:
    fill("seen")
    other_scopes_client = create_api_client(*(name for name in Scope.values if name != scope))
    scope_client = create_api_client(scope)
    for path in paths:
        assert get_problem_details(other_scopes_client.get(f"{API}/{path}/"), 403) == {
            "": [f"The token lacks the scope {scope}."]
        }
        assert scope_client.get(f"{API}/{path}/").status_code == 200


def test_a_request_without_rights_sees_no_row() -> None:
    SourceFactory()

    assert not filter_by_scope(Source.objects.all(), Request(RequestFactory().get("/")), "id").exists()


def test_who_may_see_some_kinds_of_usage_has_no_summary_of_all_and_is_told_what_is_missing() -> None:
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_environmentusage"))
    client = Client()
    client.force_login(user)

    assert client.get(f"{API}/environment-usage/summary/").status_code == 200
    (reason,) = get_problem_details(client.get(f"{API}/usage/summary/"), 403)[""]
    assert "usage.view_resourceusage" in reason
    assert "usage.view_recipeusage" in reason
    assert "usage.view_environmentusage" not in reason


def test_reading_is_not_enough_to_ask_for_a_run() -> None:
    SourceFactory(slug="seen")
    response = create_api_client(Scope.USAGE_READ, Scope.SYNC_READ).post(f"{API}/sources/seen/sync/")
    assert get_problem_details(response, 403) == {"": ["The token lacks the scope sync:run."]}


# Both answers tell the same age of what was read only where no second passes between them.
@time_machine.travel(datetime(2026, 2, 1, tzinfo=UTC), tick=False)
@pytest.mark.parametrize("kind", [*USAGE, *SYNC])
def test_a_limited_token_cannot_learn_that_other_sources_exist(kind: str) -> None:
    fill("hidden")
    addresses = fill("seen")
    hidden = {path.replace("seen", "hidden"): None for path in (kind,)}
    client = create_api_client(*Scope.values, sources=[Source.objects.get(slug="seen")])
    page = get(client, f"{kind}/", count="exact")
    assert page["count"] == 1
    assert b"hidden" not in client.get(f"{API}/{kind}/").content
    assert get(client, f"{kind}/{addresses[kind]}/") == page["results"][0]
    for path in hidden:
        if path != kind:
            assert client.get(f"{API}/{path}/").status_code == 404


@pytest.mark.parametrize("kind", [*USAGE, "sources", "sync-runs", "restatements", "rejected-records", "incidents"])
def test_a_row_of_another_source_is_as_if_it_did_not_exist(kind: str) -> None:
    hidden_keys = fill("hidden")
    fill("seen")
    limited_client = create_api_client(*Scope.values, sources=[Source.objects.get(slug="seen")])
    hidden_response = limited_client.get(f"{API}/{kind}/{hidden_keys[kind]}/")
    missing_response = limited_client.get(f"{API}/{kind}/{'nothing' if kind == 'sources' else 987654}/")
    assert hidden_response.status_code == missing_response.status_code == 404
    assert hidden_response.content == missing_response.content
    assert create_api_client(*Scope.values).get(f"{API}/{kind}/{hidden_keys[kind]}/").status_code == 200


def test_filters_of_a_limited_token_offer_only_its_sources() -> None:
    fill("hidden")
    fill("seen")
    limited_client = create_api_client(*Scope.values, sources=[Source.objects.get(slug="seen")])
    for query in ({"source": "hidden"}, {"vendor": "vendor-of-hidden"}):
        errors = get_problem_details(limited_client.get(f"{API}/environment-usage/", query))
        ((name, value),) = query.items()
        visible_value = {"source": "seen", "vendor": "vendor-of-seen"}[name]
        assert errors[name] == [f"There is no “{value}”; there are: {visible_value}."]


def test_a_limited_token_cannot_ask_for_a_run_of_another_source() -> None:
    fill("hidden")
    fill("seen")
    limited_client = create_api_client(*Scope.values, sources=[Source.objects.get(slug="seen")])
    body = {"from": "2026-01-01", "to": "2026-01-02"}
    for slug in ("hidden", "nothing"):
        response = limited_client.post(f"{API}/sources/{slug}/sync/", body, content_type="application/json")
        assert get_problem_details(response, 404) == {"": ["Not found."]}


def sign_in(*permissions: str, staff: bool = True) -> Client:
    """Return a client of a member of staff with these permissions, whose CSRF token is checked."""
    user = User.objects.create_user("person", is_staff=staff)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def test_staff_see_what_djangos_permissions_let_them_see() -> None:
    fill("seen")
    client = sign_in("usage.view_environmentusage", "usage.view_source")
    assert client.get(f"{API}/environment-usage/").status_code == 200
    assert client.get(f"{API}/sources/seen/").status_code == 200
    errors = get_problem_details(client.get(f"{API}/resource-usage/"), 403)
    assert errors == {"": ["You lack the permission usage.view_resourceusage."]}


def test_someone_who_is_signed_in_but_not_staff_is_a_stranger() -> None:
    client = sign_in("usage.view_environmentusage", staff=False)
    assert client.get(f"{API}/environment-usage/").status_code == 401


def test_a_session_needs_the_csrf_token_to_change_anything() -> None:
    SourceFactory(slug="seen")
    client = sign_in("usage.change_sourceday", "usage.view_source")
    errors = get_problem_details(client.post(f"{API}/sources/seen/sync/", {}, content_type="application/json"), 403)
    assert "CSRF" in errors[""][0]


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 202)])
def test_a_session_asks_for_a_run_with_the_permission_that_the_pages_ask_for(role: str, status: int) -> None:
    SourceFactory(slug="seen")
    body = {"from": "2026-01-01", "to": "2026-01-02"}
    response = sign_in_as(role).post(f"{API}/sources/seen/sync/", body, content_type="application/json")
    assert response.status_code == status
    assert SyncRun.objects.filter(requested_by=role).exists() == (status == 202)


def test_a_bad_token_is_refused_even_beside_a_good_session() -> None:
    client = sign_in("usage.view_environmentusage")
    response = client.get(f"{API}/environment-usage/", headers={"Authorization": "Bearer up_nothing"})
    assert response.status_code == 401
