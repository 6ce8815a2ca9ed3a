"""Recipe usage: hours of recipes, and of the recipes that were deleted since."""

from collections.abc import Sequence
from datetime import UTC, timedelta

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from usage.admin.display import build_list_column, render_number
from usage.admin.lists.base import UsageAdmin
from usage.admin.lists.cells import render_first_cell, render_name
from usage.admin.lists.details import Related, Renderer
from usage.api.views import RecipeUsageViewSet
from usage.models import RecipeUsage

COUNTS = ("task_count", "job_succeeded_count", "job_failed_count", "recipe_count")


def render_recipe(usage: RecipeUsage) -> SafeString | str:
    """Return the name of a recipe before its id; deleted recipes are one row per workspace and hour."""
    if usage.recipe_id is None:
        return format_html('<span class="quiet">{}</span>', "deleted recipes")
    return render_name(usage.recipe_name, usage.recipe_id)


def render_count(name: str) -> Renderer:
    """Return how a count is shown."""
    return lambda hour: render_number(getattr(hour, name))


@admin.register(RecipeUsage)
class RecipeUsageAdmin(UsageAdmin):
    """Hours of recipes, and of the recipes that were deleted since."""

    viewset = RecipeUsageViewSet
    common = (
        "from",
        "to",
        "tz",
        "source",
        "workspace_id",
        "recipe_id",
        "recipe_name__contains",
        "include_withdrawn",
    )
    id_columns = ("recipe_id", "workspace_id", "folder_id", "external_id")
    renderers = {name: render_count(name) for name in COUNTS}
    list_display = ("hour", "source", "workspace", "recipe", "folder", "tasks", "jobs_succeeded", "jobs_failed")

    hour = build_list_column(
        "hour (UTC)", lambda usage: render_first_cell(usage, f"{usage.starts_at:%Y-%m-%d %H:%M}"), "starts_at"
    )
    workspace = build_list_column(
        "workspace", lambda usage: render_name(usage.workspace_name, usage.workspace_id), "workspace_id"
    )
    recipe = build_list_column("recipe", render_recipe)
    folder = build_list_column("folder", lambda usage: render_name(usage.folder_name, usage.folder_id))
    tasks = build_list_column("tasks", render_count("task_count"))
    jobs_succeeded = build_list_column("jobs succeeded", render_count("job_succeeded_count"))
    jobs_failed = build_list_column("jobs failed", render_count("job_failed_count"))

    def get_related(self, record: RecipeUsage) -> Sequence[Related]:
        first, end = (
            f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            for instant in (record.starts_at, record.starts_at + timedelta(hours=1))
        )
        recipe, folder = ("" if key is None else str(key) for key in (record.recipe_id, record.folder_id))
        return (
            ("Hours of this recipe", {"recipe_id": recipe}),
            ("Hours of this folder", {"folder_id": folder}),
            ("Hours of this workspace", {"workspace_id": str(record.workspace_id)}),
            ("Deleted recipes of this workspace", {"workspace_id": str(record.workspace_id), "deleted_recipes": "only"})
            if record.recipe_id is None
            else ("Everything in this hour", {"from": first, "to": end}),
        )
