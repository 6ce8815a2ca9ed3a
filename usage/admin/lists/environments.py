"""Environment usage: completed runs of environments."""

from collections.abc import Sequence
from datetime import timedelta

from django.contrib import admin
from django.utils.safestring import SafeString

from usage.admin.display import render_full_quantity, render_quantity
from usage.admin.lists.base import UsageAdmin
from usage.admin.lists.cells import render_first_cell, render_id, render_known_name
from usage.admin.lists.details import Related
from usage.api.views import EnvironmentUsageViewSet
from usage.models import EnvironmentUsage


@admin.register(EnvironmentUsage)
class EnvironmentUsageAdmin(UsageAdmin):
    """Completed runs of environments."""

    viewset = EnvironmentUsageViewSet
    common = ("from", "to", "tz", "source", "project_id", "user_id", "environment_id", "include_withdrawn")
    id_columns = ("environment_id", "record_id", "user_id", "project_id", "environment_class_id", "runner_id")
    renderers = {"runtime_seconds": lambda run: render_full_quantity(run.runtime_seconds, "seconds")}
    list_display = ("stopped", "source", "environment", "project", "user", "environment_class", "runtime")

    @admin.display(description="stopped (UTC)", ordering="stopped_at")
    def stopped(self, run: EnvironmentUsage) -> SafeString | str:
        """When the run ended."""
        return render_first_cell(run, f"{run.stopped_at:%Y-%m-%d %H:%M:%S}")

    @admin.display(description="environment", ordering="environment_id")
    def environment(self, run: EnvironmentUsage) -> SafeString | str:
        """Its environment."""
        return render_id(run.environment_id)

    @admin.display(description="project", ordering="project_id")
    def project(self, run: EnvironmentUsage) -> SafeString | str:
        """Its project."""
        return render_known_name(run, "project_id")

    @admin.display(description="user", ordering="user_id")
    def user(self, run: EnvironmentUsage) -> SafeString | str:
        """Whose it was."""
        return render_known_name(run, "user_id")

    @admin.display(description="class")
    def environment_class(self, run: EnvironmentUsage) -> SafeString | str:
        """The class of its environment."""
        return render_known_name(run, "environment_class_id")

    @admin.display(description="runtime")
    def runtime(self, run: EnvironmentUsage) -> SafeString:
        """How long it ran."""
        return render_quantity(run.runtime_seconds, "seconds")

    def get_related(self, record: EnvironmentUsage) -> Sequence[Related]:
        """Return links to other runs."""
        stop_date = record.stopped_at.date()
        return (
            ("Runs of this environment", {"environment_id": record.environment_id}),
            ("Runs of this user", {"user_id": record.user_id}),
            ("Runs of this project", {"project_id": record.project_id}),
            ("Runs that stopped on this day", {"from": str(stop_date), "to": str(stop_date + timedelta(days=1))}),
        )
