"""The three roles of staff: groups created by a migration, each with all permissions of the previous role."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions

VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"
APPS = ("usage", "sync", "accounts", "auth", "incidents", "reports")

# Shown on a page of the admin.
MODELS_WITH_PAGES = (
    "usage.environmentusage",
    "usage.resourceusage",
    "usage.recipeusage",
    "usage.recordrevision",
    "usage.source",
    "usage.sourceday",
    "usage.restatement",
    "usage.rejectedrecord",
    "usage.directoryentry",
    "usage.note",
    "sync.syncrun",
    "sync.syncrunday",
    "sync.loadattempt",
    "incidents.incident",
)
# Roll-ups and totals without a page. They need no permission.
INTERNAL_MODELS = (
    "usage.environmentday",
    "usage.environmentaccrual",
    "usage.resourceday",
    "usage.recipeday",
    "usage.recipeworkspaceday",
    "sync.attempttotal",
    "usage.directory",
    "usage.pinnedview",
    "usage.reportingrole",
)


def build_codes(model: str, *verbs: str) -> Iterator[str]:
    """Yield the names of permissions on a model: `usage.view_source`."""
    app, name = model.split(".")
    return (f"{app}.{verb}_{name}" for verb in verbs)


VIEWER_PERMISSIONS = (
    *(code for model in MODELS_WITH_PAGES for code in build_codes(model, "view")),
    # The pages show only a user's own and shared views, and change only their own.
    *build_codes("usage.savedview", "view", "add", "change", "delete"),
    # Each is sent with the rights that its owner has then, and changed by its owner alone.
    *build_codes("reports.report", "view", "add", "change", "delete"),
)
OPERATOR_PERMISSIONS = (
    *VIEWER_PERMISSIONS,
    "usage.change_sourceday",
    "incidents.change_incident",
    *build_codes("usage.note", "add", "change", "delete"),
)
# Users are deactivated and tokens revoked, never deleted: the audit log keeps naming them.
ADMINISTRATOR_PERMISSIONS = (
    *OPERATOR_PERMISSIONS,
    *build_codes("usage.source", "add", "change", "delete"),
    *build_codes("incidents.channel", "view", "add", "change", "delete"),
    "reports.manage_report",
    *build_codes("accounts.apitoken", "view", "add", "change"),
    *build_codes("auth.user", "view", "add", "change"),
    *build_codes("auth.group", "view", "add", "change", "delete"),
    *build_codes("accounts.groupscope", "view", "add", "change", "delete"),
    *build_codes("accounts.auditentry", "view"),
    # Personal data: others see the names of people by a group that has the permission.
    "usage.view_person",
)
ROLES: dict[str, tuple[str, ...]] = {
    VIEWER: VIEWER_PERMISSIONS,
    OPERATOR: OPERATOR_PERMISSIONS,
    ADMINISTRATOR: ADMINISTRATOR_PERMISSIONS,
}
ROLE_DESCRIPTIONS = {
    VIEWER: "Looks at usage, explores, exports, saves views, and has them sent as reports.",
    OPERATOR: "Also has days read again, retries, accepts suspect days, acknowledges incidents, and writes notes.",
    ADMINISTRATOR: "Also keeps sources, tokens, channels and people, and reads the audit log.",
}


def create_roles(apps: Any = installed, schema_editor: Any = None) -> None:
    """Create missing roles and add missing permissions to them; nothing is removed.

    Migrations call it with the models of that time. It creates the permissions itself: Django does so only after the
    last migration.
    """
    using = schema_editor.connection.alias if schema_editor else "default"
    for app in APPS:
        create_permissions(installed.get_app_config(app), verbosity=0, using=using, apps=apps)
    permissions = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in apps.get_model("auth", "Permission").objects.using(using).select_related("content_type")
    }
    groups = apps.get_model("auth", "Group").objects.using(using)
    for role, names in ROLES.items():
        group, _ = groups.get_or_create(name=role)
        group.permissions.add(*(permissions[name] for name in names if name in permissions))
