"""The triggers that write the audit log, and the one that keeps it as it is.

None stands on tables that the engine fills. What it writes on a source, and every note of a last use, is left out
(`hidden`): a tick changes nothing here. Of secrets (`secret`) only that they were set is told.
"""

from dataclasses import dataclass
from typing import Any

from portal.audit.models import Kind


@dataclass(frozen=True, slots=True)
class Row:
    """A table whose every row is one thing: `name` is the column it is called by."""

    table: str
    kind: Kind
    name: str
    hidden: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    of_source: bool = False

    def arguments(self) -> list[str]:
        """Return what `portal_audit_row` is told."""
        return [
            self.kind,
            self.name,
            ",".join(("id", *self.hidden)),
            ",".join(self.secret),
            "1" if self.of_source else "",
        ]


@dataclass(frozen=True, slots=True)
class Link:
    """A table whose rows belong to a thing elsewhere: `owner` and `value` find its id and name, and what is linked.

    Both are questions of one parameter: the column of the row that is named before them. `source`: the value is one.
    """

    table: str
    kind: Kind
    label: str
    owner_column: str
    owner: str
    value_column: str
    value: str
    source: bool = False

    def arguments(self) -> list[str]:
        """Return what `portal_audit_link` is told."""
        found = (self.owner_column, self.owner, self.value_column, self.value)
        return [self.kind, self.label, *found, "1" if self.source else ""]


TOKENS = "SELECT id, name FROM portal_apitoken WHERE id = $1::bigint"
PEOPLE = "SELECT id, username FROM auth_user WHERE id = $1::bigint"
GROUPS = "SELECT id, name FROM auth_group WHERE id = $1::bigint"
SCOPED = "SELECT g.id, g.name FROM portal_groupscope s JOIN auth_group g ON g.id = s.group_id WHERE s.id = $1::bigint"
SOURCE = "SELECT slug FROM usage_source WHERE id = $1::bigint"
IN_GROUP = "SELECT name FROM auth_group WHERE id = $1::bigint"
RIGHT = (
    "SELECT t.app_label || '.' || p.codename FROM auth_permission p "
    "JOIN django_content_type t ON t.id = p.content_type_id WHERE p.id = $1::bigint"
)
ITSELF = "SELECT $1::text"

ENGINES_OWN = ("next_sync_at", "halted_at", "halt_reason", "failures", "paused_until", "created_at", "updated_at")
ROWS = (
    Row("usage_source", Kind.SOURCE, "slug", ENGINES_OWN, ("credential",), of_source=True),
    Row("portal_apitoken", Kind.TOKEN, "name", ("digest", "last_used_at", "created_at")),
    Row("auth_user", Kind.PERSON, "username", ("last_login", "date_joined"), ("password",)),
    Row("auth_group", Kind.GROUP, "name"),
)
LINKS = (
    Link("portal_apitoken_sources", Kind.TOKEN, "sources", "apitoken_id", TOKENS, "source_id", SOURCE, source=True),
    Link("portal_groupscope", Kind.GROUP, "limit", "group_id", GROUPS, "id", "SELECT 'limited to sources'"),
    Link("portal_groupscope_sources", Kind.GROUP, "sources", "groupscope_id", SCOPED, "source_id", SOURCE, source=True),
    Link("auth_group_permissions", Kind.GROUP, "permissions", "group_id", GROUPS, "permission_id", RIGHT),
    Link("auth_user_groups", Kind.PERSON, "groups", "user_id", PEOPLE, "group_id", IN_GROUP),
    Link("auth_user_user_permissions", Kind.PERSON, "permissions", "user_id", PEOPLE, "permission_id", RIGHT),
    Link("mfa_authenticator", Kind.PERSON, "second factor", "user_id", PEOPLE, "type", ITSELF),
    Link("socialaccount_socialaccount", Kind.PERSON, "sign-in provider", "user_id", PEOPLE, "uid", ITSELF),
)

