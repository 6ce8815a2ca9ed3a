"""The functions and triggers that write the audit log, and those that make it append-only.

Every audited table (`tables.py`) has two triggers: for each row that a statement inserts, updates or deletes, and
for TRUNCATE. The functions run with the rights of their owner, so that the role of the application needs none on the
log (`owner.py`). Every name in them has its schema: no other role can shadow them with its own table or function.
"""

from typing import Any

from portal.accounts.audit.tables import AUDITED

# Stands for RUN_AS_OWNER in the functions. A path that does not name pg_temp would begin with it.
RUN_AS_OWNER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

WRITE_FUNCTION = """
CREATE OR REPLACE FUNCTION SCHEMA.accounts_audit_write(
    kind text, action text, object_id bigint, object_name text, changes jsonb, source bigint
) RETURNS void RUN_AS_OWNER AS $$
DECLARE
    context jsonb := coalesce(nullif(current_setting('portal.audit_context', true), ''), '{}')::jsonb;
    person bigint := (context ->> 'user')::bigint;
BEGIN
    INSERT INTO SCHEMA.accounts_auditentry
        (at, action, kind, object_id, object_name, changes, source_id, user_id, who, address, url, program)
    VALUES (
        now(), action, kind, object_id, left(coalesce(object_name, ''), 300), changes, source, person,
        coalesce((SELECT username FROM SCHEMA.auth_user WHERE id = person), ''),
        left(coalesce(context ->> 'address', ''), 64), left(coalesce(context ->> 'url', ''), 300),
        left(coalesce(nullif(current_setting('application_name'), ''), 'unknown'), 100) || ' as ' || session_user
    );
END
$$
"""
# Returns {column: [before, after]} of the columns that differ, null where none does.
DIFF_FUNCTION = """
CREATE OR REPLACE FUNCTION SCHEMA.accounts_audit_diff(before jsonb, after jsonb, secret text[])
RETURNS jsonb RUN_AS_OWNER AS $$
BEGIN
    RETURN (
        SELECT jsonb_object_agg(key, CASE
            WHEN key <> ALL (secret) THEN jsonb_build_array(b.value, a.value)
            ELSE jsonb_build_array(
                CASE WHEN coalesce(nullif(b.value, 'null'), '""') <> '""' THEN 'stored' END,
                CASE WHEN coalesce(nullif(a.value, 'null'), '""') = '""' THEN NULL
                     WHEN coalesce(nullif(b.value, 'null'), '""') <> '""' THEN 'stored anew' ELSE 'stored' END)
            END)
        FROM jsonb_each(before) AS b FULL JOIN jsonb_each(after) AS a USING (key)
        WHERE coalesce(nullif(b.value, 'null'), '""') <> coalesce(nullif(a.value, 'null'), '""')
    );
END
$$
"""
ROW_FUNCTION = """
CREATE OR REPLACE FUNCTION SCHEMA.accounts_audit_row() RETURNS trigger RUN_AS_OWNER AS $$
DECLARE
    hidden text[] := string_to_array(TG_ARGV[2], ',');
    before jsonb;
    after jsonb;
    record jsonb;
BEGIN
    IF TG_OP <> 'UPDATE' THEN hidden := hidden || ARRAY['id']; END IF;  -- the entry has it as object_id
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD) - hidden; record := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW) - hidden; record := to_jsonb(NEW); END IF;
    IF before = after THEN RETURN NULL; END IF;
    PERFORM SCHEMA.accounts_audit_write(
        TG_ARGV[0],
        CASE TG_OP WHEN 'INSERT' THEN 'added' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END,
        (record ->> 'id')::bigint, record ->> TG_ARGV[1],
        coalesce(SCHEMA.accounts_audit_diff(before, after, string_to_array(TG_ARGV[3], ',')), '{}'),
        CASE WHEN TG_ARGV[4] = '1' THEN (record ->> 'id')::bigint END
    );
    RETURN NULL;
END
$$
"""
# A row that gets another owner or value is logged as a removed row and an added row.
LINK_FUNCTION = """
CREATE OR REPLACE FUNCTION SCHEMA.accounts_audit_link() RETURNS trigger RUN_AS_OWNER AS $$
DECLARE
    unlogged text[] := string_to_array(TG_ARGV[6], ',') || ARRAY[TG_ARGV[2], TG_ARGV[4]];
    before jsonb;
    after jsonb;
    linked jsonb;
    is_moved boolean;
    owner_id bigint;
    owner_name text;
    shown text;
    changes jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
    is_moved := before -> TG_ARGV[2] IS DISTINCT FROM after -> TG_ARGV[2]
        OR before -> TG_ARGV[4] IS DISTINCT FROM after -> TG_ARGV[4];
    FOREACH linked IN ARRAY ARRAY[before, after] LOOP
        CONTINUE WHEN linked IS NULL OR (NOT is_moved AND linked = before AND before <> after);
        EXECUTE TG_ARGV[3] INTO owner_id, owner_name USING linked ->> TG_ARGV[2];
        EXECUTE TG_ARGV[5] INTO shown USING linked ->> TG_ARGV[4];
        -- Where the owner or the value is not there, which a transaction may defer, their ids stand for them.
        owner_name := coalesce(owner_name, TG_ARGV[2] || ' ' || (linked ->> TG_ARGV[2]));
        shown := coalesce(shown, linked ->> TG_ARGV[4]);
        changes := '{}';
        IF is_moved THEN
            changes := jsonb_build_object(TG_ARGV[1], CASE
                WHEN linked = after THEN jsonb_build_array(NULL, shown) ELSE jsonb_build_array(shown, NULL) END);
        END IF;
        IF TG_OP = 'UPDATE' AND linked = after THEN
            changes := changes || coalesce((
                SELECT jsonb_object_agg(replace(d.key, '_', ' ') || ' of ' || TG_ARGV[1] || ' ' || shown, d.value)
                FROM jsonb_each(SCHEMA.accounts_audit_diff(
                    before - unlogged, after - unlogged, string_to_array(TG_ARGV[7], ','))) AS d
            ), '{}');
        END IF;
        CONTINUE WHEN changes = '{}';
        PERFORM SCHEMA.accounts_audit_write(
            TG_ARGV[0], 'changed', coalesce(owner_id, (linked ->> TG_ARGV[2])::bigint), owner_name, changes,
            CASE WHEN TG_ARGV[8] = '1' THEN (linked ->> TG_ARGV[4])::bigint END
        );
    END LOOP;
    RETURN NULL;
END
$$
"""
TRUNCATE_FUNCTION = """
CREATE OR REPLACE FUNCTION SCHEMA.accounts_audit_truncate() RETURNS trigger RUN_AS_OWNER AS $$
DECLARE
    counted bigint;
BEGIN
    EXECUTE 'SELECT count(*) FROM ' || TG_RELID::regclass INTO counted;
    PERFORM SCHEMA.accounts_audit_write(
        TG_ARGV[0], 'emptied', NULL, TG_TABLE_NAME, jsonb_build_object('rows', jsonb_build_array(counted, 0)), NULL
    );
    RETURN NULL;
END
$$
"""
KEEP_FUNCTION = """
CREATE OR REPLACE FUNCTION SCHEMA.accounts_audit_keep() RETURNS trigger RUN_AS_OWNER AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: entries are neither changed nor deleted.';
END
$$
"""
# In the order in which they may be dropped.
FUNCTIONS = {
    "accounts_audit_row()": ROW_FUNCTION,
    "accounts_audit_link()": LINK_FUNCTION,
    "accounts_audit_truncate()": TRUNCATE_FUNCTION,
    "accounts_audit_keep()": KEEP_FUNCTION,
    "accounts_audit_diff(jsonb, jsonb, text[])": DIFF_FUNCTION,
    "accounts_audit_write(text, text, bigint, text, jsonb, bigint)": WRITE_FUNCTION,
}
LOG = "accounts_auditentry"
EACH_ROW, TRUNCATE = "AFTER INSERT OR UPDATE OR DELETE", "BEFORE TRUNCATE"


