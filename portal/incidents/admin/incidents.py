"""Open and past incidents, who looks after them, and what resolves them."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.incidents.access import acknowledge, filter_visible
from portal.incidents.alerts import Alert
from portal.incidents.conditions import ConditionKind
from portal.incidents.models import OPEN, Incident, Message, Severity
from portal.incidents.serializers import IncidentSerializer
from portal.incidents.source_alerts import build_source_alerts, fetch_conditions
from portal.incidents.token_alerts import build_token_alerts
from portal.incidents.watch import list_unsettled_sources, stays_open
from sync.admin.actions import get_username
from usage.admin.base import PageAction, ReadOnlyAdmin
from usage.admin.display import Table, build_list_column, render_badge, render_prose
from usage.admin.filters import SourceListFilter, build_choice_filter, build_column_filter
from usage.api.access import filter_by_staff_scope, get_staff_scope
from usage.columns import get_columns
from usage.formatting import format_age, format_duration, format_instant, format_timestamp
from usage.models import Source

MAX_MESSAGES = 50
TONES = {Severity.CRITICAL: "bad", Severity.WARNING: "warn"}


StatusFilter = build_choice_filter(
    "status",
    "status",
    {
        "open": ("Open", OPEN),
        "unacknowledged": ("Open, and nobody looks after it", OPEN & Q(acknowledged_at=None)),
        "past": ("Past", Q(resolved_at__isnull=False)),
    },
    "Open and past",
)


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    """What is or was wrong, the latest first."""

    keyset = ("opened_at", "id")
    exported = get_columns(IncidentSerializer)
    list_display = ("get_state", "get_subject", "get_message", "get_opened", "get_lasted", "get_acknowledged")
    list_display_links = ("get_subject",)
    list_filter = (
        StatusFilter,
        build_column_filter("condition", "condition", ConditionKind, "All conditions"),
        SourceListFilter,
    )
    allowed_lookups = ("status", "condition", "source")
    ordering = ("-opened_at", "-id")
    actions = None
    fields = (
        "condition",
        "subject",
        "get_message",
        "detail",
        "severity",
        "get_opened",
        "get_resolved",
        "get_acknowledged",
        "get_links",
    )
    get_subject = build_list_column("incident", str)
    get_opened = build_list_column("since (UTC)", lambda incident: format_timestamp(incident.opened_at))
    get_resolved = build_list_column("resolved (UTC)", lambda incident: format_timestamp(incident.resolved_at))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        can_view_tokens = request.user.has_perm("accounts.view_apitoken")
        return filter_visible(super().get_queryset(request), get_staff_scope(request), can_view_tokens=can_view_tokens)

    def get_object(self, request: HttpRequest, *args: Any) -> Any:
        """Return the incident, with what is wrong of its subject now."""
        incident = super().get_object(request, *args)
        incident.alerts = find_alerts(request, incident)
        return incident

    def get_page_summary(self, request: HttpRequest, obj: Incident) -> str:
        """Return whether it is open, and since when."""
        if obj.resolved_at is not None:
            return f"Resolved on {format_instant(obj.resolved_at)}."
        opened = f"Open since {format_instant(obj.opened_at)}."
        if obj.alerts or obj.source_id is None or not request.user.has_perm("usage.view_source"):  # type: ignore[attr-defined]
            return opened
        if stays_open(obj, list_unsettled_sources(), timezone.now()):
            return f"{opened} Its days are being synced again."
        return f"{opened} It no longer applies, and ends with the next tick."

    def get_page_actions(self, request: HttpRequest, obj: Incident) -> Sequence[PageAction]:
        is_open = obj.resolved_at is None and obj.acknowledged_at is None
        if not is_open or not request.user.has_perm("incidents.change_incident"):
            return ()
        return (PageAction("acknowledge", "Acknowledge", self.acknowledge, "You look after it: reminders end."),)

    def acknowledge(self, request: HttpRequest, incident: Incident) -> HttpResponse | None:
        if acknowledge(incident, get_username(request)):
            messages.success(request, f"You look after this now: {incident}.")
        else:
            messages.info(request, "It is resolved, or somebody looks after it already.")
        return redirect("admin:incidents_incident_change", incident.pk)

    def build_page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Add the buttons of the overview that resolve it."""
        page_actions = [(action, self.action_url(obj, action)) for action in self.get_page_actions(request, obj)]
        buttons = {button.url: button for alert in obj.alerts for button in alert.buttons}
        alert_actions = [
            (PageAction(f"mend-{number}", button.label, ignore_post), button.url)
            for number, button in enumerate(buttons.values())
        ]
        return {"page_actions": [*alert_actions, *page_actions]}

    def get_page_tables(self, request: HttpRequest, obj: Incident) -> Sequence[Table]:
        """Return who was notified of it, for a person who may see channels."""
        if not request.user.has_perm("incidents.view_channel") or get_staff_scope(request) is not None:
            return ()
        sent = Message.objects.filter(incident=obj).select_related("channel").order_by("id")[:MAX_MESSAGES]
        rows = [
            (
                str(message.channel),
                message.get_event_display(),
                format_timestamp(message.due_at),
                describe_outcome(message),
            )
            for message in sent
        ]
        return (Table("Messages", ("channel", "message", "due (UTC)", "outcome"), rows, "Nobody was told."),)

    @admin.display(description="state")
    def get_state(self, incident: Incident) -> SafeString:
        if incident.resolved_at is not None:
            return render_badge("Resolved", "plain")
        return render_badge(incident.state, TONES[Severity(incident.severity)])

    @admin.display(description="message")
    def get_message(self, incident: Incident) -> SafeString | str:
        return format_html_join("", '<div class="prose">{}</div>', ((line,) for line in incident.message.splitlines()))

    @admin.display(description="lasted")
    def get_lasted(self, incident: Incident) -> str:
        if incident.resolved_at is None:
            return f"began {format_age(incident.opened_at)}"
        return format_duration(int((incident.resolved_at - incident.opened_at).total_seconds()))

    @admin.display(description="looked after by")
    def get_acknowledged(self, incident: Incident) -> SafeString | str:
        if incident.acknowledged_at is None:
            return render_prose("nobody yet") if incident.resolved_at is None else "–"
        return f"{incident.acknowledged_by}, {format_age(incident.acknowledged_at)}"

    @admin.display(description="where to look")
    def get_links(self, incident: Incident) -> SafeString | str:
        """The pages that the overview leads to."""
        alerts: list[Alert] = getattr(incident, "alerts", [])
        links = {alert.url: alert.subject for alert in alerts if alert.url}
        links |= {link.url: link.label for alert in alerts for link in alert.links}
        anchors = format_html_join(", ", '<a href="{}">{}</a>', links.items())
        return format_html("{}", anchors) if links else "–"


