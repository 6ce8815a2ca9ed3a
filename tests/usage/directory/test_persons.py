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
from tests.support.api_clients import API, bearer, refused
from tests.support.database import commit_rows
from tests.support.factories import EnvironmentUsageFactory, SourceFactory
from tests.support.source_days import hold_days
from tests.support.users import client_of, person
from usage.directory.access import NO_PEOPLE
from usage.directory.lookup import select_entries
from usage.models import DirectoryEntry, NameKind, SavedView, Source

pytestmark = pytest.mark.django_db
NAME, EMAIL, WORD = "Ada Lovelace", "ada@example.com", "Kolibatumi"
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
    made: Source = SourceFactory(slug="main", vendor="ona")
    DirectoryEntry.objects.create(
        source=made, kind=NameKind.USER, vendor_id="u-1", name=NAME, email=EMAIL, pseudonym=WORD, team_ids=["t-1"]
    )
    DirectoryEntry.objects.create(source=made, kind=NameKind.PROJECT, vendor_id="p-1", name="Payments")
    DirectoryEntry.objects.create(source=made, kind=NameKind.TEAM, vendor_id="t-1", name="Checkout")
    EnvironmentUsageFactory(source=made, project_id="p-1", user_id="u-1")
    hold_days(rolled=True)
    return made


def test_hidden_names_of_people_are_entries_of_nothing(source: Source) -> None:
    assert not select_entries(NameKind.USER, NO_PEOPLE).exists()
    assert select_entries(NameKind.PROJECT, NO_PEOPLE).get().name == "Payments"


def api_addresses(source: Source) -> Iterator[str]:
    """Yield addresses of the API that may hold the name of a person."""
    key = EnvironmentUsageFactory._meta.model.objects.get().pk
    fields = "user_id,user_name,project_name"
    yield f"environment-usage/?{urlencode({'fields': fields})}"
    yield f"environment-usage/{key}/?{urlencode({'fields': fields})}"
    for file in ("csv", "ndjson", "xlsx", "parquet"):
        yield f"environment-usage/?{urlencode({'fields': fields, 'format': file})}"
    yield f"environment-usage/summary/?{urlencode({**RANGE, 'group_by': 'user_id'})}"
    yield f"environment-usage/summary/?{urlencode({**RANGE, 'group_by': 'user_id,team,day', 'limit': 1})}"
    yield "directory/"
    yield "directory/?kind=user"


def page_addresses(source: Source) -> Iterator[str]:
    """Yield addresses of pages that may hold the name of a person."""
    key = EnvironmentUsageFactory._meta.model.objects.get().pk
    listed = reverse("admin:usage_environmentusage_changelist")
    yield f"{listed}?user_id=u-1"
    yield reverse("admin:usage_environmentusage_change", args=[key])
    for file in ("csv", "ndjson", "parquet"):
        yield f"{listed}export/?names=1&format={file}"
    for part in ("", "ada", "u-1"):
        yield f"{listed}suggest/user_id/?{urlencode({'part': part, **RANGE})}"
    asked = {"kind": "environment-usage", **RANGE, "group_by": "user_id"}
    yield f"{reverse('admin:explore')}?{urlencode(asked)}"
    yield f"{reverse('admin:explore')}?{urlencode({**asked, 'group_by': 'user_id,day'})}"
    for file in ("csv", "xlsx"):
        yield f"{reverse('admin:explore_export')}?{urlencode({**asked, 'format': file})}"


def content(client: Client, address: str) -> bytes:
    """Return the whole body of an answer, a workbook unpacked."""
    answer: Any = client.get(address)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    if body.startswith(b"PK"):
        import io
        import zipfile

        with zipfile.ZipFile(io.BytesIO(body)) as file:
            return b"".join(file.read(name) for name in file.namelist())
    return bytes(body)


def test_without_the_right_no_path_has_a_name_an_address_or_a_pseudonym(source: Source) -> None:
    token, viewer = bearer("usage:read", "sync:read", "mirror:read", "sync:run"), client_of()
    pages = [*((viewer, address) for address in page_addresses(source))]
    asked = [(client, f"{API}/{address}") for client in (token, viewer) for address in api_addresses(source)]
    for client, address in (*asked, *pages):
        body = content(client, address)
        for secret in (NAME, "Ada", EMAIL, WORD):
            assert secret.encode() not in body.replace(b"part=ada", b""), (address, secret)


@pytest.mark.parametrize(("setting", "shown"), [("name", NAME), ("email", EMAIL), ("pseudonym", WORD)])
def test_with_the_right_every_path_has_what_the_setting_says_and_nothing_else(
    source: Source, settings: Any, setting: str, shown: str
) -> None:
    settings.PORTAL_PERSON_NAMES = setting
    token, boss = bearer("usage:read", "person:read"), client_of("administrator")
    # Which of the three it is, the API asks in one place; that a person has the right there as well, the first shows.
    callers = (token, boss) if setting == "name" else (token,)
    asked = [(client, f"{API}/{address}") for client in callers for address in api_addresses(source)]
    for client, address in (*asked, *((boss, address) for address in page_addresses(source))):
        body = content(client, address)
        searched_by_name = "part=ada" in address
        if not searched_by_name or setting != "pseudonym":
            assert shown.encode() in body, address
        for other in {NAME, EMAIL, WORD} - {shown}:
            assert other.encode() not in body, (address, other)


@pytest.mark.parametrize("name", ["user_name", "user_name__contains"])
def test_people_are_found_by_name_only_with_the_right(source: Source, settings: Any, name: str) -> None:
    address, query = f"{API}/environment-usage/", {name: NAME}
    assert refused(bearer().get(address, query))[name] == ["The token lacks the scope person:read."]
    viewer = client_of()
    assert refused(viewer.get(address, query))[name] == ["You lack the permission usage.view_person."]
    fields = refused(bearer().get(address, {"fields": "user_name"}))["fields"]
    assert fields == ["“user_name” is not shown: The token lacks the scope person:read."]
    listed = viewer.get(reverse("admin:usage_environmentusage_changelist"), query)
    assert listed.status_code == 400
    allowed = bearer("usage:read", "person:read")
    assert len(allowed.get(address, query).json()["results"]) == 1
    settings.PORTAL_PERSON_NAMES = "pseudonym"
    assert allowed.get(address, query).json()["results"] == [], "what is not shown is not searched"
    assert len(allowed.get(address, {name: WORD}).json()["results"]) == 1
    assert not bearer().get(f"{API}/directory/", {"name__contains": "Lovelace"}).json()["results"]


def test_the_right_is_an_administrators_and_a_group_can_give_it(source: Source) -> None:
    assert [role for role, codes in ROLES.items() if "usage.view_person" in codes] == ["administrator"]
    viewer = person()
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
    owner = person("administrator")
    SavedView.objects.create(
        owner=owner, name="Of Ada", kind="environment-usage", question=urlencode({"user_name": NAME}), shared=True
    )
    explore = reverse("admin:explore")
    assert "Of Ada" not in client_of().get(explore, follow=True).content.decode()
    assert "Of Ada" in client_of("administrator").get(explore, follow=True).content.decode()


def test_other_names_need_no_right(source: Source) -> None:
    for address in api_addresses(source):
        if "fields" not in address and "user_id" not in address:
            assert b"Payments" in content(bearer(), f"{API}/{address.replace('kind=user', 'kind=project')}")
    explore = (
        f"{reverse('admin:explore')}?{urlencode({'kind': 'environment-usage', **RANGE, 'group_by': 'project_id'})}"
    )
    assert b"Payments" in content(client_of(), explore)
