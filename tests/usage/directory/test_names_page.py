"""The page of names: found by a part, people only for those who may see them, sources within the row scope."""

from typing import Any

import pytest
from django.test import Client

from tests.support.factories import SourceFactory
from tests.support.users import sign_in_as
from tests.usage.directory.conftest import create_name
from usage.models import DirectoryEntry, NameKind, Source

pytestmark = pytest.mark.django_db
PAGE = "/admin/usage/directoryentry/"


def list_names(client: Client, **params: str) -> set[str]:
    """Return the first column of the list."""
    response: Any = client.get(PAGE, params)
    assert response.status_code == 200
    return {str(row.shown or row.vendor_id) for row in response.context["cl"].result_list}


def test_names_are_filtered_and_found_by_a_part(source: Source) -> None:
    client = sign_in_as("administrator")
    assert list_names(client, kind="project") == {"Payments", "=SUM(1)"}
    assert list_names(client, q="lovel") == {"Ada Lovelace"}
    assert list_names(client, q="p1") == {"Payments"}
    DirectoryEntry.objects.filter(vendor_id="p1").update(gone_at="2026-11-01T00:00:00Z")
    assert list_names(client, gone="yes") == {"Payments"}


@pytest.mark.parametrize(("parameter", "known"), [("kind", "team"), ("gone", "no, yes")])
def test_a_filter_that_no_name_can_have_is_refused_with_those_there_are(
    source: Source, parameter: str, known: str
) -> None:
    response: Any = sign_in_as("viewer").get(PAGE, {parameter: "planet"}, follow=True)

    assert response.redirect_chain
    (message,) = map(str, response.context["messages"])
    assert message.startswith("“planet” is not one of: ")
    assert known in message


@pytest.mark.parametrize("setting", ["name", "email", "pseudonym"])
def test_people_are_named_as_the_setting_says_and_only_where_it_is_permitted(
    source: Source, settings: Any, setting: str
) -> None:
    settings.PORTAL_PERSON_NAMES = setting
    entry = DirectoryEntry.objects.get(vendor_id="u1")
    parts = {"name": "Ada Lovelace", "email": "u1@example.com", "pseudonym": "Wordu1"}
    administrator, viewer = sign_in_as("administrator"), sign_in_as("viewer")

    for address in (PAGE, f"{PAGE}{entry.pk}/change/"):
        page = administrator.get(address).content.decode()
        assert [part for part in parts.values() if part in page] == [parts[setting]]
        page = viewer.get(address).content.decode()
        assert [part for part in parts.values() if part in page] == []
    assert list_names(viewer, q=parts[setting][:4]) == set()


def test_a_name_leads_to_its_usage_and_its_teams(source: Source) -> None:
    client = sign_in_as("administrator")
    user = DirectoryEntry.objects.get(vendor_id="u1")

    page = client.get(f"{PAGE}{user.pk}/change/").content.decode()

    assert "user_id=u1" in page
    assert "Checkout" in page
    assert "Data" in page


def test_names_of_another_source_are_not_shown(source: Source) -> None:
    other_source = SourceFactory(slug="zebra", vendor="ona")
    hidden_name = create_name(other_source, NameKind.PROJECT, "p9", "Hidden project")
    client = sign_in_as("viewer", sources=[source])

    assert "Hidden project" not in list_names(client)
    assert client.get(f"{PAGE}{hidden_name.pk}/change/").status_code == 404


@pytest.mark.django_db(transaction=True)  # a file is read on a connection of its own
def test_a_file_of_names_has_those_of_people_only_where_it_is_permitted(source: Source) -> None:
    for role, expected in (("administrator", True), ("viewer", False)):
        file = sign_in_as(role).get(f"{PAGE}export/", {"format": "csv"}).getvalue().decode()
        assert "Payments" in file
        assert ("Ada Lovelace" in file) is expected
        assert "u1@example.com" not in file
        assert "Wordu1" not in file
