"""The tables whose changes are logged, and those whose changes are not, with the reason.

A test compares both with the tables of the database: a new table has to be named here. A table in NOT_AUDITED has
nothing that decides what a user may do or see, or how the portal is set up.
"""

from dataclasses import dataclass

from portal.accounts.audit.models import ObjectKind


@dataclass(frozen=True, slots=True)
class Row:
    """A table whose rows are logged as objects of `kind`; `name` is the column with an object's name.

    `hidden`: columns that the portal itself writes at work. Of `secret` columns only that they were set is logged.
    """

    table: str
    kind: ObjectKind
    name: str
    hidden: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    of_source: bool = False

    function = "accounts_audit_row"

    def build_arguments(self) -> list[str]:
        flag = "1" if self.of_source else ""
        return [self.kind, self.name, ",".join(self.hidden), ",".join(self.secret), flag]


@dataclass(frozen=True, slots=True)
class Link:
    """A table whose rows are logged as changes of another object, such as memberships of a user.

    `owner` selects the id and name of that object, `value` the text to log; the parameter of each query is the column
    named before it. `source`: the value column is a source's id. SCHEMA stands for the schema of the tables.
    """

    table: str
    kind: ObjectKind
    label: str
    owner_column: str
    owner: str
    value_column: str
    value: str
    hidden: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()
    source: bool = False

    function = "accounts_audit_link"

    def build_arguments(self) -> list[str]:
        queries = (self.owner_column, self.owner, self.value_column, self.value)
        flag = "1" if self.source else ""
        return [self.kind, self.label, *queries, ",".join(self.hidden), ",".join(self.secret), flag]


def select_owner(table: str, name: str = "name") -> str:
    """Return the query of the id and the name of an object by its key."""
    return f"SELECT id, {name} FROM SCHEMA.{table} WHERE id = $1::bigint"  # noqa: S608 (constants)


def link_sources(table: str, kind: ObjectKind, owner_column: str, owner: str) -> Link:
    """Return the table of the sources that an object is limited to."""
    slug = "SELECT slug FROM SCHEMA.usage_source WHERE id = $1::bigint"
    return Link(table, kind, "sources", owner_column, owner, "source_id", slug, source=True)


def link_person(
    table: str, label: str, value_column: str, hidden: tuple[str, ...] = (), secret: tuple[str, ...] = ()
) -> Link:
    """Return a table of what belongs to a user, of which the value of a column is logged."""
    return Link(table, ObjectKind.PERSON, label, "user_id", USERS, value_column, VALUE, hidden, secret)


TOKENS = select_owner("accounts_apitoken")
USERS = select_owner("auth_user", "username")
GROUPS = select_owner("auth_group")
CHANNELS = select_owner("incidents_channel")
REPORTS = select_owner("reports_report")
REPORTING_ROLES = select_owner("usage_reportingrole")
USER_NAME = "SELECT username FROM SCHEMA.auth_user WHERE id = $1::bigint"
SCOPED = (
    "SELECT g.id, g.name FROM SCHEMA.accounts_groupscope s JOIN SCHEMA.auth_group g ON g.id = s.group_id "
    "WHERE s.id = $1::bigint"
)
SOCIAL_USERS = (
    "SELECT u.id, u.username FROM SCHEMA.socialaccount_socialaccount s JOIN SCHEMA.auth_user u ON u.id = s.user_id "
    "WHERE s.id = $1::bigint"
)
GROUP_NAME = "SELECT name FROM SCHEMA.auth_group WHERE id = $1::bigint"
PERMISSION = (
    "SELECT t.app_label || '.' || p.codename FROM SCHEMA.auth_permission p "
    "JOIN SCHEMA.django_content_type t ON t.id = p.content_type_id WHERE p.id = $1::bigint"
)
VALUE = "SELECT $1::text"

