"""Invitations: one form makes an account; the link expires, works once, and gives nobody more than the inviter has."""

import re
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest
import time_machine
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from portal.accounts.audit.models import AuditEntry, ObjectKind
from portal.accounts.authentication import get_source_scope
from portal.accounts.invitations import invite
from portal.accounts.models import Invitation, hash_secret
from tests.portal.accounts.test_sign_in import log  # noqa: F401
from tests.support.factories import SourceFactory
from tests.support.users import create_person
from usage.models import Source

pytestmark = pytest.mark.django_db
ADD = "/admin/auth/user/add/"
ACCEPT = "/accounts/invitation/"
PASSWORD = "tall-green-window-7"
SET = {"new_password1": PASSWORD, "new_password2": PASSWORD}
MAIL = override_settings(PORTAL_EMAIL_URL="smtp://mail.example.com")
NOT_VALID = "This link is not valid"


@pytest.fixture
def anna() -> User:
    return create_person("administrator")


@pytest.fixture
def client(anna: User) -> Client:
    client = Client()
    client.force_login(anna)
    return client


def build_form(**values: Any) -> dict[str, Any]:
    viewer = Group.objects.get(name="viewer").pk
    return {"username": "pat", "email": "pat@example.com", "role": viewer, "invited": "on", **values}


def get_link(response: Any) -> str:
    assert response.status_code == 200, response.content.decode()
    match = re.search(r'value="http://testserver(/accounts/invitation/[^"]+)"', response.content.decode())
    assert match, response.content.decode()
    return match[1]


def open_link(link: str) -> tuple[Client, Any]:
    guest: Any = Client()
    return guest, guest.get(link, follow=True)


def accept(link: str, **values: str) -> Any:
    guest, _ = open_link(link)
    return guest.post(ACCEPT, {**SET, **values})


def is_refused(link: str) -> bool:
    guest, page = open_link(link)
    response = guest.post(ACCEPT, SET)
    assert {page.status_code, response.status_code} in ({404}, {200, 302})
    return bool(response.status_code == 404 and NOT_VALID in page.content.decode())


# The form.


def test_one_form_makes_a_contractor_with_a_role_and_a_limit(client: Client) -> None:
    source, _ = SourceFactory.create(slug="seen"), SourceFactory.create(slug="other")

    link = get_link(client.post(ADD, build_form(limited="on", sources=[source.pk])))

    pat = User.objects.get(username="pat")
    assert (pat.is_staff, pat.is_superuser, pat.has_usable_password()) == (True, False, False)
    assert get_source_scope(pat) == frozenset({source.pk})
    assert set(pat.groups.values_list("name", flat=True)) == {"viewer", "Sources of pat"}
    assert accept(link).url == "/accounts/login/"
    guest: Any = Client()
    assert guest.post("/accounts/login/", {"login": "pat", "password": PASSWORD}).url == "/admin/"
    assert [row["slug"] for row in guest.get("/api/v1/sources/").json()["results"]] == ["seen"]


def test_the_form_says_how_the_invitation_is_given(client: Client) -> None:
    assert "The next page shows a link, once" in client.get(ADD).content.decode()
    with MAIL:
        assert "They get a link by mail" in client.get(ADD).content.decode()


def test_an_account_can_be_made_without_an_invitation(client: Client) -> None:
    response: Any = client.post(ADD, build_form(invited=""))
    assert response.status_code == 302
    assert not Invitation.objects.exists()
    page = client.get(response.url).content.decode()
    assert "Has not signed in yet, and has no invitation." in page


def test_a_user_without_a_role_may_do_nothing_yet(client: Client) -> None:
    get_link(client.post(ADD, build_form(role="")))
    assert not User.objects.get(username="pat").groups.exists()
    assert "none: no permissions" in client.get("/admin/auth/user/").content.decode()


def test_the_list_and_the_page_of_a_user_say_whether_they_came_in_and_may_come_in(client: Client) -> None:
    link = get_link(client.post(ADD, build_form()))
    page = reverse("admin:auth_user_change", args=[User.objects.get(username="pat").pk])

    def read_states() -> set[str]:
        return set(re.findall(r">(Invited|Active|Inactive)<", client.get("/admin/auth/user/").content.decode()))

    assert read_states() == {"Active", "Invited"}
    assert "Has not signed in yet. The invitation works until " in client.get(page).content.decode()
    accept(link)
    assert read_states() == {"Active"}
    assert "Signs in with a password." in client.get(page).content.decode()
    User.objects.filter(username="pat").update(is_active=False)
    assert read_states() == {"Active", "Inactive"}
    assert "Inactive: cannot sign in." in client.get(page).content.decode()


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"email": "ADMINISTRATOR@example.com"}, "email", "Another user has this address."),
        ({"limited": "on"}, "sources", "Choose at least one source for a limited user"),
        ({"email": ""}, "email", "Give the address that the invitation is sent to."),
        ({"username": "administrator"}, "username", "already exists"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    client: Client, values: dict[str, Any], field: str, message: str
) -> None:
    with MAIL:
        response: Any = client.post(ADD, build_form(**values))
    assert message in response.context["adminform"].form.errors[field][0]
    assert User.objects.count() == 1


