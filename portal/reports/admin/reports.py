"""Reports: which saved view is sent to whom, what was sent, and how a report is tested, sent and stopped."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from portal.accounts.permissions import get_visible_users, request_user
from portal.incidents.admin.incidents import describe_outcome
from portal.incidents.delivery import send_at_once
from portal.incidents.models import Event, Message
from portal.incidents.tasks import deliver
from portal.incidents.validators import list_recipients
from portal.reports.admin.form import ReportForm
from portal.reports.models import Frequency, Report, Weekday
from portal.reports.schedule import request_now, resume_report, stop_report
from sync.tasks import send
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import Table, build_list_column, render_badge, render_prose
from usage.columns import build_columns
from usage.formatting import format_count, format_instant, format_timestamp
from usage.slots import SlotsTaken, hold_slot

LAST_MESSAGES = 20
MANAGE = "reports.manage_report"


@admin.register(Report)
class ReportAdmin(PortalAdmin):
    """Saved views that are sent by mail. Only its owner changes a report, with whose rights it is sent."""

    form = ReportForm
    exported = build_columns(
        Report, "name", "frequency", "weekday", "month_day", "time", "time_zone", "wait", "wait_days", "file_format",
        "addresses", "next_at", "stopped_at", "stop_reason", "created_at", owner="owner__username", view="view__name",
    )  # fmt: skip
    list_display = ("name", "get_state", "get_view", "get_schedule", "get_target", "owner")
    list_display_links = ("name",)
    list_select_related = ("view", "owner")
    actions = None
    fieldsets = (
        ("Report", {"fields": ("name", "view")}),
        ("When", {"fields": ("frequency", "weekday", "month_day", "time", "time_zone")}),
        ("Wait", {"fields": ("wait", "wait_days")}),
        ("File", {"fields": ("file_format",)}),
        ("Recipients", {"fields": ("people", "addresses")}),
    )
    get_view = build_list_column("saved view", lambda report: render_prose(str(report.view or "deleted")))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return a person's own reports; with the permission for others' reports, also those of users they see."""
        reports: QuerySet[Any] = super().get_queryset(request).prefetch_related("people")
        actor = request_user(request)
        if not actor.has_perm(MANAGE):
            return reports.filter(owner=actor)
        return reports.filter(Q(owner=actor) | Q(owner__in=get_visible_users(actor).values("pk")))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow its owner alone: a report is sent with the owner's rights."""
        return super().has_change_permission(request, obj) and (obj is None or obj.owner_id == request.user.pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow its owner, and people with the permission for others' reports."""
        is_own = obj is None or obj.owner_id == request.user.pk or request.user.has_perm(MANAGE)
        return super().has_delete_permission(request, obj) and is_own

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.request = request
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show another person's report without inputs."""
        if obj is None or self.has_change_permission(request, obj):
            return self.fieldsets
        return [(None, {"fields": ("name", "owner", "get_view", "get_schedule", "get_target")})]

    def save_model(self, request: Any, obj: Report, form: Any, change: bool) -> None:
        """Set the owner of the report, and when it is sent next."""
        if not change:
            obj.owner = request.user
        form.set_schedule()
        super().save_model(request, obj, form, change)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what is deleted with reports: the number of their messages, of which there may be many."""
        names: list[Any] = [str(report) for report in objs]
        count = Message.objects.filter(report__in=objs).count()
        return [*names, [format_count(count, "message")]], {"reports": len(names), "messages": count}, set(), []

    def get_page_summary(self, request: HttpRequest, obj: Report) -> str:
        """Return when it is sent next, or why it is stopped."""
        if obj.next_at is None:
            return f"Stopped. {obj.stop_reason}"
        return f"Sent next at {format_instant(obj.next_at)}, with the rights that {obj.owner} has then."

    def get_page_actions(self, request: HttpRequest, obj: Report) -> Sequence[PageAction]:
        """Return the buttons: the owner tests, sends, stops and resumes; who may change others' reports stops them."""
        is_own, is_stopped = self.has_change_permission(request, obj), obj.stopped_at is not None
        actions = []
        if is_own:
            explains = f"Sends the report to {request_user(request).email or 'you'} alone, as it is now."
            actions.append(PageAction("test", "Send a test to me", self.send_test, explains))
        if is_own and not is_stopped:
            explains = "Sends what waits, else the report of today, to all recipients at once. Once a day."
            actions.append(PageAction("send", "Send now", self.send_now, explains))
        if is_own and is_stopped:
            actions.append(PageAction("resume", "Resume", self.resume, "Sends it again, from its next date on."))
        if not is_stopped and (is_own or request.user.has_perm(MANAGE)):
            explains = "Sends no more of it, and tells its recipients so."
            actions.append(PageAction("stop", "Stop", self.stop, explains))
        return actions

    def send_test(self, request: HttpRequest, report: Report) -> None:
        """Send the report to its owner, and show whether it was accepted."""
        try:
            with hold_slot():
                reason = send_at_once(Message(report=report, event=Event.TEST, scheduled_at=timezone.now()))
        except SlotsTaken as busy:
            reason = str(busy.detail)
        if reason:
            messages.error(request, f"The test was not sent. {reason}")
        else:
            messages.success(request, f"The test was sent to {request_user(request).email}.")

    def send_now(self, request: HttpRequest, report: Report) -> None:
        if request_now(report):
            send(deliver)
            messages.success(request, "The report is on its way.")
        else:
            messages.error(request, "The report of today was sent already.")

    def stop(self, request: HttpRequest, report: Report) -> None:
        stop_report(report, f"{request.user} stopped it.")
        messages.success(request, "The report is stopped.")

    def resume(self, request: HttpRequest, report: Report) -> None:
        resume_report(report)
        messages.success(request, "The report is sent again, from its next date on.")

    def get_page_tables(self, request: HttpRequest, obj: Report) -> Sequence[Table]:
        latest = Message.objects.filter(report=obj).order_by("-id")[:LAST_MESSAGES]
        rows = [
            (
                message.get_event_display(),
                format_timestamp(message.scheduled_at),
                render_prose(describe_outcome(message)),
                render_prose(message.outcome),
            )
            for message in latest
        ]
        columns = ("message", "of (UTC)", "outcome", "what was sent")
        return (Table("Latest messages", columns, rows, "None yet."),)

    @admin.display(description="state")
    def get_state(self, report: Report) -> SafeString:
        return render_badge("Stopped", "bad") if report.stopped_at else render_badge("On", "good")

    @admin.display(description="when")
    def get_schedule(self, report: Report) -> str:
        frequency, day = Frequency(report.frequency), ""
        if frequency == Frequency.WEEKLY:
            day = f" on {Weekday(report.weekday).label}"
        elif frequency == Frequency.MONTHLY:
            day = f" on day {report.month_day}"
        return f"{frequency.label}{day} at {report.time:%H:%M} ({report.time_zone})"

    @admin.display(description="to")
    def get_target(self, report: Report) -> SafeString | str:
        people = [user.get_username() for user in report.people.all()]
        return render_prose(", ".join([*people, *list_recipients(report.addresses)]))
