"""Incidents, the channels that report them, and the messages of both: an outbox."""

from uuid import uuid4

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.incidents.conditions import ConditionKind
from portal.incidents.validators import validate_name, validate_recipients, validate_target, validate_time_zone
from usage.fields import EncryptedTextField
from usage.models import Source

OPEN = Q(resolved_at=None)
UNSENT = Q(sent_at=None, abandoned_at=None)
LONGEST_WAIT_MINUTES = 7 * 24 * 60


class Severity(models.TextChoices):
    """How urgent an incident is."""

    WARNING = "warning", "Warning"
    CRITICAL = "critical", "Critical"


class Incident(models.Model):
    """A condition with a beginning and an end that a person may have to know of.

    `key` is the permanent name of the subject, such as `source:3`, `subject` its label; one incident of a
    condition and a key is open at a time. `days`: how many days it is about, 0 for what is not about days. `source` is
    None for what is of no source; the row of a deleted source stays.
    """

    condition = models.CharField(max_length=24, choices=ConditionKind)
    key = models.CharField(max_length=200)
    subject = models.CharField(max_length=300)
    source = models.ForeignKey(
        Source, models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    severity = models.CharField(max_length=8, choices=Severity)
    state = models.CharField("what", max_length=20)
    message = models.TextField()
    detail = models.TextField(blank=True, default="")
    days = models.PositiveIntegerField(default=0, db_default=0)
    opened_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        ordering = ("-opened_at", "-id")
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint("condition", "key", name="incident_one_open", condition=OPEN),
            models.CheckConstraint(condition=Q(condition__in=ConditionKind.values), name="incident_known_condition"),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="incident_known_severity"),
            models.CheckConstraint(
                condition=Q(acknowledged_at=None, acknowledged_by="")
                | Q(acknowledged_at__isnull=False) & ~Q(acknowledged_by=""),
                name="incident_acknowledged_by_somebody",
            ),
        ]
        indexes = [
            models.Index("opened_at", "id", name="incident_newest"),
            models.Index("source", "opened_at", "id", name="incident_source"),
            models.Index("condition", "opened_at", "id", name="incident_condition"),
            models.Index("opened_at", "id", name="incident_open", condition=OPEN),
        ]

    def __str__(self) -> str:
        return f"{self.get_condition_display()}: {self.subject}"


class ChannelKind(models.TextChoices):
    """How a channel notifies people."""

    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"


class BodyFormat(models.TextChoices):
    """The body of a webhook's requests."""

    PORTAL = "portal", "The portal's own JSON, signed"
    SLACK = "slack", "Slack"
    TEAMS = "teams", "Microsoft Teams"


