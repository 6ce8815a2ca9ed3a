"""Every table of the database is audited or named with a reason, and every kind of statement leaves an entry."""

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from portal.accounts.audit.models import Action, AuditEntry
from portal.accounts.audit.tables import AUDITED, NOT_AUDITED, Link, Row
from portal.accounts.audit.triggers import install_triggers, remove_triggers
from portal.accounts.models import GroupScope, Invitation, create_token
from portal.incidents.models import Channel
from portal.reports.models import Report
from tests.support.database import keep_rows
from tests.support.factories import SourceFactory
from tests.support.users import create_person, sign_in_as
from usage.models import Note, ReportingRole, SavedView

pytestmark = pytest.mark.django_db
NAMES = [audited.table for audited in AUDITED]
# Statements that each change the one row of a table, and what the entries of it say.
UPDATES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "usage_source": ("enabled = false", [{"enabled": [True, False]}]),
    "usage_savedview": (
        "shared = true, question = 'user_name=Ada'",
        [{"shared": [False, True], "question": [None, "stored"]}],
    ),
    "usage_note": ("text = 'later'", [{"text": ["sooner", "later"]}]),
    "usage_reportingrole": ("person_names = 'name'", [{"person_names": ["none", "name"]}]),
    "usage_reportingrole_sources": (
        "source_id = %(source)s",
        [{"sources": ["one", None]}, {"sources": [None, "two"]}],
    ),
    "accounts_apitoken": ("digest = '\\x00'", [{"digest": ["stored", "stored anew"]}]),
    "auth_user": ("is_superuser = true", [{"is_superuser": [False, True]}]),
    "auth_group": ("name = 'other'", [{"name": ["first", "other"]}]),
    "auth_permission": ("codename = 'all'", [{"codename": ["some", "all"]}]),
    "django_content_type": ("model = 'all'", [{"model": ["some", "all"]}]),
    "socialaccount_socialapp": ("secret = 'x'", [{"secret": ["stored", "stored anew"]}]),
    "incidents_channel": (
        "url = 'x', delay_minutes = 10",
        [{"url": ["stored", "stored anew"], "delay_minutes": [5, 10]}],
    ),
    "reports_report": (
        "addresses = 'cfo@example.org', next_at = now()",
        [{"addresses": ["", "cfo@example.org"]}],
    ),
    "reports_report_people": ("user_id = %(user)s", [{"people": ["first", None]}, {"people": [None, "second"]}]),
    "incidents_channel_sources": (
        "source_id = %(source)s",
        [{"sources": ["one", None]}, {"sources": [None, "two"]}],
    ),
    "accounts_apitoken_sources": (
        "source_id = %(source)s",
        [{"sources": ["one", None]}, {"sources": [None, "two"]}],
    ),
    "accounts_groupscope": (
        "group_id = %(group)s",
        [{"limit": ["limited to sources", None]}, {"limit": [None, "limited to sources"]}],
    ),
    "accounts_groupscope_sources": (
        "source_id = %(source)s",
        [{"sources": ["one", None]}, {"sources": [None, "two"]}],
    ),
    "auth_group_permissions": (
        "permission_id = %(permission)s",
        [{"permissions": ["auth.some", None]}, {"permissions": [None, "auth.view_group"]}],
    ),
    "auth_user_groups": ("group_id = %(group)s", [{"groups": ["first", None]}, {"groups": [None, "second"]}]),
    "auth_user_user_permissions": (
        "user_id = %(user)s",
        [{"permissions": ["auth.some", None]}, {"permissions": [None, "auth.some"]}],
    ),
    "accounts_invitation": (
        "expires_at = '2031-01-01T00:00:00Z'",
        [
            {"invitation until": ["2030-01-01T00:00:00+00:00", None]},
            {"invitation until": [None, "2031-01-01T00:00:00+00:00"]},
        ],
    ),
    "account_emailaddress": (
        "email = 'new@example.com', verified = true",
        [
            {"e-mail address": ["old@example.com", None]},
            {
                "e-mail address": [None, "new@example.com"],
                "verified of e-mail address new@example.com": [False, True],
            },
        ],
    ),
    "mfa_authenticator": ("data = '{}'", [{"data of second factor totp": ["stored", "stored anew"]}]),
    "socialaccount_socialaccount": (
        "uid = '2'",
        [{"sign-in provider": ["1", None]}, {"sign-in provider": [None, "2"]}],
    ),
    "socialaccount_socialtoken": ("token = 'x'", [{}]),
}