def install_triggers(_: Any, schema_editor: Any) -> None:
    """Create or replace the functions and triggers; migrations call it."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        schema = str(cursor.fetchone()[0])
    for signature, definition in FUNCTIONS.items():
        schema_editor.execute(definition.replace("RUN_AS_OWNER", RUN_AS_OWNER).replace("SCHEMA", schema), params=None)
        # A role that may call a function could write an entry of something that never happened.
        schema_editor.execute(f"REVOKE ALL ON FUNCTION {schema}.{signature} FROM PUBLIC")

    def create_trigger(name: str, event: str, table: str, function: str, *arguments: str) -> None:
        values = ", ".join(schema_editor.quote_value(argument.replace("SCHEMA", schema)) for argument in arguments)
        level = "STATEMENT" if event == TRUNCATE else "ROW"
        schema_editor.execute(
            f"CREATE OR REPLACE TRIGGER {name} {event} ON {schema}.{table} "
            f"FOR EACH {level} EXECUTE FUNCTION {schema}.{function}({values})",
            params=None,
        )

    with schema_editor.connection.cursor() as cursor:
        # A table of a later migration, which calls this again, is not there yet.
        existing = set(schema_editor.connection.introspection.table_names(cursor))
    for audited in AUDITED:
        if audited.table not in existing:
            continue
        create_trigger("accounts_audit", EACH_ROW, audited.table, audited.function, *audited.build_arguments())
        create_trigger("accounts_audit_truncate", TRUNCATE, audited.table, "accounts_audit_truncate", audited.kind)
    create_trigger("accounts_audit", "BEFORE UPDATE OR DELETE", LOG, "accounts_audit_keep")
    create_trigger("accounts_audit_truncate", TRUNCATE, LOG, "accounts_audit_keep")


def remove_triggers(_: Any, schema_editor: Any) -> None:
    """Drop the functions, and with them the triggers."""
    for signature in FUNCTIONS:
        schema_editor.execute(f"DROP FUNCTION {signature} CASCADE")
