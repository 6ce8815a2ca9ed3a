"""Channels: where messages about incidents go, with which rules, and the test of each."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from httpx2 import URL

from portal.incidents.access import filter_visible
from portal.incidents.conditions import ConditionKind
from portal.incidents.delivery import send_test
from portal.incidents.models import UNSENT, Channel, ChannelKind, Incident, Message
from portal.incidents.validators import list_recipients, validate_target
from usage.admin.base import PageAction, PortalAdmin
from usage.admin.display import Table, build_list_column, render_badge, render_prose
from usage.api.access import get_staff_scope
from usage.columns import build_columns
from usage.datetimes import list_zones
from usage.fields import LockedText
from usage.formatting import format_count, format_timestamp
from usage.models import Source

LAST_MESSAGES = 20
KEPT_HELP = "Stored encrypted and never shown again. Empty: the stored value is kept."
SIGNING_HELP = "Signs each request (Standard Webhooks): any text, or whsec_ and base64. Not needed for Slack and Teams."


def list_zone_choices() -> list[tuple[str, str]]:
    """Return the time zones as the choices of a field."""
    return [(zone, zone) for zone in list_zones()]


class ChannelForm(forms.ModelForm[Channel]):
    """A channel's settings; its address and secret are never shown again."""

    new_url = forms.CharField(
        required=False,
        label="Address",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off", "class": "vTextField"}),
        help_text="Starts with https. Keep an address of Slack or Teams secret: it is enough to post there.",
    )
    new_secret = forms.CharField(
        required=False,
        label="Secret",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text=SIGNING_HELP,
    )
    clear_secret = forms.BooleanField(required=False, label="Delete the stored secret")
    conditions = forms.MultipleChoiceField(
        required=False,
        choices=ConditionKind.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: every condition.",
    )
    sources = forms.ModelMultipleChoiceField(
        Source.objects.defer("credential"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: all sources, and conditions without a source, such as a silent worker.",
    )
    time_zone = forms.ChoiceField(choices=list_zone_choices, initial="UTC", help_text="The zone of the quiet hours.")

    limit: ClassVar[frozenset[int] | None] = None

    class Meta:
        labels = {
            "severity": "From severity",
            "delay_minutes": "Delay in minutes",
            "reminder_hours": "Hours between reminders",
            "tells_recovery": "Tell when it is resolved",
            "quiet_from": "From",
            "quiet_until": "Until",
            "quiet_critical": "Also for critical incidents",
        }
        widgets = {
            "recipients": forms.Textarea(attrs={"rows": 3, "cols": 60}),
            "quiet_from": forms.TimeInput({"type": "time"}, format="%H:%M"),
            "quiet_until": forms.TimeInput({"type": "time"}, format="%H:%M"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" not in self.fields:  # a person without permission to change it
            return
        sources = self.fields["sources"]
        assert isinstance(sources, forms.ModelMultipleChoiceField)  # noqa: S101
        if self.limit is not None and sources.queryset is not None:
            sources.queryset = sources.queryset.filter(pk__in=self.limit)
        if self.instance.pk:
            self.fields["new_url"].help_text = self.fields["new_secret"].help_text = KEPT_HELP

    def clean_new_url(self) -> str:
        """Return the address; raises ValidationError for an address that no webhook may post to."""
        url: str = self.cleaned_data["new_url"].strip()
        if url:
            validate_target(url)
        return url

    def clean(self) -> dict[str, Any]:
        """Check that the channel has a target, and reports no sources that its author may not see."""
        cleaned = super().clean() or self.cleaned_data
        is_mail = cleaned.get("kind") == ChannelKind.EMAIL
        if is_mail and not cleaned.get("recipients") and "recipients" not in self.errors:
            self.add_error("recipients", "Give at least one address, one a line.")
        if not is_mail and not (cleaned.get("new_url") or self.instance.url) and "new_url" not in self.errors:
            self.add_error("new_url", "Give the address of the webhook.")
        if self.limit is not None and not cleaned.get("sources") and "sources" not in self.errors:
            self.add_error("sources", "You see only some sources: choose those to send messages about.")
        if bool(cleaned.get("quiet_from")) != bool(cleaned.get("quiet_until")):
            self.add_error("quiet_until", "Give both ends of the quiet hours, or none.")
        elif cleaned.get("quiet_from") and cleaned["quiet_from"] == cleaned["quiet_until"]:
            self.add_error("quiet_until", "Give another time than that at which they begin.")
        self.set_secrets(cleaned)
        return cleaned

    def set_secrets(self, cleaned: dict[str, Any]) -> None:
        """Set the address and the secret where they are entered. A new host does not get the stored secret."""
        if cleaned.get("new_url"):
            is_kept = self.instance.secret and not cleaned.get("new_secret") and not cleaned.get("clear_secret")
            if is_kept and has_new_host(self.instance, cleaned["new_url"]):
                self.add_error("new_secret", "Enter the secret again, because requests now go to another host.")
            self.instance.url = cleaned["new_url"]
        if cleaned.get("new_secret") or cleaned.get("clear_secret"):
            self.instance.secret = cleaned.get("new_secret") or ""


def has_new_host(channel: Channel, url: str) -> bool:
    """Return whether an address leads to another host than the stored address."""
    return isinstance(channel.url, LockedText) or not channel.url or URL(channel.url).host != URL(url).host


@admin.register(Channel)
class ChannelAdmin(PortalAdmin):
    """Where messages about incidents go."""

    form = ChannelForm
    exported = build_columns(
        Channel, "name", "kind", "enabled", "recipients", "body_format", "conditions", "severity", "delay_minutes",
        "time_zone", "quiet_critical", "reminder_hours", "tells_recovery", "created_at",
        created_by="created_by__username",
    )  # fmt: skip
    list_display = ("name", "get_state", "get_target", "get_rules")
    list_display_links = ("name",)
    actions = None
    fieldsets = (
        ("Channel", {"fields": ("name", "kind", "enabled")}),
        ("E-mail", {"fields": ("recipients",)}),
        ("Webhook", {"fields": ("new_url", "body_format", "new_secret", "clear_secret")}),
        ("Conditions", {"fields": ("severity", "conditions", "sources")}),
        ("When", {"fields": ("delay_minutes", "reminder_hours", "tells_recovery")}),
        ("Quiet hours", {"fields": ("quiet_from", "quiet_until", "time_zone", "quiet_critical")}),
    )
    get_target = build_list_column("tells", lambda channel: render_prose(describe_target(channel)))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the channels; for a person limited to sources, only those that report no others."""
        failing = Count("messages", filter=Q(messages__in=Message.objects.filter(UNSENT, attempts__gt=0)))
        channels: QuerySet[Any] = super().get_queryset(request).annotate(failing=failing).prefetch_related("sources")
        source_ids = get_staff_scope(request)
        if source_ids is None:
            return channels
        through = Channel.sources.through.objects
        wider_channel_ids = through.exclude(source__in=source_ids).values("channel")
        return channels.filter(limited=True, pk__in=through.values("channel")).exclude(pk__in=wider_channel_ids)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.limit = get_staff_scope(request)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Hide the inputs of secrets from a person who may not change the channel."""
        if obj is None or self.has_change_permission(request, obj):
            return self.fieldsets
        return [(None, {"fields": ("name", "get_target", "get_rules", "enabled")})]

    def save_model(self, request: Any, obj: Channel, form: Any, change: bool) -> None:
        """Note who added it, and whether it is limited to sources."""
        obj.limited = bool(form.cleaned_data["sources"])
        if not change:
            obj.created_by = request.user
        super().save_model(request, obj, form, change)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what is deleted with channels: the number of their messages, of which there may be many."""
        names: list[Any] = [str(channel) for channel in objs]
        count = Message.objects.filter(channel__in=objs).count()
        return [*names, [format_count(count, "message")]], {"channels": len(names), "messages": count}, set(), []

    def get_page_actions(self, request: HttpRequest, obj: Channel) -> Sequence[PageAction]:
        if not self.has_change_permission(request, obj):
            return ()
        explains = "Sends a test message to every recipient of the channel."
        return (PageAction("test", "Send a test", self.send_test, explains),)

    def send_test(self, request: HttpRequest, channel: Channel) -> None:
        """Send a test, and show whether it was accepted."""
        if reason := send_test(channel):
            messages.error(request, f"The test was not sent. {reason}")
        else:
            messages.success(request, f"The test was sent to {describe_target(channel)}.")

    def get_page_tables(self, request: HttpRequest, obj: Channel) -> Sequence[Table]:
        from portal.incidents.admin.incidents import describe_outcome

        # Before its sources were selected it may have reported others.
        can_view_tokens = request.user.has_perm("accounts.view_apitoken")
        visible_incidents = filter_visible(
            Incident.objects.all(), get_staff_scope(request), can_view_tokens=can_view_tokens
        )
        channel_messages = Message.objects.filter(Q(incident=None) | Q(incident__in=visible_incidents), channel=obj)
        latest = channel_messages.select_related("incident").order_by("-id")[:LAST_MESSAGES]
        rows = [
            (
                message.get_event_display(),
                str(message.incident or "–"),
                format_timestamp(message.due_at),
                describe_outcome(message),
            )
            for message in latest
        ]
        return (Table("Latest messages", ("message", "incident", "due (UTC)", "outcome"), rows, "None yet."),)

    @admin.display(description="state")
    def get_state(self, channel: Any) -> SafeString:
        if not channel.enabled:
            return render_badge("Off", "plain")
        return render_badge("Failing", "bad") if channel.failing else render_badge("On", "good")

    @admin.display(description="of")
    def get_rules(self, channel: Channel) -> SafeString | str:
        conditions = ", ".join(str(ConditionKind(name).label) for name in channel.conditions) or "everything"
        sources = ", ".join(sorted(source.slug for source in channel.sources.all())) or "no source"
        return render_prose(f"{conditions}{f', of {sources}' if channel.limited else ''}; from {channel.severity} on")


def describe_target(channel: Channel) -> str:
    """Return the addresses of a mail, or the host of a webhook, whose address is a secret."""
    if channel.kind == ChannelKind.EMAIL:
        return ", ".join(list_recipients(channel.recipients))
    if isinstance(channel.url, LockedText):
        return "an address that no key opens"
    return f"{channel.get_body_format_display()} at {URL(channel.url).host}"