def test_nobody_invites_into_more_than_they_may_do() -> None:
    manager = create_person("viewer")
    manager.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user", "add_user"]))
    client = Client()
    client.force_login(manager)
    page = client.get(ADD).content.decode()
    assert "viewer: Looks at usage" in page
    assert "administrator: Also keeps" not in page
    for role in ("operator", "administrator"):
        response: Any = client.post(ADD, build_form(role=Group.objects.get(name=role).pk))
        assert "role" in response.context["adminform"].form.errors
    assert get_link(client.post(ADD, build_form()))


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_who_manages_users_may_invite(role: str) -> None:
    client = Client()
    client.force_login(create_person(role))
    assert client.post(ADD, build_form()).status_code == 403
    assert not Invitation.objects.exists()


# The mail.


def test_with_mail_the_link_goes_to_the_user_and_not_to_the_inviter(client: Client) -> None:
    with MAIL:
        response: Any = client.post(ADD, build_form(), follow=True)
    [message] = mail.outbox
    assert message.to == ["pat@example.com"]
    assert "Your account of the usage portal" in message.subject
    [link] = re.findall(r"https?://\S+", str(message.body))
    assert "invitation" not in re.sub(r"<title>.*?</title>", "", response.content.decode()).split("value=")[0]
    assert urlsplit(link).path not in response.content.decode()
    added, invited = map(str, response.context["messages"])
    assert added == "The user pat was added."
    assert "An invitation was sent to pat@example.com" in invited
    assert accept(urlsplit(link).path).status_code == 302


def test_a_mail_server_that_does_not_answer_is_told_and_the_account_stays(client: Client) -> None:
    with MAIL, patch("portal.accounts.admin.users.send_invitation", side_effect=ConnectionRefusedError):
        response: Any = client.post(ADD, build_form(), follow=True)
    assert any("did not take the mail" in str(message) for message in response.context["messages"])
    pat = User.objects.get(username="pat")
    assert not Invitation.objects.exists()
    with MAIL:
        client.post(reverse("admin:auth_user_do", args=[pat.pk, "invite"]))
    assert len(mail.outbox) == 1


# The link.


def test_a_link_works_once(client: Client) -> None:
    link = get_link(client.post(ADD, build_form()))
    assert accept(link).status_code == 302
    assert is_refused(link)
    assert User.objects.get(username="pat").check_password(PASSWORD)


def test_opening_a_link_uses_nothing_up_and_takes_the_secret_out_of_the_address(client: Client) -> None:
    link = get_link(client.post(ADD, build_form()))
    for _ in range(2):
        guest, page = open_link(link)
        assert page.redirect_chain == [(ACCEPT, 302)]
        assert "Your user name is" in page.content.decode()
        assert link.split("/")[-2] not in page.content.decode()
    assert guest.post(ACCEPT, SET).status_code == 302


def test_a_link_expires(client: Client, settings: Any) -> None:
    settings.PORTAL_INVITATION_HOURS = 5
    link = get_link(client.post(ADD, build_form()))
    with time_machine.travel(timezone.now() + timedelta(hours=4, minutes=59)):
        assert "Set the password" in open_link(link)[1].content.decode()
    with time_machine.travel(timezone.now() + timedelta(hours=5, minutes=1)):
        assert is_refused(link)
        page = client.get(reverse("admin:auth_user_change", args=[User.objects.get(username="pat").pk]))
    assert page.status_code in {200, 302}


def test_a_link_that_was_made_up_opens_nothing_and_stores_nothing() -> None:
    guest, page = open_link(f"{ACCEPT}{'x' * 43}/")
    assert (page.status_code, NOT_VALID in page.content.decode()) == (404, True)
    assert not Session.objects.exists()
    assert guest.post(ACCEPT, SET).status_code == 404


def test_a_weak_password_is_refused_and_the_link_stays(client: Client) -> None:
    link = get_link(client.post(ADD, build_form()))
    for weak in ("short", "Password2026!", "pat@example.com"):
        assert accept(link, new_password1=weak, new_password2=weak).status_code == 200
    assert accept(link).status_code == 302


def test_only_the_hash_of_the_secret_is_stored(client: Client) -> None:
    link = get_link(client.post(ADD, build_form()))
    secret = link.split("/")[-2]
    assert len(secret) >= 43
    invitation = Invitation.objects.get()
    assert bytes(invitation.digest) == hash_secret(secret)
    guest, _ = open_link(link)
    assert secret not in str(dict(guest.session))