def find_alerts(request: HttpRequest, incident: Incident) -> list[Alert]:
    """Return the alerts of the overview that an open incident is about, with what this person may press."""
    if incident.resolved_at is not None:
        return []
    has_perm = request.user.has_perm
    alerts: list[Alert] = []
    if incident.source_id is not None and has_perm("usage.view_source"):
        sources = filter_by_staff_scope(Source.objects.defer("credential"), request, "id")
        alerts = build_source_alerts(fetch_conditions(list(sources.filter(pk=incident.source_id))), has_perm)
    elif incident.condition == ConditionKind.TOKEN_EXPIRES:
        alerts = build_token_alerts(request, has_perm)
    return [alert for alert in alerts if (alert.condition, alert.key) == (incident.condition, incident.key)]


def ignore_post(request: HttpRequest, incident: Incident) -> None:
    """Do nothing: the button of an alert posts to the alert's own address."""


def describe_outcome(message: Message) -> str:
    """Return whether a message was sent, waits, or was abandoned."""
    if message.sent_at:
        sent = f"sent {format_timestamp(message.sent_at)}"
        # What was sent of a report has a separate column.
        return f"{sent}; {message.outcome}" if message.outcome and message.channel_id else sent
    if message.abandoned_at:
        return f"given up: {message.error}"
    attempts = f"tried {message.attempts} times: " if message.attempts else ""
    return f"{attempts}{message.error}" if message.error else "waits"
