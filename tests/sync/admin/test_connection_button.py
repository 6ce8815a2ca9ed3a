"""The button that tests a connection: what it takes, shows and sends nowhere, and who may press it."""

import logging

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from tests.support.connection_tests import PATHS, create_source
from tests.support.connection_tests import loopback as loopback
from tests.support.factories import SourceDayFactory, SourceFactory
from tests.support.sandbox_server import SandboxServer
from tests.support.users import sign_in_as
from usage.models import Source

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]
NEW = "/admin/usage/source/test/"
TYPED = "typed-into-the-form"
HTMX = {"HX-Request": "true"}


def build_form_data(address: str, **values: str) -> dict[str, str]:
    """Return what the browser sends of a form that has little more than the fields a connection depends on."""
    return {"vendor": "ona", "base_url": address, "new_credential": "sandbox-key", "slug": "", **values}


@pytest.fixture
def administrator() -> Client:
    return sign_in_as("administrator")


def test_the_form_of_a_new_source_is_tested_before_anything_is_saved(
    administrator: Client, sandbox: SandboxServer
) -> None:
    response = administrator.post(NEW, build_form_data(sandbox.url + PATHS["ona"]), headers=HTMX)

    assert "The connection works." in response.content.decode()
    assert "<html" not in response.content.decode()
    assert not Source.objects.exists()
    assert not LogEntry.objects.exists()


def test_without_a_script_the_answer_is_a_page(administrator: Client, sandbox: SandboxServer) -> None:
    page = administrator.post(NEW, build_form_data(sandbox.url + PATHS["ona"])).content.decode()

    assert "<html" in page
    assert "The connection works." in page
    assert "Nothing was saved." in page


def test_a_typed_credential_is_nowhere_shown_or_logged(
    administrator: Client, sandbox: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = administrator.post(
            NEW, build_form_data(sandbox.url + PATHS["ona"], new_credential=TYPED), headers=HTMX
        )

    page = response.content.decode()
    assert "does not accept the credential" in page
    assert "Make a new key at the vendor" in page
    assert TYPED not in page
    assert TYPED not in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"new_credential": ""}, "Credential: Give either the credential or the name of an environment variable"),
        ({"base_url": "https://evil.example"}, "Base URL: evil.example is not one of this vendor"),
        ({"option_ona_requests_at_once": "99"}, "Requests at once: Ensure this value is less than or equal to 4"),
        ({"credential_env": "SECRET_KEY", "new_credential": ""}, "SECRET_KEY does not begin with PORTAL_VENDOR_"),
    ],
)
def test_what_is_missing_for_a_test_is_told_by_field_and_nobody_is_asked(
    administrator: Client, sandbox: SandboxServer, values: dict[str, str], message: str
) -> None:
    response = administrator.post(NEW, build_form_data(sandbox.url + PATHS["ona"], **values), headers=HTMX)

    page = response.content.decode().replace("&#x27;", "'")
    assert "Not tested." in page
    assert message in page
    assert not sandbox.stats.requests


def test_the_stored_credential_is_used_where_no_other_is_typed(administrator: Client, sandbox: SandboxServer) -> None:
    stored_source = create_source(f"{sandbox.url}/ona/elsewhere")
    SourceDayFactory(source=stored_source)
    address = reverse("admin:usage_source_test", args=[stored_source.pk])

    success = administrator.post(address, build_form_data(sandbox.url + PATHS["ona"], new_credential=""), headers=HTMX)
    failure = administrator.post(
        address, build_form_data(sandbox.url + PATHS["ona"], new_credential=TYPED), headers=HTMX
    )

    assert "The connection works." in success.content.decode()
    assert "The connection does not work." in failure.content.decode()
    stored_source.refresh_from_db()
    assert (stored_source.base_url, stored_source.credential) == (f"{sandbox.url}/ona/elsewhere", "sandbox-key")
    assert [entry.change_message for entry in LogEntry.objects.order_by("id")] == [
        "Tested the connection: it works.",
        "Tested the connection: it does not work.",
    ]


@pytest.mark.parametrize(
    ("stored_url", "values"),
    [("https://app.ona.com/api", {}), ("", {"vendor": "gcore"})],
    ids=["another origin", "another vendor"],
)
def test_a_stored_credential_is_sent_nowhere_but_where_it_was_given_for(
    administrator: Client, sandbox: SandboxServer, stored_url: str, values: dict[str, str]
) -> None:
    stored_source = create_source(stored_url or sandbox.url + PATHS["ona"])
    address = reverse("admin:usage_source_test", args=[stored_source.pk])
    form_data = build_form_data(sandbox.url + PATHS["ona"], new_credential="", **values)

    page = administrator.post(address, form_data, headers=HTMX).content.decode()

    assert "Credential: Enter the credential again, because it is now sent to another address." in page
    assert not sandbox.stats.requests


def test_a_variable_is_named_only_by_who_sees_all_sources(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_VENDOR_ANOTHERS", "sandbox-key")
    mine = create_source("https://app.ona.com/api", credential="")
    Source.objects.filter(pk=mine.pk).update(credential_env="PORTAL_VENDOR_MINE")
    client, address = sign_in_as("administrator", sources=[mine]), reverse("admin:usage_source_test", args=[mine.pk])

    form_data = build_form_data(sandbox.url + PATHS["ona"], new_credential="", credential_env="PORTAL_VENDOR_ANOTHERS")
    page = client.post(address, form_data, headers=HTMX).content.decode()

    assert "Base URL: The credential is in an environment variable" in page
    assert not sandbox.stats.requests
    assert (
        "PORTAL_VENDOR_MINE is not set"
        in client.post(address, {**form_data, "base_url": mine.base_url}).content.decode()
    )


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_who_may_change_a_source_may_test_it(role: str, sandbox: SandboxServer) -> None:
    stored_source, client = create_source(sandbox.url + PATHS["ona"]), sign_in_as(role)
    address = reverse("admin:usage_source_test", args=[stored_source.pk])

    assert client.post(address, build_form_data(stored_source.base_url)).status_code == 403
    assert client.post(NEW, build_form_data(stored_source.base_url)).status_code == 403
    assert "/test/" not in client.get(reverse("admin:usage_source_change", args=[stored_source.pk])).content.decode()
    assert not sandbox.stats.requests


def test_a_source_out_of_scope_does_not_exist_for_the_test(sandbox: SandboxServer) -> None:
    mine, other_source = SourceFactory(slug="mine"), create_source(sandbox.url + PATHS["ona"])
    client = sign_in_as("administrator", sources=[mine])

    response = client.post(
        reverse("admin:usage_source_test", args=[other_source.pk]), build_form_data(other_source.base_url)
    )

    assert response.status_code == 404
    assert client.post(NEW, build_form_data(other_source.base_url)).status_code == 403
    assert not sandbox.stats.requests


def test_the_test_is_pressed_with_a_token_and_never_followed(administrator: Client) -> None:
    assert administrator.get(NEW).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = administrator.cookies
    assert strict.post(NEW, build_form_data("https://app.ona.com/api")).status_code == 403
