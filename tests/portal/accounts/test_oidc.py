"""Signing in through an OpenID provider, over real HTTP: who may, as which user, in which roles."""

import http.client
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client, override_settings

from portal import checks
from portal.accounts.roles import ROLES, create_roles
from tests.support.openid_provider import CLIENT_ID, CLIENT_SECRET, Identity, generate_key, run_provider
from tests.support.users import create_person

pytestmark = pytest.mark.django_db
BEGIN = "/accounts/oidc/sso/login/"
FAILED = "did not understand each other"


def build_settings(identity: Identity, **overrides: Any) -> dict[str, Any]:
    """Return the settings for a provider, as portal/settings.py builds them."""
    app = {
        "provider_id": "sso",
        "name": "Example ID",
        "client_id": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "settings": {"server_url": identity.issuer},
    }
    providers = {"openid_connect": {**settings.SOCIALACCOUNT_PROVIDERS["openid_connect"], "APPS": [app]}}
    return {
        "PORTAL_OIDC_ISSUER": identity.issuer,
        "PORTAL_OIDC_CLIENT_ID": CLIENT_ID,
        "PORTAL_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "PORTAL_OIDC_NAME": "Example ID",
        "SOCIALACCOUNT_PROVIDERS": providers,
        **overrides,
    }


@pytest.fixture
def identity() -> Iterator[Identity]:
    cache.clear()
    create_roles()
    claims = {"email": "sam@example.com", "email_verified": True, "preferred_username": "sam", "name": "Sam Smith"}
    with run_provider(**claims) as identity, override_settings(**build_settings(identity)):
        yield identity


def start_sign_in(client: Any, next_page: str = "") -> str:
    """Start to sign in; return the URL that the browser is redirected to."""
    response: Any = client.get(BEGIN, {"next": next_page} if next_page else {})
    assert response.status_code == 302, response.content.decode()
    return str(response.url)


def get_callback(address: str) -> str:
    """Let the user agree at the provider; return the URL of the callback."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80)
    connection.request("GET", f"{parts.path}?{parts.query}")
    response = connection.getresponse()
    connection.close()
    back = urlsplit(response.headers["Location"])
    return f"{back.path}?{back.query}"


def sign_in(client: Any, next_page: str = "") -> Any:
    """Sign in through the provider, from start to end."""
    return client.get(get_callback(start_sign_in(client, next_page)))


def test_who_comes_for_the_first_time_gets_an_account_that_may_do_nothing_yet(identity: Identity) -> None:
    client: Any = Client()
    assert "Sign in with Example ID" in client.get("/accounts/login/").content.decode()
    response = sign_in(client, "/admin/usage/source/")
    assert (response.status_code, response.url) == (302, "/admin/usage/source/")
    user = User.objects.get()
    assert (user.username, user.email, user.first_name) == ("sam", "sam@example.com", "Sam")
    assert (user.is_staff, user.is_superuser, user.has_usable_password()) == (True, False, False)
    assert user.get_all_permissions() == set()
    page = client.get("/admin/", follow=True)
    assert page.status_code == 403
    assert "Ask an administrator" in page.content.decode()


def test_the_same_person_comes_back_to_the_same_account_even_under_another_address(identity: Identity) -> None:
    sign_in(Client())
    identity.person |= {"email": "samantha@example.com", "preferred_username": "samantha"}
    sign_in(Client())
    assert User.objects.count() == SocialAccount.objects.count() == 1


def test_nothing_is_kept_that_opens_the_provider(identity: Identity) -> None:
    identity.info["phone_number"] = "+49 30 1234"
    sign_in(Client())
    assert not SocialToken.objects.exists()
    account_data = SocialAccount.objects.get().extra_data
    assert "phone_number" not in account_data
    assert account_data["email"] == "sam@example.com"


def test_the_question_carries_a_challenge_a_state_and_a_nonce_and_nothing_of_the_address(identity: Identity) -> None:
    client: Any = Client()
    forced = "auth_params=redirect_uri%3Dhttps://evil.example.com%26nonce%3D1&scope=admin&process=connect"
    params = parse_qs(urlsplit(client.get(f"{BEGIN}?{forced}").url).query)
    assert params["code_challenge_method"] == ["S256"]
    assert set(params["scope"][0].split()) == {"openid", "profile", "email"}
    assert params["redirect_uri"] == ["http://testserver/accounts/oidc/sso/login/callback/"]
    assert len(params["nonce"][0]) >= 16
    assert len(params["state"][0]) >= 16


def test_an_answer_with_a_wrong_state_is_refused(identity: Identity) -> None:
    client: Any = Client()
    back = get_callback(start_sign_in(client))
    for url in (back.replace("state=", "state=x"), back.split("&state=")[0]):
        response = client.get(url)
        assert response.status_code == 401
        assert FAILED in response.content.decode()
    assert not User.objects.exists()


def test_an_answer_that_another_browser_has_asked_for_is_refused(identity: Identity) -> None:
    back = get_callback(start_sign_in(Client()))
    assert Client().get(back).status_code == 401
    assert not User.objects.exists()


def test_an_answer_is_taken_once(identity: Identity) -> None:
    client: Any = Client()
    back = get_callback(start_sign_in(client))
    assert client.get(back).status_code == 302
    assert Client().get(back).status_code == 401


def test_a_stolen_code_opens_nothing_without_the_verifier(identity: Identity) -> None:
    """The attacker brings their own state and nonce, and a code that was given for someone else's question."""
    attacker: Any = Client()
    state = parse_qs(urlsplit(start_sign_in(attacker)).query)["state"][0]
    get_callback(start_sign_in(Client()))  # the victim's, whose code is stolen
    assert (
        attacker.get("/accounts/oidc/sso/login/callback/", {"code": identity.code, "state": state}).status_code == 401
    )
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("token", {"nonce": "of-another-question"}),
        ("token", {"nonce": None}),
        ("token", {"iss": "https://other.example.com"}),
        ("token", {"aud": "another-client"}),
        ("token", {"exp": 1}),
        ("token", {"sub": "someone-else"}),
        ("info", {"sub": "someone-else"}),
        ("config", {"issuer": "https://other.example.com"}),
        ("config", {"token_endpoint": "http://evil.example.com/token"}),
    ],
)
def test_an_answer_that_does_not_hold_is_refused(identity: Identity, attribute: str, value: dict[str, Any]) -> None:
    client: Any = Client()
    if attribute == "config":
        identity.config = value
        response = client.get(BEGIN)
    else:
        setattr(identity, attribute, value)
        response = sign_in(client)
    assert response.status_code == 401
    assert FAILED in response.content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize(("key", "algorithm"), [("another", "RS256"), (CLIENT_SECRET * 2, "HS256"), ("", "none")])
