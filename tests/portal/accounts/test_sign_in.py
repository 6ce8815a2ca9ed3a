"""Signing in with a password: who gets in, who is told nothing, and what each may do with their own account."""

import logging
import re
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.contrib.auth.models import Group, User
from django.core import mail
from django.test import Client, override_settings

from tests.support.users import PASSWORD, compute_totp, create_person, sign_in_as

pytestmark = pytest.mark.django_db
SIGN_IN = "/accounts/login/"


def sign_in(client: Any, login: str, password: str = PASSWORD, **fields: str) -> Any:
    return client.post(SIGN_IN, {"login": login, "password": password, **fields})


def test_a_stranger_is_sent_to_sign_in_and_comes_back_to_the_page_they_asked_for(client: Any) -> None:
    create_person("viewer")
    response = client.get("/admin/usage/sourceday/", follow=True)
    assert response.redirect_chain[-1][0] == f"{SIGN_IN}?next=/admin/usage/sourceday/"
    assert 'name="next" value="/admin/usage/sourceday/"' in response.content.decode()
    redirect = sign_in(client, "viewer", next="/admin/usage/sourceday/")
    assert (redirect.status_code, redirect.url) == (302, "/admin/usage/sourceday/")
    assert client.get(redirect.url).status_code == 200


@pytest.mark.parametrize("login", ["viewer", "VIEWER@example.com"])
def test_a_person_signs_in_by_name_or_by_e_mail(client: Any, login: str) -> None:
    create_person("viewer")
    response = sign_in(client, login)
    assert (response.status_code, response.url) == (302, "/admin/")


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(client: Any) -> None:
    create_person("viewer")
    pages = [page_text(sign_in(client, login, "wrong-password")) for login in ("viewer", "nobody")]
    assert pages[0] == pages[1]
    assert "password you specified are not correct" in pages[0]


def page_text(response: Any) -> str:
    """Return a page without what differs each time, and without what the person typed."""
    assert response.status_code == 200
    return re.sub(r'(value=|"X-CSRFToken": )"[^"]*"', "", response.content.decode())


def test_guessing_is_slowed_down_even_for_someone_who_then_guesses_right(client: Any) -> None:
    create_person("viewer")
    for _ in range(5):
        sign_in(client, "viewer", "wrong-password")
    response = sign_in(client, "viewer")
    assert response.status_code == 200
    assert "Too many failed login attempts" in response.content.decode()


def test_nobody_signs_up_and_no_other_page_of_allauth_is_open(client: Any) -> None:
    for name in ("signup/", "email/", "3rdparty/", "password/set/", "social/signup/"):
        assert client.get(f"/accounts/{name}").status_code == 404, name
    assert client.get("/accounts/2fa/").status_code == 302


def test_a_way_back_to_a_forgotten_password_is_offered_only_where_mail_is_sent(client: Any) -> None:
    assert client.get("/accounts/password/reset/").status_code == 404
    assert "forgot" not in client.get(SIGN_IN).content.decode().replace("forgotten", "")
    viewer = sign_in_as("viewer")
    assert "/accounts/password/reset/" not in viewer.get("/accounts/password/change/").content.decode()
    with override_settings(PORTAL_EMAIL_URL="smtp://mail.example.com"):
        assert client.get("/accounts/password/reset/").status_code == 200
        assert "/accounts/password/reset/" in viewer.get("/accounts/password/change/").content.decode()
        assert "I forgot my password" in client.get(SIGN_IN).content.decode()


@override_settings(PORTAL_EMAIL_URL="smtp://mail.example.com")
def test_a_forgotten_password_is_set_anew_by_a_link_that_works_once(client: Any) -> None:
    create_person("viewer")
    assert client.post("/accounts/password/reset/", {"email": "viewer@example.com"}).status_code == 302
    [message] = mail.outbox
    address = urlsplit(re.search(r"https?://\S+", str(message.body))[0]).path
    form = client.get(address, follow=True)
    changed = {"password1": "another-good-phrase", "password2": "another-good-phrase"}
    client.post(form.redirect_chain[-1][0], changed)
    assert sign_in(client, "viewer", "another-good-phrase").url == "/admin/"
    client.logout()
    assert "This link is not valid" in Client().get(address, follow=True).content.decode()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What the portal's own handler of logs writes."""
    [handler] = [item for item in logging.getLogger().handlers if getattr(item, "of_portal", False)]
    stream = StringIO()
    monkeypatch.setattr(handler, "stream", stream)
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    return stream


def test_the_key_of_a_forgotten_password_is_in_no_log(client: Any, log: StringIO) -> None:
    create_person("viewer")
    with override_settings(PORTAL_EMAIL_URL="smtp://mail.example.com"):
        client.post("/accounts/password/reset/", {"email": "viewer@example.com"})
        address = urlsplit(re.search(r"https?://\S+", str(mail.outbox[0].body))[0]).path
        form = client.get(address, follow=True).redirect_chain[-1][0]
        client.get(address.removesuffix("/"))
        client.get("/accounts/password/reset/key/done/")
    assert client.get(address).status_code == 404  # of which Django writes a warning of its own
    secret = address.removeprefix("/accounts/password/reset/key/").strip("/")
    assert len(secret) > 20
    text = log.getvalue()
    assert secret not in text
    assert form not in text
    assert "Not Found: /accounts/password/reset/key/[hidden]" in text
    assert text.count("/accounts/password/reset/key/[hidden]") == 5
    assert "/accounts/password/reset/key/done/" in text