WRITE = """
CREATE OR REPLACE FUNCTION portal_audit_write(
    kind text, action text, object_id bigint, object_name text, changes jsonb, source bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    context jsonb := coalesce(nullif(current_setting('pghistory.context_metadata', true), ''), '{}')::jsonb;
    person bigint := (context ->> 'user')::bigint;
BEGIN
    INSERT INTO portal_auditentry
        (at, action, kind, object_id, object_name, changes, source_id, user_id, who, address, url, program)
    VALUES (
        now(), action, kind, object_id, left(coalesce(object_name, ''), 300), changes, source, person,
        coalesce((SELECT username FROM auth_user WHERE id = person), ''),
        left(coalesce(context ->> 'address', ''), 64), left(coalesce(context ->> 'url', ''), 300),
        left(coalesce(nullif(current_setting('application_name'), ''), 'unknown'), 100) || ' as ' || session_user
    );
END
$$
"""
ROW = """
CREATE OR REPLACE FUNCTION portal_audit_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    hidden text[] := string_to_array(TG_ARGV[2], ',');
    secret text[] := string_to_array(TG_ARGV[3], ',');
    before jsonb;
    after jsonb;
    whole jsonb;
    changes jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD) - hidden; whole := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW) - hidden; whole := to_jsonb(NEW); END IF;
    IF before = after THEN RETURN NULL; END IF;
    SELECT jsonb_object_agg(key, CASE
        WHEN key <> ALL (secret) THEN jsonb_build_array(b.value, a.value)
        ELSE jsonb_build_array(
            CASE WHEN b.value IS NULL OR b.value = '""' THEN NULL ELSE 'stored' END,
            CASE WHEN a.value IS NULL OR a.value = '""' THEN NULL
                 WHEN TG_OP = 'UPDATE' AND b.value <> '""' THEN 'stored anew' ELSE 'stored' END)
        END)
    INTO changes
    FROM jsonb_each(before) AS b FULL JOIN jsonb_each(after) AS a USING (key)
    WHERE b.value IS DISTINCT FROM a.value
      AND coalesce(nullif(b.value, 'null'), '""') <> coalesce(nullif(a.value, 'null'), '""');
    PERFORM portal_audit_write(
        TG_ARGV[0],
        CASE TG_OP WHEN 'INSERT' THEN 'added' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END,
        (whole ->> 'id')::bigint, whole ->> TG_ARGV[1], coalesce(changes, '{}'),
        CASE WHEN TG_ARGV[4] = '1' THEN (whole ->> 'id')::bigint END
    );
    RETURN NULL;
END
$$
"""
LINK = """
CREATE OR REPLACE FUNCTION portal_audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    linked jsonb;
    owner_id bigint;
    owner_name text;
    value text;
BEGIN
    IF TG_OP = 'INSERT' THEN linked := to_jsonb(NEW); ELSE linked := to_jsonb(OLD); END IF;
    EXECUTE TG_ARGV[3] INTO owner_id, owner_name USING linked ->> TG_ARGV[2];
    EXECUTE TG_ARGV[5] INTO value USING linked ->> TG_ARGV[4];
    IF owner_id IS NULL THEN RETURN NULL; END IF;  -- what it belonged to is deleted, and says so itself
    PERFORM portal_audit_write(
        TG_ARGV[0], 'changed', owner_id, owner_name,
        jsonb_build_object(TG_ARGV[1], CASE TG_OP
            WHEN 'INSERT' THEN jsonb_build_array(NULL, value) ELSE jsonb_build_array(value, NULL) END),
        CASE WHEN TG_ARGV[6] = '1' THEN (linked ->> TG_ARGV[4])::bigint END
    );
    RETURN NULL;
END
$$
"""
KEEP = """
CREATE OR REPLACE FUNCTION portal_audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: entries are neither changed nor deleted.';
END
$$
"""


def install(_: Any, schema_editor: Any) -> None:
    """Create the functions and triggers, or bring them up to date; migrations call it."""
    for function in (WRITE, ROW, LINK, KEEP):
        schema_editor.execute(function)
    for row in ROWS:
        create(schema_editor, row.table, "AFTER INSERT OR UPDATE OR DELETE", "portal_audit_row", row.arguments())
    for link in LINKS:
        create(schema_editor, link.table, "AFTER INSERT OR DELETE", "portal_audit_link", link.arguments())
    create(schema_editor, "portal_auditentry", "BEFORE UPDATE OR DELETE", "portal_audit_keep", [])


def create(schema_editor: Any, table: str, when: str, function: str, arguments: list[str]) -> None:
    """Create the audit trigger of one table, in place of the one it may have."""
    told = ", ".join(schema_editor.quote_value(argument) for argument in arguments)
    schema_editor.execute(
        f"CREATE OR REPLACE TRIGGER portal_audit {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}({told})",
        params=None,
    )


def remove(_: Any, schema_editor: Any) -> None:
    """Drop the functions, and with them the triggers."""
    for name in ("portal_audit_row()", "portal_audit_link()", "portal_audit_keep()"):
        schema_editor.execute(f"DROP FUNCTION {name} CASCADE")
    schema_editor.execute("DROP FUNCTION portal_audit_write(text, text, bigint, text, jsonb, bigint)")
