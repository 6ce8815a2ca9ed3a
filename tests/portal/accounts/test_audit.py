"""The audit log: what it sees, what it never tells, who may read it, and that nobody rewrites it."""

import json
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialApp
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.accounts.audit.context import build_wrapper
from portal.accounts.audit.models import AuditEntry, ObjectKind
from portal.accounts.models import GroupScope, Scope, create_token
from sync.engine import plan
from tests.support.factories import SourceFactory
from tests.support.users import PASSWORD, create_person, sign_in_as
from usage.models import Source

pytestmark = pytest.mark.django_db
SECRET = "secret-of-the-vendor"
NO_LIMIT = {"source_scope-TOTAL_FORMS": 0, "source_scope-INITIAL_FORMS": 0}


@pytest.fixture
def log() -> Any:
    """What is written from here on, the latest first."""
    before = AuditEntry.objects.count()
    return lambda: list(AuditEntry.objects.all()[: AuditEntry.objects.count() - before])


def test_a_change_on_a_page_says_who_what_when_from_where_and_how_it_was(log: Any) -> None:
    user = create_person("viewer")
    client, address = sign_in_as("administrator"), reverse("admin:auth_user_change", args=[user.pk])
    before = timezone.now()
    groups = [Group.objects.get(name="operator").pk]
    response = client.post(
        address, {"username": "viewer", "email": "new@example.com", "is_active": "on", "groups": groups}
    )
    assert response.status_code == 302
    entries = [entry for entry in log() if entry.who == "administrator"]
    assert {entry.kind for entry in entries} == {ObjectKind.PERSON}
    assert [entry.changes for entry in reversed(entries)] == [
        {"email": ["viewer@example.com", "new@example.com"]},
        {"groups": ["viewer", None]},
        {"groups": [None, "operator"]},
    ]
    for entry in entries:
        assert (entry.object_id, entry.object_name) == (user.pk, "viewer")
        assert (entry.url, entry.address) == (address, "127.0.0.1")
        assert entry.at <= timezone.now()
        assert before <= timezone.now()


