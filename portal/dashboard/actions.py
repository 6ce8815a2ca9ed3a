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
from sync.admin.actions import accept_day, get_username, has_sync_permission, start_runs, sync_day, sync_days
from sync.engine import plan
from sync.models import Trigger
from usage.models import DayStatus, Source, SourceDay


@dataclass(frozen=True, slots=True)
class AlertAction:
    """A button: the model of its row, who may press it, and what it does; it leaves a message."""

    model: type[Model]
    is_allowed: Callable[[HttpRequest], bool]
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


def require_permission(permission: str) -> Callable[[HttpRequest], bool]:
    """Return a check of a permission."""
    return lambda request: bool(request.user.has_perm(permission))


ALERT_ACTIONS: Final = {
    "sync-failed": AlertAction(Source, has_sync_permission, sync_status(DayStatus.FAILED)),
    "sync-partial": AlertAction(Source, has_sync_permission, sync_status(DayStatus.PARTIAL)),
    "sync-unverified": AlertAction(Source, has_sync_permission, sync_status(DayStatus.UNVERIFIED)),
    "sync-mismatched": AlertAction(Source, has_sync_permission, sync_status(DayStatus.MISMATCHED)),
    "sync-now": AlertAction(Source, has_sync_permission, sync_source),
    "resume": AlertAction(Source, require_permission("usage.change_source"), run_page_action("resume")),
    "sync-day": AlertAction(SourceDay, has_sync_permission, sync_day),
    "accept": AlertAction(SourceDay, has_sync_permission, accept_day),
    "revoke": AlertAction(ApiToken, require_permission("accounts.change_apitoken"), run_page_action("revoke")),
}


@require_POST
def run_alert_action(request: HttpRequest, name: str, pk: int) -> HttpResponse:
    """Run the action of a button, and show the overview again.

    403 without the permission, whether the row exists or not; 404 for a row outside the person's scope.
    """
    action = ALERT_ACTIONS.get(name)
    if action is None or not action.is_allowed(request):
        raise PermissionDenied
    rows = admin.site.get_model_admin(action.model).get_queryset(request)
    action.run(request, get_object_or_404(rows, pk=pk))
    return redirect("admin:index")
