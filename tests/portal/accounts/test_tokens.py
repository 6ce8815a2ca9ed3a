"""Portal tokens: what they open, for how long, and that nobody can read them afterwards."""

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.accounts.audit.models import AuditEntry
from portal.accounts.authentication import NOT_ACCEPTED
from portal.accounts.models import ApiToken, Scope, create_token, hash_secret
from tests.support.api_clients import API, get_problem_details
from tests.support.factories import SourceFactory
from tests.support.users import create_person, sign_in_as
from usage.models import Source

pytestmark = pytest.mark.django_db


def call(secret: str, **headers: str) -> Any:
    return Client().get(f"{API}/environment-usage/", headers={"Authorization": f"Bearer {secret}", **headers})


def test_a_token_opens_what_its_scopes_say() -> None:
    _, secret = create_token("reports", [Scope.USAGE_READ])
    assert call(secret).status_code == 200


def test_only_the_hash_of_a_secret_is_stored_and_its_beginning_is_visible() -> None:
    token, secret = create_token("reports")
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM accounts_apitoken AS t")
        (stored,) = cursor.fetchone()
    assert secret.startswith("up_")
    assert secret.startswith(token.prefix)
    assert secret.removeprefix(token.prefix) not in stored
    assert hash_secret(secret).hex() in stored
    assert len(secret.rsplit("_", 1)[1]) == 43


def test_every_token_that_opens_nothing_gets_the_same_answer() -> None:
    _, expired_secret = create_token("expired", expires_at=timezone.now() + timedelta(minutes=5))
    revoked, revoked_secret = create_token("revoked")
    revoked.revoke()
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        responses = [call(secret) for secret in (expired_secret, revoked_secret, "up_12345678_unknown", "", "a b")]
    for response in responses:
        assert get_problem_details(response, 401) == {"": [NOT_ACCEPTED]}
        assert response["WWW-Authenticate"] == 'Bearer realm="usage portal"'


def test_a_token_opens_until_it_expires_and_then_no_more() -> None:
    _, secret = create_token("short", expires_at=timezone.now() + timedelta(minutes=5))
    with time_machine.travel(timezone.now() + timedelta(minutes=4), tick=False):
        assert call(secret).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        assert call(secret).status_code == 401


def test_revoking_acts_on_the_next_request_and_keeps_its_first_instant() -> None:
    token, secret = create_token("leaked")
    assert call(secret).status_code == 200
    token.revoke()
    first = token.revoked_at
    assert call(secret).status_code == 401
    token.revoke()
    assert token.revoked_at == first


def test_the_last_use_is_written_down_at_most_once_a_minute() -> None:
    token, secret = create_token("busy")
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        call(secret)
        with CaptureQueriesContext(connection) as within_the_minute:
            call(secret)
    assert not [query for query in within_the_minute if "UPDATE" in query["sql"]]
    token.refresh_from_db()
    assert token.last_used_at == start
    with time_machine.travel(start + timedelta(seconds=61), tick=False):
        call(secret)
    token.refresh_from_db()
    assert token.last_used_at == start + timedelta(seconds=61)


def test_a_limited_token_whose_source_is_taken_away_sees_nothing_rather_than_everything() -> None:
    source = SourceFactory(slug="only")
    SourceFactory(slug="other")
    token, secret = create_token("limited", [Scope.SYNC_READ], sources=[source])
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    assert [row["slug"] for row in client.get(f"{API}/sources/").json()["results"]] == ["only"]
    token.sources.clear()
    assert client.get(f"{API}/sources/").json()["results"] == []


def test_a_token_must_have_a_name_and_a_known_scope() -> None:
    for name, scopes in (("", [Scope.USAGE_READ]), ("x", []), ("x", ["usage:write"])):
        with pytest.raises(ValidationError):
            create_token(name, scopes)
    assert not ApiToken.objects.exists()


def test_the_database_refuses_unknown_scopes_too() -> None:
    create_token("fine")
    with pytest.raises(IntegrityError, match="apitoken_known_scopes"):
        ApiToken.objects.update(scopes=["usage:write"])


