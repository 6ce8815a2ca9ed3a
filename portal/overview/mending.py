"""What the overview's buttons do: each for who may, on what they may know of, and back to the overview."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from portal.models import ApiToken
from sync.admin.actions import ask, may_sync, who
from sync.engine import plan
from sync.models import Trigger
from usage.models import DayState, Source, SourceDay, Verification


@dataclass(frozen=True, slots=True)
class Mending:
    """A button: what it is pressed for, who may, and what it does; it leaves a message."""

    model: type[Model]
    may: Callable[[HttpRequest], bool]
    act: Callable[[HttpRequest, Any], None]


def read_days(chosen: Q) -> Callable[[HttpRequest, Source], None]:
    """Return what has those days of a source read again that are so when it is pressed."""

    def act(request: HttpRequest, source: Source) -> None:
        days = SourceDay.objects.filter(chosen, source=source).select_related("source")
        ask(request, lambda: plan.reread(days, Trigger.ADMIN, who(request)))

    return act


def read_now(request: HttpRequest, source: Source) -> None:
    """Do what the schedule would do at its next time."""
    ask(request, lambda: plan.plan_now(source, Trigger.ADMIN, who(request)))


def read_day(request: HttpRequest, day: SourceDay) -> None:
    """Have one day read again."""
    ask(request, lambda: plan.reread([day], Trigger.ADMIN, who(request)))


def accept(request: HttpRequest, day: SourceDay) -> None:
    """Take the vendor's word for a suspect day."""
    ask(request, lambda: plan.accept_shrink(day, who(request)))


def by_its_page(name: str) -> Callable[[HttpRequest, Any], None]:
    """Return what presses the button of that name on the page of its record, where the page offers it now."""

    def act(request: HttpRequest, obj: Any) -> None:
        page: Any = admin.site.get_model_admin(type(obj))
        offered = {action.name: action for action in page.page_actions(request, obj)}
        if name in offered:
            offered[name].act(request, obj)
        else:
            messages.info(request, f"There is nothing left to do about {obj}.")

    return act


def permitted(permission: str) -> Callable[[HttpRequest], bool]:
    """Return what tells whether someone has a permission."""
    return lambda request: bool(request.user.has_perm(permission))


MENDINGS: Final = {
    "retry": Mending(Source, may_sync, read_days(Q(state=DayState.FAILED))),
    "read-partial": Mending(Source, may_sync, read_days(Q(state=DayState.PARTIAL))),
    "read-unverified": Mending(
        Source, may_sync, read_days(Q(state=DayState.LOADED, verification=Verification.UNVERIFIED))
    ),
    "read-now": Mending(Source, may_sync, read_now),
    "resume": Mending(Source, permitted("usage.change_source"), by_its_page("resume")),
    "read-day": Mending(SourceDay, may_sync, read_day),
    "accept": Mending(SourceDay, may_sync, accept),
    "revoke": Mending(ApiToken, permitted("portal.change_apitoken"), by_its_page("revoke")),
}


@require_POST
def mend(request: HttpRequest, what: str, pk: int) -> HttpResponse:
    """Do what a button of the overview says, and show the overview again.

    404 for what the person may not know of; 403 where they lack the right, whatever is there.
    """
    mending = MENDINGS.get(what)
    if mending is None or not mending.may(request):
        raise PermissionDenied
    rows = admin.site.get_model_admin(mending.model).get_queryset(request)
    mending.act(request, get_object_or_404(rows, pk=pk))
    return redirect("admin:index")
