"""Names of people are personal data: on every path, only with the right to them, and then as the setting says."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils.http import urlencode
from pytest_django import DjangoDbBlocker

from portal.accounts.models import Scope
from portal.accounts.roles import ROLES
from tests.support.api_clients import API, create_api_client, get_problem_details
from tests.support.database import commit_rows
from tests.support.factories import EnvironmentUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from tests.support.users import create_person, sign_in_as
from usage.directory.access import NO_PEOPLE
from usage.directory.lookup import select_entries
from usage.models import DirectoryEntry, NameKind, SavedView, Source

pytestmark = pytest.mark.django_db
NAME, EMAIL, PSEUDONYM = "Ada Lovelace", "ada@example.com", "Kolibatumi"
RANGE: dict[str, Any] = {"from": "2026-01-01", "to": "2026-01-02"}


@pytest.fixture(scope="module")
def stored(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[int]:
    """The key of a source with one run, whose user and project have names; exports read it on their connection."""
    with commit_rows(django_db_blocker):
        yield store_run().pk


@pytest.fixture
def source(stored: int, db: None) -> Source:
    """The source."""
    return Source.objects.get(pk=stored)


def store_run() -> Source:
    """Store the source, the run and the names."""
    created: Source = SourceFactory(slug="main", vendor="ona")
    DirectoryEntry.objects.create(
        source=created,
        kind=NameKind.USER,
        vendor_id="u-1",
        name=NAME,
        email=EMAIL,
        pseudonym=PSEUDONYM,
        team_ids=["t-1"],
    )
    DirectoryEntry.objects.create(source=created, kind=NameKind.PROJECT, vendor_id="p-1", name="Payments")
    DirectoryEntry.objects.create(source=created, kind=NameKind.TEAM, vendor_id="t-1", name="Checkout")
    EnvironmentUsageFactory(source=created, project_id="p-1", user_id="u-1")
    create_source_days(rolled=True)
    return created


def test_hidden_names_of_people_are_entries_of_nothing(source: Source) -> None:
    assert not select_entries(NameKind.USER, NO_PEOPLE).exists()
    projects: Any = select_entries(NameKind.PROJECT, NO_PEOPLE)
    assert [project.shown for project in projects] == ["Payments"]


def iterate_api_addresses(source: Source) -> Iterator[str]:
    """Yield addresses of the API that may hold the name of a person."""
    record_id = EnvironmentUsageFactory._meta.model.objects.get().pk
    fields = "user_id,user_name,project_name"
    yield f"environment-usage/?{urlencode({'fields': fields})}"
    yield f"environment-usage/{record_id}/?{urlencode({'fields': fields})}"
    for extension in ("csv", "ndjson", "xlsx", "parquet"):
        yield f"environment-usage/?{urlencode({'fields': fields, 'format': extension})}"
    yield f"environment-usage/summary/?{urlencode({**RANGE, 'group_by': 'user_id'})}"
    yield f"environment-usage/summary/?{urlencode({**RANGE, 'group_by': 'user_id,team,day', 'limit': 1})}"
    yield "directory/"
    yield "directory/?kind=user"


def iterate_page_addresses(source: Source) -> Iterator[str]:
    """Yield addresses of pages that may hold the name of a person."""
    record_id = EnvironmentUsageFactory._meta.model.objects.get().pk
    list_url = reverse("admin:usage_environmentusage_changelist")
    yield f"{list_url}?user_id=u-1"
    yield reverse("admin:usage_environmentusage_change", args=[record_id])
    for extension in ("csv", "ndjson", "parquet"):
        yield f"{list_url}export/?names=1&format={extension}"
    for part in ("", "ada", "u-1"):
        yield f"{list_url}suggest/user_id/?{urlencode({'part': part, **RANGE})}"
    query = {"kind": "environment-usage", **RANGE, "group_by": "user_id"}
    yield f"{reverse('admin:explore')}?{urlencode(query)}"
    yield f"{reverse('admin:explore')}?{urlencode({**query, 'group_by': 'user_id,day'})}"
    for extension in ("csv", "xlsx"):
        yield f"{reverse('admin:explore_export')}?{urlencode({**query, 'format': extension})}"


def read_content(client: Client, address: str) -> bytes:
    """Return the whole body of a response, a workbook unpacked."""
    response: Any = client.get(address)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    if body.startswith(b"PK"):
        import io
        import zipfile

        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            return b"".join(archive.read(name) for name in archive.namelist())
    return bytes(body)


def test_without_the_right_no_path_has_a_name_an_address_or_a_pseudonym(source: Source) -> None:
    token, viewer = create_api_client("usage:read", "sync:read", "mirror:read", "sync:run"), sign_in_as()
    page_requests = [*((viewer, address) for address in iterate_page_addresses(source))]
    api_requests = [
        (client, f"{API}/{address}") for client in (token, viewer) for address in iterate_api_addresses(source)
    ]
    for client, address in (*api_requests, *page_requests):
        body = read_content(client, address)
        for personal_text in (NAME, "Ada", EMAIL, PSEUDONYM):
            assert personal_text.encode() not in body.replace(b"part=ada", b""), (address, personal_text)


@pytest.mark.parametrize(("setting", "expected"), [("name", NAME), ("email", EMAIL), ("pseudonym", PSEUDONYM)])
def test_with_the_right_every_path_has_what_the_setting_says_and_nothing_else(
    source: Source, settings: Any, setting: str, expected: str
) -> None:
    settings.PORTAL_PERSON_NAMES = setting
    token, administrator = create_api_client("usage:read", "person:read"), sign_in_as("administrator")
    # The API reads the setting in one place; that a signed-in person has the right there too, the first setting shows.
    callers = (token, administrator) if setting == "name" else (token,)
    api_requests = [(client, f"{API}/{address}") for client in callers for address in iterate_api_addresses(source)]
    for client, address in (*api_requests, *((administrator, address) for address in iterate_page_addresses(source))):
        body = read_content(client, address)
        searched_by_name = "part=ada" in address
        if not searched_by_name or setting != "pseudonym":
            assert expected.encode() in body, address
        for hidden in {NAME, EMAIL, PSEUDONYM} - {expected}:
            assert hidden.encode() not in body, (address, hidden)


@pytest.mark.parametrize("name", ["user_name", "user_name__contains"])
def test_people_are_found_by_name_only_with_the_right(source: Source, settings: Any, name: str) -> None:
    address, query = f"{API}/environment-usage/", {name: NAME}
    assert get_problem_details(create_api_client().get(address, query))[name] == [
        "The token lacks the scope person:read."
    ]
    viewer = sign_in_as()
    assert get_problem_details(viewer.get(address, query))[name] == ["You lack the permission usage.view_person."]
    fields = get_problem_details(create_api_client().get(address, {"fields": "user_name"}))["fields"]
    assert fields == ["“user_name” is not shown: The token lacks the scope person:read."]
    response = viewer.get(reverse("admin:usage_environmentusage_changelist"), query)
    assert response.status_code == 400
    allowed_client = create_api_client("usage:read", "person:read")
    assert len(allowed_client.get(address, query).json()["results"]) == 1
    settings.PORTAL_PERSON_NAMES = "pseudonym"
    assert allowed_client.get(address, query).json()["results"] == [], "what is not shown is not searched"
    assert len(allowed_client.get(address, {name: PSEUDONYM}).json()["results"]) == 1
    assert not create_api_client().get(f"{API}/directory/", {"name__contains": "Lovelace"}).json()["results"]


def test_the_right_is_an_administrators_and_a_group_can_give_it(source: Source) -> None:
    assert [role for role, codes in ROLES.items() if "usage.view_person" in codes] == ["administrator"]
    viewer = create_person()
    group = Group.objects.create(name="finance")
    group.permissions.add(Permission.objects.get(codename="view_person"))
    viewer.groups.add(group)
    client = Client()
    client.force_login(viewer)
    page = client.get(reverse("admin:usage_environmentusage_changelist"), {"from": ""}).content.decode()
    assert NAME in page
    assert "Payments" in page
    assert "person:read" in Scope.values


def test_a_shared_view_that_names_a_person_is_for_those_who_may_see_names(source: Source) -> None:
    owner = create_person("administrator")
    SavedView.objects.create(
        owner=owner, name="Of Ada", kind="environment-usage", question=urlencode({"user_name": NAME}), shared=True
    )
    explore = reverse("admin:explore")
    assert "Of Ada" not in sign_in_as().get(explore, follow=True).content.decode()
    assert "Of Ada" in sign_in_as("administrator").get(explore, follow=True).content.decode()


def test_other_names_need_no_right(source: Source) -> None:
    for address in iterate_api_addresses(source):
        if "fields" not in address and "user_id" not in address:
            assert b"Payments" in read_content(
                create_api_client(), f"{API}/{address.replace('kind=user', 'kind=project')}"
            )
    explore = (
        f"{reverse('admin:explore')}?{urlencode({'kind': 'environment-usage', **RANGE, 'group_by': 'project_id'})}"
    )
    assert b"Payments" in read_content(sign_in_as(), explore)