def test_a_token_that_the_provider_has_not_signed_is_refused(identity: Identity, key: str, algorithm: str) -> None:
    identity.signing_key = generate_key() if key == "another" else key or None
    identity.algorithm = algorithm
    if algorithm == "none":
        identity.signing_key = ""
    assert sign_in(Client()).status_code == 401
    assert not User.objects.exists()


def test_a_provider_that_does_not_answer_is_told_plainly(identity: Identity) -> None:
    with override_settings(**build_settings(Identity(issuer="http://127.0.0.1:9"))):
        response = Client().get(BEGIN)
    assert response.status_code == 401
    assert FAILED in response.content.decode()


@pytest.mark.parametrize(("seconds", "status"), [(50, 302), (75, 401)])
@pytest.mark.parametrize("claim", ["iat", "nbf", "exp"])
def test_the_providers_clock_may_differ_by_a_minute(identity: Identity, claim: str, seconds: int, status: int) -> None:
    identity.token = {claim: int(time.time()) + (-seconds if claim == "exp" else seconds)}
    assert sign_in(Client()).status_code == status


@pytest.mark.parametrize("missing", ["iat", "exp", "aud", "iss", "nonce"])
def test_a_token_that_lacks_a_claim_is_refused(identity: Identity, missing: str) -> None:
    identity.omitted_name = missing
    assert sign_in(Client()).status_code == 401
    assert not User.objects.exists()


def test_a_provider_without_user_info_says_who_it_is_in_the_id_token(identity: Identity) -> None:
    identity.omitted_name = "userinfo_endpoint"
    identity.token = {"email": "pat@example.com", "email_verified": True, "preferred_username": "pat"}
    assert sign_in(Client()).status_code == 302
    assert (User.objects.get().username, User.objects.get().email) == ("pat", "pat@example.com")


def test_an_answer_without_an_id_token_is_refused(identity: Identity) -> None:
    identity.omitted_name = "id_token"
    assert sign_in(Client()).status_code == 401
    assert not User.objects.exists()


def test_a_provider_that_takes_the_secret_in_the_header_alone_gets_it_there(identity: Identity) -> None:
    identity.config = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    assert sign_in(Client()).status_code == 302


def test_who_cancels_at_the_provider_is_told_so(identity: Identity) -> None:
    client: Any = Client()
    state = parse_qs(urlsplit(start_sign_in(client)).query)["state"][0]
    response = client.get("/accounts/oidc/sso/login/callback/", {"error": "access_denied", "state": state})
    assert response.url == "/accounts/oidc/cancelled/"
    assert client.get("/accounts/oidc/sso/login/callback/", {"error": "access_denied"}).status_code == 401