@pytest.fixture(scope="class")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Any]]:
    """The ids of one row of every audited table, by the table, and of others that an update may point to."""
    with keep_rows(django_db_blocker):
        yield store_rows()


def store_rows() -> dict[str, Any]:
    source, second_source = SourceFactory.create(slug="one"), SourceFactory.create(slug="two")
    user, second_user = User.objects.create_user("first"), User.objects.create_user("second")
    group, second_group = Group.objects.create(name="first"), Group.objects.create(name="second")
    content_type = ContentType.objects.create(app_label="auth", model="some")
    permission = Permission.objects.create(content_type=content_type, codename="some")
    token, _ = create_token("reports", sources=[source])
    channel = Channel.objects.create(name="ops", kind="webhook", url="https://hooks.example.com/1")
    channel.sources.add(source)
    report = Report.objects.create(name="monthly", owner=user, next_at="2030-01-01T00:00:00Z")
    report.people.add(user)
    role = ReportingRole.objects.create(name="finance_bi", limited=True)
    role.sources.add(source)
    scope = GroupScope.objects.create(group=group)
    scope.sources.add(source)
    group.permissions.add(permission)
    user.groups.add(group)
    user.user_permissions.add(permission)
    account = SocialAccount.objects.create(user=user, provider="sso", uid="1")
    objects = [
        source,
        SavedView.objects.create(owner=user, name="mine", kind="resource-usage"),
        Note.objects.create(day="2026-01-12", text="sooner"),
        role,
        role.sources.through.objects.get(),
        token,
        user,
        group,
        permission,
        content_type,
        SocialApp.objects.create(provider="openid_connect", name="app", client_id="x", secret="s"),
        channel,
        channel.sources.through.objects.get(),
        report,
        report.people.through.objects.get(),
        token.sources.through.objects.get(),
        scope,
        scope.sources.through.objects.get(),
        group.permissions.through.objects.get(group=group),
        user.groups.through.objects.get(user=user),
        user.user_permissions.through.objects.get(),
        Invitation.objects.create(user=user, digest=b"1", expires_at="2030-01-01T00:00:00Z"),
        EmailAddress.objects.create(user=user, email="old@example.com"),
        Authenticator.objects.create(user=user, type="totp", data={"secret": "s3cret"}),
        account,
        SocialToken.objects.create(account=account, token="t0ken"),
    ]
    view_group = Permission.objects.get(codename="view_group", content_type__app_label="auth")
    return {row._meta.db_table: row.pk for row in objects} | {
        "params": {
            "source": second_source.pk,
            "group": second_group.pk,
            "user": second_user.pk,
            "permission": view_group.pk,
        }
    }


def execute(*statements: str, params: Any = None) -> list[AuditEntry]:
    """Run statements as somebody at the database does, and undo them; returns the entries that they left, in order."""
    last = AuditEntry.objects.values_list("pk", flat=True).first() or 0
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, params)
        entries = list(AuditEntry.objects.filter(pk__gt=last).order_by("pk"))
        transaction.set_rollback(True)
    return entries


def test_every_table_is_audited_or_named_with_the_reason_why_not() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        tables = [name for (name,) in cursor.fetchall()]
    assert sorted(tables) == sorted([*NAMES, *NOT_AUDITED])
    assert all(reason.endswith(".") for reason in NOT_AUDITED.values())


def test_the_audited_tables_have_a_trigger_for_every_kind_of_statement_and_no_other_table_has_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT event_object_table, event_manipulation FROM information_schema.triggers "
            "WHERE trigger_name = 'accounts_audit'"
        )
        triggers = set(cursor.fetchall())
        # The information schema knows no TRUNCATE; it is bit 5 of a trigger's type.
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal AND tgtype & 32 <> 0")
        truncated = {table for (table,) in cursor.fetchall()}
    rows = {(table, event) for table in NAMES for event in ("INSERT", "UPDATE", "DELETE")}
    assert triggers == rows | {("accounts_auditentry", "UPDATE"), ("accounts_auditentry", "DELETE")}
    assert truncated == {*NAMES, "accounts_auditentry"}