ENGINE_COLUMNS = ("next_sync_at", "halted_at", "halt_reason", "halt_code", "failures", "paused_until", "updated_at")
AUDITED: tuple[Row | Link, ...] = (
    Row("usage_source", ObjectKind.SOURCE, "slug", ENGINE_COLUMNS, ("credential",), of_source=True),
    # The parameters of a view can contain names of people, which some readers of the log may not see.
    Row("usage_savedview", ObjectKind.VIEW, "name", ("updated_at",), ("question",)),
    Row("usage_note", ObjectKind.NOTE, "text"),
    Row("usage_reportingrole", ObjectKind.REPORTING_ROLE, "name"),
    link_sources("usage_reportingrole_sources", ObjectKind.REPORTING_ROLE, "reportingrole_id", REPORTING_ROLES),
    Row("accounts_apitoken", ObjectKind.TOKEN, "name", ("last_used_at",), ("digest",)),
    Row("auth_user", ObjectKind.PERSON, "username", ("last_login",), ("password",)),
    Row("auth_group", ObjectKind.GROUP, "name"),
    # Renaming a permission changes the rights of all who have it.
    Row("auth_permission", ObjectKind.PERMISSION, "codename"),
    Row("django_content_type", ObjectKind.PERMISSION, "model"),
    # allauth offers the providers of this table beside that of the settings.
    Row("socialaccount_socialapp", ObjectKind.PROVIDER, "name", secret=("secret", "key")),
    Row("incidents_channel", ObjectKind.CHANNEL, "name", secret=("url", "secret")),
    link_sources("incidents_channel_sources", ObjectKind.CHANNEL, "channel_id", CHANNELS),
    Row("reports_report", ObjectKind.REPORT, "name", ("next_at",)),
    Link("reports_report_people", ObjectKind.REPORT, "people", "report_id", REPORTS, "user_id", USER_NAME),
    link_sources("accounts_apitoken_sources", ObjectKind.TOKEN, "apitoken_id", TOKENS),
    Link("accounts_groupscope", ObjectKind.GROUP, "limit", "group_id", GROUPS, "id", "SELECT 'limited to sources'"),
    link_sources("accounts_groupscope_sources", ObjectKind.GROUP, "groupscope_id", SCOPED),
    Link("auth_group_permissions", ObjectKind.GROUP, "permissions", "group_id", GROUPS, "permission_id", PERMISSION),
    Link("auth_user_groups", ObjectKind.PERSON, "groups", "user_id", USERS, "group_id", GROUP_NAME),
    Link("auth_user_user_permissions", ObjectKind.PERSON, "permissions", "user_id", USERS, "permission_id", PERMISSION),
    link_person("accounts_invitation", "invitation until", "expires_at", secret=("digest",)),
    link_person("account_emailaddress", "e-mail address", "email"),
    link_person("mfa_authenticator", "second factor", "type", hidden=("last_used_at",), secret=("data",)),
    # `extra_data`: the claims of the last sign-in, which nothing reads again.
    link_person("socialaccount_socialaccount", "sign-in provider", "uid", hidden=("last_login", "extra_data")),
    Link(
        "socialaccount_socialtoken",
        ObjectKind.PERSON,
        "token of the sign-in provider",
        "account_id",
        SOCIAL_USERS,
        "id",
        VALUE,
        secret=("token", "token_secret"),
    ),
)

SYNCED = "The engine fills it with what a vendor reports; triggers would halve the speed of a load."
COMPUTED = "A roll-up, computed from the usage records."
HISTORY = "The engine's own record of what it did; it names who requested it."
NOT_AUDITED = {
    "accounts_auditentry": "The log itself, which is append-only.",
    "account_emailconfirmation": "Keys of links that confirm an address; the portal sends none.",
    "django_admin_log": "Django's own history of the admin; nothing reads it to decide.",
    "django_migrations": "Which migrations were applied; written by `migrate` alone.",
    "django_session": "Who is signed in; the security log has every sign-in.",
    "usage_environmentusage": SYNCED,
    "usage_resourceusage": SYNCED,
    "usage_recipeusage": SYNCED,
    "usage_recordrevision": SYNCED,
    "usage_rejectedrecord": SYNCED,
    "usage_directory": "The engine's own record of how it read the names of a source.",
    "usage_directoryentry": "The names that a vendor reports; they are not changed by hand.",
    "usage_pinnedview": "Which saved view a person has on their own overview.",
    "usage_environmentday": COMPUTED,
    "usage_environmentaccrual": COMPUTED,
    "usage_resourceday": COMPUTED,
    "usage_recipeday": COMPUTED,
    "usage_recipeworkspaceday": COMPUTED,
    "usage_restatement": HISTORY,
    "usage_sourceday": "The queue of the engine; a day names who accepted what, and why.",
    "incidents_incident": "What the watch finds; an incident names who acknowledged it, and when.",
    "incidents_message": "The outbox of channels and reports, which are audited.",
    "sync_syncrun": HISTORY,
    "sync_syncrunday": HISTORY,
    "sync_loadattempt": HISTORY,
    "sync_attempttotal": HISTORY,
}