def test_a_new_invitation_replaces_the_one_before_and_one_can_be_withdrawn(client: Client) -> None:
    first = get_link(client.post(ADD, build_form()))
    pat = User.objects.get(username="pat")
    second = get_link(client.post(reverse("admin:auth_user_do", args=[pat.pk, "invite"])))
    assert is_refused(first)
    assert "Set the password" in open_link(second)[1].content.decode()
    client.post(reverse("admin:auth_user_do", args=[pat.pk, "withdraw-invitation"]))
    assert is_refused(second)


def spoil(pat: User, anna: User, event: str) -> None:
    if event == "the user is deactivated":
        User.objects.filter(pk=pat.pk).update(is_active=False)
    elif event == "the user was given a password":
        pat.set_password("another-good-phrase")
        pat.save()
    elif event == "the user came in another way":
        User.objects.filter(pk=pat.pk).update(last_login=timezone.now())
    elif event == "the user was given more than the inviter has":
        User.objects.filter(pk=pat.pk).update(is_superuser=True)
    elif event == "the inviter is deactivated":
        User.objects.filter(pk=anna.pk).update(is_active=False)
    elif event == "the inviter may not manage users any more":
        anna.groups.set([Group.objects.get(name="operator")])


@pytest.mark.parametrize(
    "event",
    [
        "the user is deactivated",
        "the user was given a password",
        "the user came in another way",
        "the user was given more than the inviter has",
        "the inviter is deactivated",
        "the inviter may not manage users any more",
    ],
)
def test_a_link_that_somebody_kept_opens_nothing_once(client: Client, anna: User, event: str) -> None:
    link = get_link(client.post(ADD, build_form()))
    pat = User.objects.get(username="pat")
    spoil(pat, anna, event)
    assert is_refused(link)
    assert not User.objects.get(username="pat").check_password(PASSWORD)


def test_who_is_signed_in_accepts_nothing_for_another(client: Client) -> None:
    link = get_link(client.post(ADD, build_form()))
    page = client.get(link, follow=True).content.decode()
    assert "You are signed in already" in page
    client.post(ACCEPT, SET)
    assert not User.objects.get(username="pat").has_usable_password()


def test_who_came_in_is_not_invited_again(client: Client, anna: User) -> None:
    viewer = create_person("viewer")
    address = reverse("admin:auth_user_do", args=[viewer.pk, "invite"])
    assert client.post(address).status_code == 403
    assert "Invite" not in client.get(reverse("admin:auth_user_change", args=[viewer.pk])).content.decode()


def test_nobody_invites_a_user_whom_they_may_not_change() -> None:
    manager = create_person("viewer")
    manager.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user", "add_user"]))
    administrator = create_person("administrator")
    administrator.set_unusable_password()
    administrator.save()
    client = Client()
    client.force_login(manager)
    assert client.post(reverse("admin:auth_user_do", args=[administrator.pk, "invite"])).status_code == 403


# The traces.


def test_the_audit_log_tells_who_invited_and_that_it_was_used_and_no_secret(client: Client, anna: User) -> None:
    link = get_link(client.post(ADD, build_form()))
    expires = str(Invitation.objects.get().expires_at.date())
    accept(link)
    entries = AuditEntry.objects.filter(kind=ObjectKind.PERSON, object_name="pat").order_by("id")
    created, accepted = [entry for entry in entries if "invitation until" in entry.changes]
    assert (created.who, accepted.who) == ("administrator", "")
    before, after = created.changes["invitation until"]
    assert before is None
    assert after.startswith(expires)
    assert accepted.changes["invitation until"][1] is None
    text = "".join(f"{entry.changes} {entry.url}" for entry in AuditEntry.objects.all())
    assert link.split("/")[-2] not in text


def test_the_secret_is_in_no_log(client: Client, log: StringIO) -> None:  # noqa: F811
    link = get_link(client.post(ADD, build_form()))
    accept(link)
    open_link(link)
    assert link.split("/")[-2] not in log.getvalue()
    assert "/accounts/invitation/[hidden]" in log.getvalue()


def test_two_users_may_be_limited_to_the_same_sources(client: Client) -> None:
    source = Source.objects.get(pk=SourceFactory.create(slug="seen").pk)
    Group.objects.create(name="Sources of pat")
    get_link(client.post(ADD, build_form(limited="on", sources=[source.pk])))
    pat = User.objects.get(username="pat")
    assert pat.groups.filter(name=f"Sources of pat ({pat.pk})").exists()
    assert invite(pat, create_person("admin"))


def test_the_group_of_one_user_is_offered_on_their_page_alone(client: Client) -> None:
    source = SourceFactory.create(slug="seen")
    client.post(ADD, build_form(limited="on", sources=[source.pk], invited=""))
    pages = {
        user.username: client.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
        for user in (User.objects.get(username="pat"), create_person("viewer"))
    }
    assert "Sources of pat" in pages["pat"]
    assert "Sources of pat" not in pages["viewer"]
    assert "Sources of pat" not in client.get(ADD).content.decode()
