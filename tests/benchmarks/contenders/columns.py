"""What the contenders read: each kind's table, the columns of the portal's lists, and the order of its pages.

Imports nothing, since contenders live in environments of their own.
"""

TRUST = ("extra", "first_seen_at", "changed_at", "revision", "withdrawn_at")
COLUMNS = {
    "environment-usage": (
        *("id", "day", "record_id", "environment_id", "project_id", "user_id", "runner_id", "environment_class_id"),
        *("created_at", "stopped_at", "runtime_seconds"),
        *TRUST,
    ),
    "resource-usage": (
        *("id", "day", "resource_key", "resource_type", "billing_metric", "consumed_quantity", "consumed_unit"),
        *("project_id", "region_id", "resource_id", "resource_name", "first_seen", "last_seen", "details", "tags"),
        *TRUST,
    ),
    "recipe-usage": (
        *("id", "day", "workspace_id", "external_id", "workspace_name", "recipe_id", "recipe_name", "folder_id"),
        *("folder_name", "starts_at", "ends_at", "task_count", "job_succeeded_count", "job_failed_count"),
        *("recipe_count", *TRUST),
    ),
}
ORDER = {"environment-usage": "stopped_at", "resource-usage": "day", "recipe-usage": "starts_at"}


def table(kind: str) -> str:
    """Return the name of a kind's table."""
    return f"usage_{kind.replace('-', '')}"


def select(kind: str, limit: str = "") -> str:
    """Return the plainest SELECT of what a list or an export of a kind gives, its source named by the slug."""
    # NULL where a record never changed.
    expressions = {"first_seen_at": "COALESCE(t.first_seen_at, t.changed_at) AS first_seen_at"}
    selected = ", ".join(expressions.get(column, f"t.{column}") for column in COLUMNS[kind])
    order = ORDER[kind]
    return (
        f"SELECT s.slug AS source, {selected} FROM {table(kind)} t JOIN usage_source s ON s.id = t.source_id "
        f"WHERE t.withdrawn_at IS NULL ORDER BY t.{order} DESC, t.id DESC{limit}"
    )