class Channel(models.Model):
    """Where messages about incidents go, and about which of them. Without `conditions`: about all.

    A `limited` channel reports its `sources` alone; where they were deleted, none.

    The address of a webhook is a secret too: with that of Slack or Teams anyone may write there.
    """

    name = models.CharField(
        max_length=100, unique=True, validators=[validate_name], help_text="Shown on pages and in messages."
    )
    kind = models.CharField(max_length=8, choices=ChannelKind, default=ChannelKind.EMAIL)
    enabled = models.BooleanField(
        default=True, help_text="Off: no messages are sent, and waiting messages are dropped."
    )
    recipients = models.TextField(
        blank=True,
        default="",
        validators=[validate_recipients],
        help_text="One address per line.",
    )
    url = EncryptedTextField(
        "address", blank=True, default="", validators=[validate_target], help_text="Of a webhook: where it posts to."
    )
    body_format = models.CharField("body", max_length=8, choices=BodyFormat, default=BodyFormat.PORTAL)
    secret = EncryptedTextField(
        blank=True,
        default="",
        help_text="Of a webhook: signs each request (HMAC-SHA256). Stored encrypted, never shown.",
    )
    conditions = ArrayField(
        models.CharField(max_length=24, choices=ConditionKind), blank=True, default=list, help_text="Empty: all."
    )
    limited = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It tells of the sources chosen here alone."
    )
    sources = models.ManyToManyField(Source, blank=True, related_name="+", help_text="None: all, and what is of none.")
    severity = models.CharField(
        "from severity",
        max_length=8,
        choices=Severity,
        default=Severity.WARNING,
        help_text="The lowest severity to send messages about.",
    )
    delay_minutes = models.PositiveIntegerField(
        default=5,
        validators=[MaxValueValidator(LONGEST_WAIT_MINUTES)],
        help_text="An incident that is resolved within this time sends no message.",
    )
    quiet_from = models.TimeField(
        null=True, blank=True, help_text="Messages wait until the end of the quiet hours, every day."
    )
    quiet_until = models.TimeField(null=True, blank=True)
    quiet_critical = models.BooleanField(default=False, help_text="Critical incidents wait in quiet hours, too.")
    time_zone = models.CharField(
        max_length=64, default="UTC", validators=[validate_time_zone], help_text="IANA name, of the quiet hours."
    )
    reminder_hours = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_WAIT_MINUTES // 60)],
        help_text="Repeats the message until the incident is resolved or acknowledged. Empty: never.",
    )
    tells_recovery = models.BooleanField(
        default=True, help_text="Sends a message when an incident is resolved, if one was sent about it."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="channel_has_name"),
            models.CheckConstraint(condition=Q(kind__in=ChannelKind.values), name="channel_known_kind"),
            models.CheckConstraint(condition=Q(body_format__in=BodyFormat.values), name="channel_known_body"),
            models.CheckConstraint(
                condition=Q(conditions__contained_by=ConditionKind.values), name="channel_known_conditions"
            ),
            models.CheckConstraint(
                condition=Q(kind=ChannelKind.EMAIL) & ~Q(recipients="") | Q(kind=ChannelKind.WEBHOOK) & ~Q(url=""),
                name="channel_has_target",
                violation_error_message="Give addresses for e-mail, or the address of a webhook.",
            ),
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False) & ~Q(quiet_from=models.F("quiet_until")),
                name="channel_quiet_hours",
                violation_error_message="Give both ends of the quiet hours, and two different ones.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Event(models.TextChoices):
    """What a message reports."""

    OPENED = "opened", "Opened"
    REMINDER = "reminder", "Reminder"
    RESOLVED = "resolved", "Resolved"
    TEST = "test", "Test"
    REPORT = "report", "Report"
    STOPPED = "stopped", "Stopped"


class Message(models.Model):
    """A message of a channel or of a report, waiting or sent. `uid` is its id for the recipient, at each attempt.

    `key` names what it reports, once: `opened:12:3`, `report:4:2026-12-01`. A process claims a message until
    `claimed_until`; where it is killed before it records the outcome, another process sends the message again.

    Of a report, `scheduled_at` is the instant that its range is of, `wait_until` the latest at which it is sent though
    its range is not complete. `outcome` states what was sent of a report, and whom the mail server refused.
    """

    uid = models.UUIDField(unique=True, default=uuid4, editable=False)
    key = models.CharField(max_length=200, unique=True)
    channel = models.ForeignKey(Channel, models.CASCADE, null=True, blank=True, related_name="messages", db_index=False)
    report = models.ForeignKey(
        "reports.Report", models.CASCADE, null=True, blank=True, related_name="messages", db_index=False
    )
    incident = models.ForeignKey(
        Incident, models.CASCADE, null=True, blank=True, related_name="messages", db_index=False
    )
    event = models.CharField(max_length=8, choices=Event)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    abandoned_at = models.DateTimeField(null=True, blank=True, help_text="When it was given up.")
    error = models.TextField(blank=True, default="", db_default="")
    scheduled_at = models.DateTimeField(null=True, blank=True)
    wait_until = models.DateTimeField(null=True, blank=True)
    outcome = models.TextField(blank=True, default="", db_default="")

    class Meta:
        ordering = ("id",)
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(channel__isnull=False, report=None)
                | Q(channel=None, incident=None, report__isnull=False, scheduled_at__isnull=False),
                name="message_of_channel_or_report",
            ),
            models.CheckConstraint(condition=Q(event__in=Event.values), name="message_known_event"),
            models.CheckConstraint(
                condition=~Q(event__in=["opened", "reminder", "resolved"]) | Q(incident__isnull=False),
                name="message_of_incident",
            ),
            models.CheckConstraint(condition=Q(sent_at=None) | Q(abandoned_at=None), name="message_one_end"),
        ]
        indexes = [
            models.Index("due_at", "id", name="message_due", condition=UNSENT),
            models.Index("incident", "channel", "id", name="message_incident"),
            models.Index("channel", "id", name="message_channel"),
            models.Index("report", "id", name="message_report", condition=Q(report__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.key} to {self.channel or self.report}"
