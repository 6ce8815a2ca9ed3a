"""Environment usage: completed runs of environments."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from django.contrib import admin

from usage.admin.display import build_list_column, render_full_quantity, render_quantity
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

    stopped = build_list_column(
        "stopped (UTC)", lambda run: render_first_cell(run, f"{run.stopped_at:%Y-%m-%d %H:%M:%S}"), "stopped_at"
    )
    environment = build_list_column("environment", lambda run: render_id(run.environment_id), "environment_id")
    project = build_list_column("project", partial(render_known_name, column="project_id"), "project_id")
    user = build_list_column("user", partial(render_known_name, column="user_id"), "user_id")
    environment_class = build_list_column("class", partial(render_known_name, column="environment_class_id"))
    runtime = build_list_column("runtime", lambda run: render_quantity(run.runtime_seconds, "seconds"))

    def get_related(self, record: EnvironmentUsage) -> Sequence[Related]:
        stop_date = record.stopped_at.date()
        return (
            ("Runs of this environment", {"environment_id": record.environment_id}),
            ("Runs of this user", {"user_id": record.user_id}),
            ("Runs of this project", {"project_id": record.project_id}),
            ("Runs that stopped on this day", {"from": str(stop_date), "to": str(stop_date + timedelta(days=1))}),
        )