class TestEveryTable:
    @pytest.mark.parametrize("table", NAMES)
    def test_an_update_of_any_audited_table_leaves_an_entry(self, table: str, rows: Any) -> None:
        assignment, expected = UPDATES[table]
        entries = execute(f"UPDATE {table} SET {assignment} WHERE id = {rows[table]}", params=rows["params"])
        if table == "socialaccount_socialtoken":  # it has no name but its id
            expected = [{f"token of token of the sign-in provider {rows[table]}": ["stored", "stored anew"]}]
        assert [entry.changes for entry in entries] == expected
        assert {entry.action for entry in entries} == {Action.CHANGED}
        assert execute(f"UPDATE {table} SET id = id WHERE id = {rows[table]}") == []

    @pytest.mark.parametrize("audited", AUDITED, ids=NAMES)
    def test_a_delete_and_an_insert_of_any_audited_table_leave_an_entry_each(
        self, audited: Row | Link, rows: Any
    ) -> None:
        table, pk = audited.table, rows[audited.table]
        deleted, added = execute(
            f"CREATE TEMPORARY TABLE kept AS SELECT * FROM {table} WHERE id = {pk}",
            f"DELETE FROM {table} WHERE id = {pk}",
            f"INSERT INTO {table} SELECT * FROM kept",
        )
        if isinstance(audited, Row):
            assert (deleted.action, added.action) == (Action.DELETED, Action.ADDED)
        else:
            assert (deleted.action, added.action) == (Action.CHANGED, Action.CHANGED)
        assert {deleted.kind, added.kind} == {audited.kind}
        assert "id" not in deleted.changes
        assert deleted.changes == {column: [after, before] for column, (before, after) in added.changes.items()}

    @pytest.mark.parametrize("table", NAMES)
    def test_emptying_any_audited_table_leaves_an_entry_with_its_name_and_its_number_of_rows(
        self, table: str, rows: Any
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            count = cursor.fetchone()[0]
        entries = execute("SET CONSTRAINTS ALL IMMEDIATE", f"TRUNCATE {table} CASCADE")
        [entry] = [entry for entry in entries if entry.object_name == table]
        assert (entry.action, entry.object_id) == (Action.EMPTIED, None)
        assert entry.changes == {"rows": [count, 0]}


def test_a_membership_that_is_written_before_its_user_is_logged_too() -> None:
    """Foreign keys are checked at the end of a transaction, so the order of statements is free."""
    group = Group.objects.get(name="administrator")
    [entry] = execute(f"INSERT INTO auth_user_groups (user_id, group_id) VALUES (999, {group.pk})")
    assert (entry.object_id, entry.object_name) == (999, "user_id 999")
    assert entry.changes == {"groups": [None, "administrator"]}


def test_another_id_of_an_object_is_logged() -> None:
    user = User.objects.create_user("pat")
    [entry] = execute(f"UPDATE auth_user SET id = 999 WHERE id = {user.pk}")
    assert entry.changes == {"id": [user.pk, 999]}


@pytest.mark.parametrize(
    "disguise",
    [
        "CREATE TEMPORARY TABLE accounts_auditentry (LIKE public.accounts_auditentry INCLUDING ALL)",
        "CREATE SCHEMA disguise; CREATE TABLE disguise.accounts_auditentry (LIKE public.accounts_auditentry)",
        "CREATE FUNCTION public.jsonb_build_array(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$",
    ],
    ids=["temporary table", "schema", "function"],
)
def test_nothing_of_ones_own_comes_between_a_change_and_the_log(disguise: str) -> None:
    user = User.objects.create_user("pat")
    change = f"UPDATE public.auth_user SET is_superuser = true WHERE id = {user.pk}"
    show = "SET LOCAL search_path = public, pg_temp"
    [entry] = execute(disguise, "SET LOCAL search_path = pg_temp, disguise, public", change, show)
    assert entry.changes == {"is_superuser": [False, True]}


def test_a_page_shows_an_emptied_table_and_the_address_that_changed() -> None:
    EmailAddress.objects.create(user=create_person("viewer"), email="a_b@example.com")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE account_emailaddress SET verified = true")
        cursor.execute("TRUNCATE auth_user_user_permissions")
    page = sign_in_as("administrator").get(reverse("admin:accounts_auditentry_changelist")).content.decode()
    assert "verified of e-mail address a_b@example.com: no → yes" in page
    assert "rows: 0 → 0" in page


def test_the_migration_that_made_the_triggers_can_be_undone_and_applied_again() -> None:
    with connection.schema_editor() as editor:
        remove_triggers(None, editor)
    SourceFactory.create(slug="unseen")
    assert not AuditEntry.objects.filter(object_name="unseen").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'accounts_audit%'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table that waits for its checks takes no trigger
    with connection.schema_editor() as editor:
        install_triggers(None, editor)
    SourceFactory.create(slug="seen")
    assert AuditEntry.objects.filter(object_name="seen").exists()