def test_changes_of_many_rows_at_once_and_beside_the_portal_are_seen(log: Any) -> None:
    SourceFactory.create_batch(3)
    Source.objects.update(enabled=False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_source")
    entries = log()
    assert [entry.action for entry in entries] == ["deleted"] * 3 + ["changed"] * 3 + ["added"] * 3
    assert entries[3].changes == {"enabled": [True, False]}
    assert entries[0].who == ""
    assert " as " in entries[0].program


def test_what_the_engine_writes_on_a_source_is_no_change_of_its_settings(log: Any) -> None:
    source = SourceFactory.create(vendor="ona", credential_env="PORTAL_VENDOR_ONA")
    before = len(log())
    plan.plan_due()
    Source.objects.update(
        next_sync_at=timezone.now(), failures=3, paused_until=timezone.now(), halted_at=timezone.now(), halt_reason="x"
    )
    plan.resume(source)
    assert len(log()) == before


def test_a_use_of_a_token_and_a_sign_in_are_no_changes(log: Any) -> None:
    token, _ = create_token("reports")
    create_person("viewer")
    before = len(log())
    token.record_use(timezone.now())
    Client().post("/accounts/login/", {"login": "viewer", "password": PASSWORD})
    assert len(log()) == before


def test_no_secret_is_ever_told(log: Any) -> None:
    source = SourceFactory.create(credential=SECRET, credential_env="")
    source.credential = f"{SECRET}-2"
    source.save()
    source.credential = ""
    source.save()
    token, secret = create_token("reports", sources=[source])
    token.revoke()
    User.objects.create_user("pat", password=PASSWORD).delete()
    entries_text = json.dumps([entry.changes for entry in log()])
    for text in (SECRET, secret, secret[12:], token.digest.hex(), "argon2", PASSWORD, "gAAAA"):
        assert text not in entries_text
    changes = [entry.changes["credential"] for entry in reversed(log()) if "credential" in entry.changes]
    assert changes == [[None, "stored"], ["stored", "stored anew"], ["stored", None]]
    assert {"sources": [None, source.slug]} in [entry.changes for entry in log()]


def test_limits_memberships_rights_and_second_factors_are_told_of_whom_they_are(log: Any) -> None:
    source = SourceFactory.create(slug="main")
    group = Group.objects.create(name="finance")
    GroupScope.objects.create(group=group).sources.add(source)
    group.permissions.add(Group.objects.get(name="viewer").permissions.get(codename="view_source"))
    user = create_person("viewer")
    user.groups.add(group)
    Authenticator.objects.create(user=user, type="totp", data={"secret": "s3cret"})
    entries = [(entry.kind, entry.object_name, entry.changes) for entry in log()]
    assert ("group", "finance", {"limit": [None, "limited to sources"]}) in entries
    assert ("group", "finance", {"sources": [None, "main"]}) in entries
    assert ("group", "finance", {"permissions": [None, "usage.view_source"]}) in entries
    assert ("person", "viewer", {"groups": [None, "finance"]}) in entries
    assert ("person", "viewer", {"second factor": [None, "totp"]}) in entries
    assert "s3cret" not in str(entries)


def test_a_command_says_that_it_was_one(log: Any) -> None:
    call_command("create_token", "warehouse")
    [entry] = log()
    assert (entry.kind, entry.object_name, entry.action, entry.who) == ("token", "warehouse", "added", "")
    assert entry.program


@pytest.mark.parametrize(
    "rewrite",
    [
        "UPDATE accounts_auditentry SET who = 'x'",
        "DELETE FROM accounts_auditentry",
        "TRUNCATE accounts_auditentry",
        "TRUNCATE accounts_auditentry, usage_source CASCADE",
    ],
)
def test_the_database_refuses_to_rewrite_what_was_written(rewrite: str) -> None:
    SourceFactory.create()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(rewrite)
    assert AuditEntry.objects.filter(kind="source").exists()


@pytest.mark.django_db(transaction=True)
def test_a_command_that_empties_every_table_is_refused() -> None:
    SourceFactory.create(slug="main")
    with pytest.raises(CommandError, match="couldn't be flushed"):
        call_command("flush", interactive=False)
    assert AuditEntry.objects.filter(object_name="main").exists()
    assert Source.objects.exists()


def test_who_is_deleted_stays_on_record(log: Any) -> None:
    chief = create_person("admin")
    client = Client()
    client.force_login(chief)
    source = SourceFactory.create(slug="main")
    client.post(reverse("admin:auth_group_add"), {"name": "x", **NO_LIMIT})
    chief.delete()
    source.delete()
    assert [entry.object_name for entry in log() if entry.who == "admin"] == ["x"]


def test_an_administrator_reads_filters_and_opens_the_log() -> None:
    Source.objects.filter(pk=SourceFactory.create(slug="zebra").pk).update(enabled=False)
    client: Any = sign_in_as("administrator")
    url = reverse("admin:accounts_auditentry_changelist")
    page = client.get(url).content.decode()
    assert "enabled: yes → no" in page
    assert "zebra" in client.get(f"{url}?kind=source").content.decode()
    assert "zebra" not in client.get(f"{url}?kind=token").content.decode()
    assert "enabled" in client.get(f"{url}?object_name=zebra").content.decode()
    entry = AuditEntry.objects.filter(kind="source")[0]
    detail = client.get(reverse("admin:accounts_auditentry_change", args=[entry.pk])).content.decode()
    assert "What changed" in detail
    assert 'name="_save"' not in detail


def test_lists_and_objects_are_shown_as_text(log: Any) -> None:
    create_token("reports", [Scope.USAGE_READ, Scope.SYNC_READ])
    SocialApp.objects.create(name="sso", provider="openid_connect", settings={"server_url": "https://id.example.com"})
    client = sign_in_as("administrator")
    pages = {
        entry.object_name: client.get(reverse("admin:accounts_auditentry_change", args=[entry.pk])).content.decode()
        for entry in log()
        if entry.object_name in {"reports", "sso"}
    }
    assert "sync:read, usage:read" in pages["reports"]
    assert "{&quot;server_url&quot;: &quot;https://id.example.com&quot;}" in pages["sso"]


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_administrators_read_it(role: str) -> None:
    client = sign_in_as(role)
    assert client.get(reverse("admin:accounts_auditentry_changelist")).status_code == 403
    assert "Audit log" not in client.get("/admin/").content.decode()


def test_someone_limited_reads_of_their_sources_alone() -> None:
    source, _ = SourceFactory.create(slug="seen"), SourceFactory.create(slug="zebra")
    client = sign_in_as("administrator", sources=[source])
    page = client.get(reverse("admin:accounts_auditentry_changelist")).content.decode()
    assert "seen" in page
    assert "zebra" not in page
    assert "is_active" not in page  # of people nothing is told
    entry = AuditEntry.objects.filter(object_name="zebra")[0]
    assert client.get(reverse("admin:accounts_auditentry_change", args=[entry.pk])).status_code == 404


def test_someone_limited_reads_of_no_token_and_no_group_not_even_that_it_was_given_their_source() -> None:
    source, zebra = SourceFactory.create(slug="seen"), SourceFactory.create(slug="zebra")
    create_token("warehouse of both", sources=[source, zebra])
    GroupScope.objects.create(group=Group.objects.create(name="finance of both")).sources.set([source, zebra])
    client: Any = sign_in_as("administrator", sources=[source])
    url = reverse("admin:accounts_auditentry_changelist")
    for page in (client.get(url), client.get(f"{url}?kind=token"), client.get(f"{url}?kind=group")):
        assert "of both" not in page.content.decode()
    assert {entry.kind for entry in client.get(url).context["cl"].result_list} == {ObjectKind.SOURCE}
    entries = AuditEntry.objects.filter(kind__in=[ObjectKind.TOKEN, ObjectKind.GROUP], source_id=source.pk)
    assert len(entries) == 3  # of the token, of the group, of the reader's own group
    for entry in entries:
        assert client.get(reverse("admin:accounts_auditentry_change", args=[entry.pk])).status_code == 404


def test_a_page_of_the_log_asks_as_much_however_long_it_is(django_assert_max_num_queries: Any) -> None:
    client = sign_in_as("administrator")
    SourceFactory.create_batch(60)
    client.get("/admin/")
    with django_assert_max_num_queries(16):
        client.get(reverse("admin:accounts_auditentry_changelist"))


@pytest.mark.django_db(transaction=True)
def test_the_context_of_a_request_is_gone_with_its_last_statement(log: Any) -> None:
    """The connection goes back to a pool: the next change on it is not that person's."""
    chief = create_person("admin")
    client = Client()
    client.force_login(chief)
    client.post(reverse("admin:auth_group_add"), {"name": "x", **NO_LIMIT})
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('portal.audit_context', true)")
        assert not cursor.fetchone()[0]
    SourceFactory.create(slug="main")
    assert [(entry.object_name, entry.who) for entry in log()[:2]] == [("main", ""), ("x", "admin")]


@pytest.mark.django_db(transaction=True)
def test_a_change_outside_of_a_transaction_carries_the_context_too(log: Any) -> None:
    source = SourceFactory.create(slug="main")
    with connection.execute_wrapper(build_wrapper('{"url": "/somewhere/"}')), connection.cursor() as cursor:
        cursor.execute("UPDATE usage_source SET slug = 'at 100%'")
        cursor.execute("UPDATE usage_source SET slug = %(slug)s", {"slug": "other"})
        cursor.execute("DELETE FROM usage_source WHERE id = %s RETURNING slug", [source.pk])
        assert cursor.fetchone() == ("other",)
    assert [(entry.action, entry.url) for entry in log()[:3]] == [
        ("deleted", "/somewhere/"),
        ("changed", "/somewhere/"),
        ("changed", "/somewhere/"),
    ]
