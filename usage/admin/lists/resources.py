"""Resource usage: what resources consumed, by day and billing metric."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from django.contrib import admin

from usage.admin.display import build_list_column, render_full_quantity, render_quantity
from usage.admin.lists.base import UsageAdmin
from usage.admin.lists.cells import render_first_cell, render_known_name, render_name, render_tags
from usage.admin.lists.details import Related
from usage.api.views import ResourceUsageViewSet
from usage.models import ResourceUsage


@admin.register(ResourceUsage)
class ResourceUsageAdmin(UsageAdmin):
    """What resources consumed, by day and billing metric."""

    viewset = ResourceUsageViewSet
    common = (
        "from",
        "to",
        "source",
        "resource_type",
        "project_id",
        "resource_name__contains",
        "tag",
        "include_withdrawn",
    )
    id_columns = ("resource_id", "project_id", "region_id")
    renderers = {"consumed_quantity": lambda usage: render_full_quantity(usage.consumed_quantity, usage.consumed_unit)}
    list_display = (
        "on",
        "source",
        "resource_type",
        "resource",
        "billing_metric",
        "project",
        "region",
        "consumed",
        "tagged",
    )

    on = build_list_column("day (UTC)", lambda usage: render_first_cell(usage, f"{usage.day:%Y-%m-%d}"), "day")
    resource = build_list_column("resource", lambda usage: render_name(usage.resource_name, usage.resource_id))
    project = build_list_column("project", partial(render_known_name, column="project_id"))
    region = build_list_column("region", partial(render_known_name, column="region_id"))
    consumed = build_list_column(
        "consumed", lambda usage: render_quantity(usage.consumed_quantity, usage.consumed_unit)
    )
    tagged = build_list_column("tags", lambda usage: render_tags(usage.tags))

    def get_related(self, record: ResourceUsage) -> Sequence[Related]:
        project = "" if record.project_id is None else str(record.project_id)
        return (
            ("Usage of this resource", {"resource_id": record.resource_id}),
            ("Usage of this type", {"resource_type": record.resource_type}),
            ("Usage of this project", {"project_id": project}),
            ("Usage of this day", {"from": str(record.day), "to": str(record.day + timedelta(days=1))}),
        )
