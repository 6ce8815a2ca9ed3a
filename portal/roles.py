"""The three roles of staff: groups that a migration makes, each with what the one before it may do and more."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps as installed
from django.contrib.auth.management import create_permissions

VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"
APPS = ("usage", "sync", "portal", "auth")

# What has a page, or a part of one.
SEEN = (
    "usage.environmentusage",
    "usage.resourceusage",
    "usage.recipeusage",
    "usage.recordrevision",
    "usage.source",
    "usage.sourceday",
    "usage.restatement",
    "usage.rejectedrecord",
    "sync.syncrun",
    "sync.syncrunday",
    "sync.loadattempt",
)
# What has none: sums that the portal keeps for itself. Nobody needs a right for them.
UNSEEN = (
    "usage.environmentday",
    "usage.environmentprojectday",
    "usage.environmentaccrual",
    "usage.environmentuserday",
    "usage.resourceday",
    "usage.resourceprojectday",
    "usage.recipeday",
    "usage.recipeworkspaceday",
)


def rights(model: str, *verbs: str) -> Iterator[str]:
    """Yield the names of permissions on a model: `usage.view_source`."""
    app, name = model.split(".")
    return (f"{app}.{verb}_{name}" for verb in verbs)


VIEWS = (
    *(right for model in SEEN for right in rights(model, "view")),
    # Of their own: pages show and change nobody else's, save what is shared.
    *rights("usage.savedview", "view", "add", "change", "delete"),
)
OPERATES = (*VIEWS, "usage.change_sourceday")
# People and tokens are switched off and revoked, not deleted: what they did stays on record under their name.
ADMINISTERS = (
    *OPERATES,
    *rights("usage.source", "add", "change", "delete"),
    *rights("portal.apitoken", "view", "add", "change"),
    *rights("auth.user", "view", "add", "change"),
    *rights("auth.group", "view", "add", "change", "delete"),
    *rights("portal.groupscope", "view", "add", "change", "delete"),
    *rights("portal.auditentry", "view"),
)
ROLES: dict[str, tuple[str, ...]] = {VIEWER: VIEWS, OPERATOR: OPERATES, ADMINISTRATOR: ADMINISTERS}
IN_WORDS = {
    VIEWER: "Looks at usage, explores, exports and saves views.",
    OPERATOR: "Also has days read again, retries, and accepts suspect days.",
    ADMINISTRATOR: "Also keeps sources, tokens and people, and reads the audit log.",
}


def make_roles(apps: Any = installed, schema_editor: Any = None) -> None:
    """Make the roles that are missing and give each what it lacks; nothing is taken from anyone.

    A migration calls it, with the models as they are by then: rights on models that are still to come wait for a
    later one. Django itself would make the permissions only once all migrations have run.
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
