"""Scheduled reports: which saved view is sent, to whom, when, and in which form."""

from datetime import date, datetime, time

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from portal.incidents.validators import validate_name, validate_time_zone
from portal.reports.validators import validate_addresses
from usage.models import SavedView
from usage.models.source import UTC, get_zone

LONGEST_WAIT_DAYS = 31
# Every month has this day.
LAST_MONTH_DAY = 28


class Frequency(models.TextChoices):
    """How often a report is sent."""

    DAILY = "daily", "Every day"
    WEEKLY = "weekly", "Every week"
    MONTHLY = "monthly", "Every month"


class Weekday(models.IntegerChoices):
    """The days of a week, as ISO numbers them."""

    MONDAY = 1, "Monday"
    TUESDAY = 2, "Tuesday"
    WEDNESDAY = 3, "Wednesday"
    THURSDAY = 4, "Thursday"
    FRIDAY = 5, "Friday"
    SATURDAY = 6, "Saturday"
    SUNDAY = 7, "Sunday"


class Wait(models.TextChoices):
    """What a report waits for."""

    NOTHING = "nothing", "Nothing: send it as it is"
    COMPLETE = "complete", "All days of its range are complete"
    FINAL = "final", "All days of its range are final"


class FileFormat(models.TextChoices):
    """The file that is attached."""

    NONE = "none", "No file"
    CSV = "csv", "CSV"
    XLSX = "xlsx", "Excel"


class Report(models.Model):
    """A saved view that is sent by mail, with the rights that its owner has at that time.

    `next_at`: when it is sent next; a stopped report has none. `view` is None where the saved view was deleted: the
    report then stops.
    """

    name = models.CharField(max_length=100, validators=[validate_name], help_text="The subject of its mails.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", editable=False)
    view = models.ForeignKey(
        SavedView,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name="saved view",
        help_text="Its range has to move with the calendar, such as last month.",
    )
    frequency = models.CharField(max_length=8, choices=Frequency, default=Frequency.MONTHLY)
    weekday = models.PositiveSmallIntegerField(choices=Weekday, default=Weekday.MONDAY, help_text="Of a weekly report.")
    month_day = models.PositiveSmallIntegerField(
        "day of the month",
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(LAST_MONTH_DAY)],
        help_text=f"Of a monthly report: 1 to {LAST_MONTH_DAY}.",
    )
    time = models.TimeField(default=time(7))
    time_zone = models.CharField(
        max_length=64, default="UTC", validators=[validate_time_zone], help_text="IANA name, of the time."
    )
    wait = models.CharField(
        "wait until", max_length=8, choices=Wait, default=Wait.COMPLETE, help_text="Only a range that has ended can be."
    )
    wait_days = models.PositiveSmallIntegerField(
        "days at most",
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_WAIT_DAYS)],
        help_text="Then it is sent all the same, and its subject names what is missing.",
    )
    file_format = models.CharField("file", max_length=4, choices=FileFormat, default=FileFormat.CSV)
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="+")
    addresses = models.TextField(
        blank=True, default="", validators=[validate_addresses], help_text="Other recipients, one address per line."
    )
    next_at = models.DateTimeField(null=True, editable=False)
    stopped_at = models.DateTimeField(null=True, editable=False)
    stop_reason = models.TextField(blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name", "id")
        permissions = [("manage_report", "Can see and stop the reports of others")]
        constraints = [
            models.UniqueConstraint(
                "owner", "name", name="report_one_name", violation_error_message="You have a report of this name."
            ),
            models.CheckConstraint(condition=~Q(name=""), name="report_has_name"),
            models.CheckConstraint(condition=Q(frequency__in=Frequency.values), name="report_known_frequency"),
            models.CheckConstraint(condition=Q(weekday__in=Weekday.values), name="report_known_weekday"),
            models.CheckConstraint(
                condition=Q(month_day__gte=1, month_day__lte=LAST_MONTH_DAY), name="report_day_of_every_month"
            ),
            models.CheckConstraint(condition=Q(wait__in=Wait.values), name="report_known_wait"),
            models.CheckConstraint(
                condition=Q(wait_days__gte=1, wait_days__lte=LONGEST_WAIT_DAYS), name="report_bounded_wait"
            ),
            models.CheckConstraint(condition=Q(file_format__in=FileFormat.values), name="report_known_file"),
            models.CheckConstraint(
                condition=Q(next_at__isnull=False, stopped_at=None, stop_reason="")
                | Q(next_at=None, stopped_at__isnull=False) & ~Q(stop_reason=""),
                name="report_stopped_with_reason",
            ),
        ]
        indexes = [models.Index(F("next_at"), name="report_next", condition=Q(next_at__isnull=False))]

    def __str__(self) -> str:
        return self.name

    def get_date(self, at: datetime) -> date:
        """Return the date of an instant in the zone of its time."""
        return at.astimezone(get_zone(self.time_zone) or UTC).date()

    def is_due_on(self, day: date) -> bool:
        if self.frequency == Frequency.WEEKLY:
            return day.isoweekday() == self.weekday
        return self.frequency == Frequency.DAILY or day.day == self.month_day