@override_settings(PORTAL_EMAIL_URL="smtp://mail.example.com")
def test_asking_for_a_new_password_tells_nobody_who_has_an_account(client: Any) -> None:
    through_provider = create_person("viewer")
    through_provider.set_unusable_password()
    through_provider.save()
    for email in ("viewer@example.com", "nobody@example.com"):
        response = client.post("/accounts/password/reset/", {"email": email})
        assert (response.status_code, response.url) == (302, "/accounts/password/reset/done/")
    assert mail.outbox == []


def test_a_person_changes_their_password_by_giving_the_old_one() -> None:
    client: Any = sign_in_as("viewer")
    assert client.get("/admin/password_change/", follow=True).redirect_chain[-1][0] == "/accounts/password/change/"
    new = {"password1": "another-good-phrase", "password2": "another-good-phrase"}
    assert client.post("/accounts/password/change/", {"oldpassword": "wrong", **new}).status_code == 200
    assert client.post("/accounts/password/change/", {"oldpassword": PASSWORD, **new}).url == "/admin/"
    assert User.objects.get().check_password("another-good-phrase")
    assert client.get("/admin/").status_code == 200  # still signed in


def test_who_signs_in_through_the_provider_has_no_password_to_change() -> None:
    user = create_person("viewer")
    user.set_unusable_password()
    user.save()
    client: Any = Client()
    client.force_login(user)
    assert client.get("/accounts/password/change/").status_code == 404


def test_signing_out_asks_for_a_button_and_leads_to_the_sign_in_page() -> None:
    client: Any = sign_in_as("viewer")
    assert client.get("/accounts/logout/").status_code == 200
    assert client.get("/admin/").status_code == 200
    response = client.post("/admin/logout/")
    assert (response.status_code, response.url) == (302, SIGN_IN)
    assert client.get("/admin/").status_code == 302


def test_someone_without_a_role_is_told_whom_to_ask(client: Any) -> None:
    user = create_person("viewer")
    user.groups.clear()
    client.force_login(user)
    for address in ("/admin/", "/admin/usage/source/"):
        page = client.get(address, follow=True)
        assert page.status_code == 403
        assert "Ask an administrator" in page.content.decode()
    user.groups.add(Group.objects.get(name="viewer"))
    assert client.get("/admin/").status_code == 200


def test_someone_who_is_switched_off_gets_in_no_more(client: Any) -> None:
    user = create_person("viewer")
    client.force_login(user)
    User.objects.update(is_active=False)
    assert client.get("/admin/").status_code == 302
    assert sign_in(Client(), "viewer").status_code in {200, 302}
    assert Client().get("/admin/").status_code == 302


def test_a_second_factor_is_set_up_asked_for_and_kept_encrypted() -> None:
    client: Any = Client()
    create_person("viewer")
    sign_in(client, "viewer")
    response = client.get("/accounts/2fa/totp/activate/")
    assert response.url.startswith("/accounts/reauthenticate/")  # a stolen session alone sets up nothing
    client.post(response.url, {"password": PASSWORD})
    form = client.get("/accounts/2fa/totp/activate/")
    secret = form.context["form"].secret
    assert f'value="{secret}"' in form.content.decode()
    client.post("/accounts/2fa/totp/activate/", {"code": compute_totp(secret)})
    authenticator = Authenticator.objects.get(type="totp")
    assert secret not in str(authenticator.data)

    second_client: Any = Client()
    response = sign_in(second_client, "viewer")
    assert response.url.startswith("/accounts/2fa/authenticate/")
    assert second_client.get("/admin/").status_code == 302
    assert second_client.post(response.url, {"code": "000000"}).status_code == 200
    codes = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    assert second_client.post(response.url, {"code": codes[0]}).url == "/admin/"
    assert second_client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example.com/", "//evil.example.com/", "/\\evil.example.com/", "http://[no-address"]
)
def test_the_sign_in_page_never_leads_to_another_site(client: Any, elsewhere: str) -> None:
    assert client.get(SIGN_IN, {"next": elsewhere}).status_code == 200
    create_person("viewer")
    assert sign_in(client, "viewer", next=elsewhere).url == "/admin/"
    assert client.get(SIGN_IN, {"next": elsewhere}).url == "/admin/"  # who is signed in goes on at once


def test_who_asks_too_often_gets_a_page_that_says_so(client: Any) -> None:
    with override_settings(ACCOUNT_RATE_LIMITS={"login": "1/m/ip"}):
        responses = [sign_in(client, "nobody") for _ in range(2)]
    assert [response.status_code for response in responses] == [200, 429]
    assert "Try again in a few minutes." in responses[1].content.decode()


@pytest.mark.parametrize("page", [SIGN_IN, "/accounts/2fa/", "/admin/", "/"])
def test_a_page_asked_of_another_host_is_refused_as_malformed(client: Any, page: str) -> None:
    response = client.get(page, headers={"Host": "evil.example.com"})
    assert response.status_code == 400
    assert "could not understand that" in response.content.decode()


@pytest.mark.parametrize("page", ["", "recovery-codes/", "recovery-codes/generate/", "recovery-codes/download/"])
def test_a_second_factor_that_no_key_decrypts_is_explained_on_every_page(client: Any, page: str) -> None:
    user = create_person("viewer")
    with override_settings(PORTAL_ENCRYPTION_KEYS=[Fernet.generate_key().decode()]):
        RecoveryCodes.activate(user)
        TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    client.force_login(user)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    response = client.get(f"/accounts/2fa/{page}")
    assert response.status_code == 409
    assert "Ask an administrator to remove it" in response.content.decode()