def test_a_page_of_another_site_is_not_where_signing_in_leads(identity: Identity) -> None:
    assert sign_in(Client(), "https://evil.example.com/").url == "/admin/"


def test_another_site_cannot_begin_a_sign_in(identity: Identity) -> None:
    response: Any = Client().get(BEGIN, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.url == "/accounts/login/"


def test_without_a_provider_there_is_no_such_address() -> None:
    assert Client().get(BEGIN).status_code == 404
    assert "or with a password" not in Client().get("/accounts/login/").content.decode()


def test_a_verified_address_opens_the_local_account_and_its_password_is_put_away(identity: Identity) -> None:
    local = create_person("viewer")
    User.objects.filter(pk=local.pk).update(email="Sam@Example.com")
    client: Any = Client()
    assert sign_in(client).url == "/admin/"
    assert client.get("/admin/").status_code == 200
    assert User.objects.get() == local
    assert set(local.groups.values_list("name", flat=True)) == {"viewer"}
    assert SocialAccount.objects.get().user == local


@pytest.mark.parametrize("verified", [False, "false", None])
def test_an_address_that_is_not_verified_opens_no_local_account(identity: Identity, verified: Any) -> None:
    local = create_person("viewer")
    User.objects.filter(pk=local.pk).update(email="sam@example.com")
    identity.person["email_verified"] = verified
    sign_in(Client())
    new = User.objects.exclude(pk=local.pk).get()
    assert (new.email, new.get_all_permissions()) == ("", set())
    assert SocialAccount.objects.get().user == new


def test_a_superuser_is_never_taken_over(identity: Identity) -> None:
    chief = User.objects.create_superuser("chief", "sam@example.com", "long-enough-password")
    response = sign_in(Client())
    assert response.status_code == 403
    assert "Sign in with its user name and password" in response.content.decode()
    assert not SocialAccount.objects.exists()
    assert User.objects.get() == chief
    assert chief.has_usable_password()


def test_who_is_switched_off_does_not_come_in(identity: Identity) -> None:
    sign_in(Client())
    User.objects.update(is_active=False)
    client: Any = Client()
    response = sign_in(client)
    assert response.url == "/accounts/inactive/"
    assert client.get("/admin/").status_code == 302


def test_only_addresses_of_the_named_domains_come_in(identity: Identity) -> None:
    with override_settings(PORTAL_OIDC_DOMAINS=["Example.com"]):
        assert sign_in(Client()).status_code == 302
    with override_settings(PORTAL_OIDC_DOMAINS=["example.org"]):
        response = sign_in(Client())  # also who came in before
        assert response.status_code == 403
        assert "Only people with an address of example.org" in response.content.decode()
    identity.person |= {"sub": "person-2", "email": "sam@evil-example.com"}
    with override_settings(PORTAL_OIDC_DOMAINS=["example.com"]):
        assert sign_in(Client()).status_code == 403
    identity.person |= {"email": "pat@example.com", "email_verified": False}
    with override_settings(PORTAL_OIDC_DOMAINS=["example.com"]):
        assert "has not confirmed" in sign_in(Client()).content.decode()
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("issuer", "https", "is_valid"),
    [
        ("https://login.example.com/company", True, True),
        ("http://login.example.com", False, False),
        ("http://127.0.0.1:9000", False, True),
        ("http://127.0.0.1:9000", True, False),
        ("login.example.com", False, False),
    ],
)
def test_the_issuer_is_asked_by_https_alone_save_on_this_machine(issuer: str, https: bool, is_valid: bool) -> None:
    variables = {"PORTAL_OIDC_ISSUER": issuer, "PORTAL_OIDC_CLIENT_ID": "x", "PORTAL_OIDC_CLIENT_SECRET": "y"}
    with override_settings(PORTAL_HTTPS=https, **variables):
        assert [message.id for message in checks.check_openid_provider()] == ([] if is_valid else ["portal.E010"])


def test_every_name_of_a_list_of_domains_is_a_domain() -> None:
    with override_settings(PORTAL_OIDC_DOMAINS=["example.com", "@example.com", "sub.example.org"]):
        (message,) = checks.check_openid_provider()
    assert (message.id, "'@example.com'" in message.msg) == ("portal.E023", True)


def test_a_role_that_there_is_not_is_refused_at_start_up() -> None:
    for groups, expected in ([["staff=viewer"], []], [["staff=chief"], ["portal.E012"]], [["staff"], ["portal.E012"]]):
        with override_settings(PORTAL_OIDC_GROUPS=groups):
            assert [message.id for message in checks.check_openid_provider()] == expected
    assert set(ROLES) == {"viewer", "operator", "administrator"}