def run_create_token(*arguments: str) -> tuple[ApiToken, str, str]:
    """Run `create_token`; return the token, standard output and standard error."""
    out, err = StringIO(), StringIO()
    call_command("create_token", *arguments, stdout=out, stderr=err)
    return ApiToken.objects.get(), out.getvalue(), err.getvalue()


def test_the_command_prints_the_secret_alone_so_that_a_script_can_keep_it() -> None:
    token, out, err = run_create_token("warehouse", "--scope", "usage:read")
    assert ApiToken.objects.get_usable(out.strip(), timezone.now()) == token
    assert out.strip() not in err
    assert "warehouse" in err
    assert token.scopes == ["usage:read"]
    assert not token.limited


def test_the_command_limits_to_sources_and_takes_an_expiry() -> None:
    SourceFactory(slug="a")
    SourceFactory(slug="b")
    token, _, _ = run_create_token("finance", "--source", "a", "--source", "b", "--expires", "2999-01-31")
    assert token.limited
    assert set(token.sources.values_list("slug", flat=True)) == {"a", "b"}
    assert token.expires_at is not None
    assert token.expires_at.isoformat() == "2999-01-31T00:00:00+00:00"


def test_the_command_sets_how_often_a_token_may_ask() -> None:
    token, _, _ = run_create_token("busy", "--rate", "50/s")
    assert token.rate == "50/s"


