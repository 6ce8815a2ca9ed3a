"""The buttons of the alerts: each with its permission, on rows in the person's scope, and back to the overview."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from portal.accounts.models import ApiToken
from sync.admin.actions import accept_day, get_username, start_runs, sync_day, sync_days
from sync.engine import plan
from sync.models import Trigger
from usage.models import DayStatus, Source, SourceDay


@dataclass(frozen=True, slots=True)
class AlertAction:
    """A button: the model of its row, the permission to press it, and what it does; it leaves a message."""

    model: type[Model]
    permission: str
    run: Callable[[HttpRequest, Any], None]


def sync_status(status: DayStatus) -> Callable[[HttpRequest, Source], None]:
    """Return an action that syncs the days of a source that have a status when it runs."""

    def run(request: HttpRequest, source: Source) -> None:
        days = SourceDay.objects.with_status().filter(Q(source=source, status=status)).select_related("source")
        sync_days(request, days)

    return run


def sync_source(request: HttpRequest, source: Source) -> None:
    """Sync what the schedule would sync next."""
    start_runs(request, lambda: plan.plan_now(source, Trigger.ADMIN, get_username(request)))


def run_page_action(name: str) -> Callable[[HttpRequest, Any], None]:
    """Return an action that presses a button of the row's own page, where that page offers it."""

    def run(request: HttpRequest, obj: Any) -> None:
        model_admin: Any = admin.site.get_model_admin(type(obj))
        actions = {action.name: action for action in model_admin.get_page_actions(request, obj)}
        if name in actions:
            actions[name].act(request, obj)
        else:
            messages.info(request, f"There is nothing left to do for {obj}.")

    return run


SYNC: Final = "usage.change_sourceday"
ALERT_ACTIONS: Final = {
    "sync-failed": AlertAction(Source, SYNC, sync_status(DayStatus.FAILED)),
    "sync-partial": AlertAction(Source, SYNC, sync_status(DayStatus.PARTIAL)),
    "sync-unverified": AlertAction(Source, SYNC, sync_status(DayStatus.UNVERIFIED)),
    "sync-mismatched": AlertAction(Source, SYNC, sync_status(DayStatus.MISMATCHED)),
    "sync-now": AlertAction(Source, SYNC, sync_source),
    "resume": AlertAction(Source, "usage.change_source", run_page_action("resume")),
    "sync-day": AlertAction(SourceDay, SYNC, sync_day),
    "accept": AlertAction(SourceDay, SYNC, accept_day),
    "revoke": AlertAction(ApiToken, "accounts.change_apitoken", run_page_action("revoke")),
}


@require_POST
def run_alert_action(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    """Run the action of a button, and show the overview again.

    403 without the permission, whether the row exists or not; 404 for a row outside the person's scope.
    """
    action = ALERT_ACTIONS.get(name)
    if action is None or not request.user.has_perm(action.permission):
        raise PermissionDenied
    rows = admin.site.get_model_admin(action.model).get_queryset(request)
    action.run(request, get_object_or_404(rows, pk=pk))
    return redirect("admin:index")
