"""Resource usage: what resources consumed, by day and billing metric."""

from collections.abc import Sequence
from datetime import timedelta

from django.contrib import admin
from django.utils.safestring import SafeString

from usage.admin.display import render_full_quantity, render_quantity
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

    @admin.display(description="day (UTC)", ordering="day")
    def on(self, usage: ResourceUsage) -> SafeString | str:
        """The day of consumption."""
        return render_first_cell(usage, f"{usage.day:%Y-%m-%d}")

    @admin.display(description="resource")
    def resource(self, usage: ResourceUsage) -> SafeString | str:
        """Its name before its id."""
        return render_name(usage.resource_name, usage.resource_id)

    @admin.display(description="project")
    def project(self, usage: ResourceUsage) -> SafeString | str:
        """Its project."""
        return render_known_name(usage, "project_id")

    @admin.display(description="region")
    def region(self, usage: ResourceUsage) -> SafeString | str:
        """Its region."""
        return render_known_name(usage, "region_id")

    @admin.display(description="consumed")
    def consumed(self, usage: ResourceUsage) -> SafeString:
        """The quantity in its own unit."""
        return render_quantity(usage.consumed_quantity, usage.consumed_unit)

    @admin.display(description="tags")
    def tagged(self, usage: ResourceUsage) -> SafeString | str:
        """The first of its tags."""
        return render_tags(usage.tags)

    def get_related(self, record: ResourceUsage) -> Sequence[Related]:
        """Return links to other usage."""
        project = "" if record.project_id is None else str(record.project_id)
        return (
            ("Usage of this resource", {"resource_id": record.resource_id}),
            ("Usage of this type", {"resource_type": record.resource_type}),
            ("Usage of this project", {"project_id": project}),
            ("Usage of this day", {"from": str(record.day), "to": str(record.day + timedelta(days=1))}),
        )