def test_the_command_counts_an_expiry_in_days_too() -> None:
    token, _, _ = run_create_token("short", "--expires", "90d")
    assert token.expires_at is not None
    assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--source", "nowhere"], "There is no source nowhere"),
        (["x", "--expires", "2020-01-01"], "lies in the past"),
        (["x", "--expires", "soon"], "give a date"),
        (["x", "--expires", "99999999999d"], "give a date"),
        (["x", "--scope", "everything"], "invalid choice"),
        (["x", "--rate", "often"], "a number of requests"),
        ([""], "cannot be blank"),
    ],
)
def test_the_command_says_what_it_does_not_understand(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run_create_token(*arguments)
    assert not ApiToken.objects.exists()
    assert not Source.objects.exists()


ADD = "/admin/accounts/apitoken/add/"


def post_token_form(client: Client, **values: Any) -> Any:
    """Make a token on its page: reading usage, of all sources, for 90 days, unless said otherwise."""
    return client.post(ADD, {"name": "mine", "scopes": ["usage:read"], "lasts": "90", **values})


def test_the_page_shows_a_secret_once_and_nothing_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    client = sign_in_as("administrator")
    response = post_token_form(client)
    secret = response.context["secret"]
    assert secret in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    token = ApiToken.objects.get_usable(secret, timezone.now())
    assert token is not None
    later = [
        client.get(f"/admin/accounts/apitoken/{path}") for path in ("", f"{token.pk}/change/", f"{token.pk}/history/")
    ]
    assert all(secret not in page.content.decode() for page in later)
    assert secret not in caplog.text
    assert secret not in str(list(LogEntry.objects.values())) + str(list(AuditEntry.objects.values()))
    assert [entry.who for entry in AuditEntry.objects.filter(kind="token")] == ["administrator"]


@pytest.mark.parametrize(("lasts", "days"), [("30", 30), ("90", 90), ("365", 365)])
def test_a_token_lasts_as_long_as_was_chosen(lasts: str, days: int) -> None:
    post_token_form(sign_in_as("administrator"), lasts=lasts)
    ends = ApiToken.objects.get().expires_at
    assert ends is not None
    assert timedelta(days=days, minutes=-5) < ends - timezone.now() <= timedelta(days=days)


def test_a_token_lasts_for_ever_only_where_that_is_chosen() -> None:
    client = sign_in_as("administrator")
    assert "lasts" in post_token_form(client, lasts="").context["adminform"].errors
    post_token_form(client, lasts="forever")
    assert ApiToken.objects.get().expires_at is None


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"lasts": "given"}, "expires_at"),
        ({"lasts": "given", "expires_at": "2020-01-01T00:00"}, "expires_at"),
        ({"lasts": "90", "expires_at": "2999-01-01T00:00"}, "expires_at"),
        ({"scopes": []}, "scopes"),
        ({"limited": "on"}, "sources"),
        ({"rate": "often"}, "rate"),
        ({"name": ""}, "name"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_beside_the_field(values: dict[str, Any], field: str) -> None:
    response = post_token_form(sign_in_as("administrator"), **values)
    assert set(response.context["adminform"].errors) == {field}
    assert not ApiToken.objects.exists()


def test_nobody_gives_a_token_more_than_they_may_do() -> None:
    manager = create_person("viewer")
    manager.user_permissions.set(Permission.objects.filter(codename__in=["view_apitoken", "add_apitoken"]))
    client = Client()
    client.force_login(manager)
    assert "sync:run" not in client.get(ADD).content.decode()
    assert post_token_form(client, scopes=["sync:run"]).status_code == 200
    assert not ApiToken.objects.exists()
    assert post_token_form(client).context["secret"]


USAGE_PERMISSIONS = ("view_environmentusage", "view_resourceusage", "view_recipeusage")
READS_SYNC = ("view_source", "view_sourceday", "view_syncrun", "view_restatement", "view_rejectedrecord")


@pytest.mark.parametrize(
    ("scope", "required"),
    [
        ("usage:read", (*USAGE_PERMISSIONS, "view_directoryentry")),
        ("person:read", ("view_person",)),
        ("mirror:read", USAGE_PERMISSIONS),
        ("sync:read", READS_SYNC),
        ("sync:run", ("change_sourceday",)),
    ],
)
def test_a_scope_is_given_by_who_may_do_all_that_it_opens(scope: str, required: tuple[str, ...]) -> None:
    manager = User.objects.create_user("keeper", is_staff=True)
    base = ("view_apitoken", "add_apitoken")
    client = Client()
    client.force_login(manager)
    for omitted in required:
        permissions = {*base, *required} - {omitted}
        manager.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        assert f'value="{scope}"' not in client.get(ADD).content.decode(), omitted
        assert post_token_form(client, scopes=[scope]).status_code == 200
        assert not ApiToken.objects.exists()
    manager.user_permissions.set(Permission.objects.filter(codename__in=[*base, *required]))
    assert post_token_form(client, scopes=[scope]).context["secret"]


def test_the_list_says_which_tokens_can_be_used() -> None:
    now = timezone.now()
    for name, days in (("Usable", 90), ("Expires soon", 3), ("Expired", -1), ("Revoked", 90)):
        token, _ = create_token(name.lower(), expires_at=now + timedelta(days=days))
        if name == "Revoked":
            token.revoke()
    page = sign_in_as("administrator").get("/admin/accounts/apitoken/").content.decode()
    for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)[1:]:
        (state,) = re.findall(r">(Usable|Expires soon|Expired|Revoked)<", row)
        assert f">{state.lower()}<" in row


def test_revoking_on_the_page_asks_once_more_and_acts_at_once() -> None:
    client = sign_in_as("administrator")
    secret = post_token_form(client).context["secret"]
    token = ApiToken.objects.get()
    page = f"/admin/accounts/apitoken/{token.pk}/"
    assert "Whatever uses it stops working" in client.get(f"{page}change/").content.decode()
    client.post(f"{page}do/revoke/")
    assert call(secret).status_code == 200
    client.post(f"{page}do/revoke/", {"sure": "on"})
    assert call(secret).status_code == 401
    assert "Revoked" in client.get(f"{page}change/").content.decode()
    assert client.post(f"{page}do/revoke/", {"sure": "on"}).status_code == 403  # there is nothing left to revoke


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_tokens_are_for_administrators(role: str) -> None:
    token, _ = create_token("reports")
    client = sign_in_as(role)
    for path in ("", "add/", f"{token.pk}/change/"):
        assert client.get(f"/admin/accounts/apitoken/{path}").status_code == 403
    assert client.post(f"/admin/accounts/apitoken/{token.pk}/do/revoke/", {"sure": "on"}).status_code == 403
    assert call(create_token("x")[1]).status_code == 200
