"""The second factor: of whom the settings require it, and codes that are taken once."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from allauth.mfa.base import forms as mfa_forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.test import Client, override_settings

from portal.accounts.forms import build_code_key
from portal.accounts.models import create_token
from tests.portal.accounts.test_oidc import build_settings
from tests.portal.accounts.test_oidc import sign_in as sign_in_through_provider
from tests.support.openid_provider import Identity, run_provider
from tests.support.users import PASSWORD, compute_totp, create_person, sign_in_as

pytestmark = pytest.mark.django_db
ACTIVATE = "/accounts/2fa/totp/activate/"
SECRET = "JBSWY3DPEHPK3PXP"


def is_sent_to_set_up(client: Any) -> bool:
    response = client.get("/admin/")
    assert response.status_code in {200, 302}
    return bool(response.status_code == 302 and response.url == ACTIVATE)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("optional", set()),
        ("administrators", {"administrator", "admin"}),
        ("all", {"viewer", "operator", "administrator", "admin"}),
    ],
)
def test_the_setting_says_of_whom_it_is_required(setting: str, expected: set[str]) -> None:
    with override_settings(PORTAL_SECOND_FACTOR=setting):
        roles = {
            role for role in ("viewer", "operator", "administrator", "admin") if is_sent_to_set_up(sign_in_as(role))
        }
    assert roles == expected


def test_a_group_of_their_own_that_may_change_sources_makes_an_administrator() -> None:
    user = create_person("viewer")
    group = Group.objects.create(name="keepers")
    group.permissions.add(Permission.objects.get(codename="change_source"))
    user.groups.add(group)
    client = Client()
    client.force_login(user)
    with override_settings(PORTAL_SECOND_FACTOR="administrators"):
        assert is_sent_to_set_up(client)


def test_who_lacks_it_reaches_nothing_but_the_page_that_sets_it_up() -> None:
    client: Any = Client()
    create_person("viewer")
    client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD})
    with override_settings(PORTAL_SECOND_FACTOR="all"):
        for address in ("/admin/usage/source/", "/admin/explore/", "/admin/documentation/docs/index.md"):
            assert client.get(address).url == ACTIVATE
            assert client.post(address).url == ACTIVATE
        api_response = client.get("/api/v1/sources/")
        assert (api_response.status_code, api_response["Content-Type"]) == (403, "application/problem+json")
        assert "needs a second factor" in api_response.json()["detail"]
        assert client.get("/admin/", headers={"HX-Request": "true"})["HX-Redirect"] == ACTIVATE

        response = client.get(ACTIVATE)
        client.post(response.url, {"password": PASSWORD})
        form = client.get(ACTIVATE)
        assert "Your account needs a second factor before you go on." in form.content.decode()
        client.post(ACTIVATE, {"code": compute_totp(form.context["form"].secret)})
        assert client.get("/admin/").status_code == 200
        assert client.get("/api/v1/sources/").status_code == 200
        refusal = client.post("/accounts/2fa/totp/deactivate/")
        assert "cannot deactivate" in refusal.content.decode()
    assert Authenticator.objects.filter(type="totp").exists()


def test_who_lacks_it_may_sign_out() -> None:
    client: Any = sign_in_as("viewer")
    with override_settings(PORTAL_SECOND_FACTOR="all"):
        assert client.post("/admin/logout/").url == "/accounts/login/"


def test_a_programs_token_needs_none() -> None:
    _, secret = create_token("program", ["sync:read"])
    client = sign_in_as("viewer")
    with override_settings(PORTAL_SECOND_FACTOR="all"):
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/api/v1/sources/", headers=headers).status_code == 200


@pytest.fixture
def identity() -> Iterator[Identity]:
    claims = {"email": "sam@example.com", "email_verified": True, "preferred_username": "sam", "groups": ["viewer"]}
    with run_provider(**claims) as identity:
        variables = build_settings(identity, PORTAL_OIDC_GROUPS_CLAIM="groups", PORTAL_SECOND_FACTOR="all")
        with override_settings(**variables):
            yield identity


@pytest.mark.parametrize(("trusted", "is_required"), [(False, True), (True, False)])
def test_the_provider_may_ask_for_it_in_place_of_the_portal(
    identity: Identity, trusted: bool, is_required: bool
) -> None:
    client: Any = Client()
    with override_settings(PORTAL_OIDC_SECOND_FACTOR=trusted):
        sign_in_through_provider(client)
        assert is_sent_to_set_up(client) is is_required
        assert is_sent_to_set_up(sign_in_as("viewer")), "who signs in with a password needs it all the same"


def test_the_code_that_set_up_the_app_opens_nothing_afterwards() -> None:
    client: Any = Client()
    create_person("viewer")
    client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD})
    client.post(client.get(ACTIVATE).url, {"password": PASSWORD})
    code = compute_totp(client.get(ACTIVATE).context["form"].secret)
    assert client.post(ACTIVATE, {"code": code}).status_code == 302

    for entry in (code, f"{code[:3]} {code[3:]}"):
        second_client: Any = Client()
        url = second_client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD}).url
        assert "Incorrect code" in second_client.post(url, {"code": entry}).content.decode()


def test_a_code_is_taken_once_as_long_as_it_is_valid() -> None:
    user = create_person("viewer")
    TOTP.activate(user, SECRET)
    with time_machine.travel(time.time() // 30 * 30, tick=False) as clock:
        first: Any = Client()
        url = first.post("/accounts/login/", {"login": "viewer", "password": PASSWORD}).url
        code = format_hotp_value(hotp_value(SECRET, max(yield_hotp_counters_from_time())))
        assert first.post(url, {"code": code}).status_code == 302
        clock.shift(50)
        cache.delete(f"allauth.mfa.totp.used?user={user.pk}&code={code}")  # allauth's own note, which lasts for 30 s
        second: Any = Client()
        second.post("/accounts/login/", {"login": "viewer", "password": PASSWORD})
        assert "Incorrect code" in second.post(url, {"code": code}).content.decode()


def test_of_two_requests_with_the_same_code_at_once_one_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    user = create_person("viewer")
    TOTP.activate(user, SECRET)
    clean_code = mfa_forms.AuthenticateForm.clean_code

    def come_second(form: Any) -> str:
        code: str = clean_code(form)
        cache.add(build_code_key(user, code), "used", 60)  # by the other request, which has looked for it before too
        return code

    monkeypatch.setattr(mfa_forms.AuthenticateForm, "clean_code", come_second)
    client: Any = Client()
    url = client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD}).url
    code = format_hotp_value(hotp_value(SECRET, max(yield_hotp_counters_from_time())))
    assert "Incorrect code" in client.post(url, {"code": code}).content.decode()
    assert client.get("/admin/").status_code == 302
