"""A source day: the one unit of fetching, verifying, replacing, queueing, retrying and trusting."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from usage.days import Day
from usage.models.source import Source


class DayState(models.TextChoices):
    """Where a day stands in the queue; what is held of it is told by `loaded_at`, `complete` and `verification`."""

    DUE = "due", "Due"
    LOADING = "loading", "Loading"
    LOADED = "loaded", "Loaded"
    PARTIAL = "partial", "Partial"
    SUSPECT = "suspect", "Suspect"
    FAILED = "failed", "Failed"


class Verification(models.TextChoices):
    """Whether what was read agrees with the vendor's own checksum."""

    NONE = "none", "Vendor gives no checksum"
    VERIFIED = "verified", "Verified"
    UNVERIFIED = "unverified", "Unverified"


class SourceDayQuerySet(models.QuerySet["SourceDay"]):
    """Questions one asks of days."""

    def claimable(self, now: datetime | Now) -> Self:
        """Days a worker may take: due by now, or left behind by a worker whose lease has ended."""
        return self.filter(
            Q(state=DayState.DUE, due_at__lte=now) | Q(state=DayState.LOADING, lease_expires_at__lte=now)
        )


class SourceDay(models.Model):
    """One calendar day of one source, in the source's time zone.

    The table is also the work queue: a day that is `due` and whose `due_at` has come may be claimed.
    `attempt` is the fencing token: it grows with every claim, and only its holder may write.
    """

    source = models.ForeignKey(Source, models.PROTECT, related_name="days", db_index=False)
    day = models.DateField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    state = models.CharField(max_length=8, choices=DayState, default=DayState.DUE, db_default=DayState.DUE)
    due_at = models.DateTimeField(db_default=Now(), help_text="Not to be read before.")
    attempt = models.PositiveIntegerField(default=0, db_default=0)
    failures = models.PositiveIntegerField(default=0, db_default=0, help_text="Failed reads in a row.")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    leased_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    error = models.TextField(blank=True, default="", db_default="")

    final = models.BooleanField(
        default=False, db_default=False, help_text="Past the look-back; not read again by itself."
    )
    complete = models.BooleanField(
        default=False,
        db_default=False,
        help_text="The whole day was read after its end, and every record was kept.",
    )
    loaded_at = models.DateTimeField(null=True, blank=True, help_text="When what is held was last read.")
    covered_until = models.DateTimeField(null=True, blank=True, help_text="Up to when the last read reached.")
    restated_at = models.DateTimeField(null=True, blank=True)
    records = models.PositiveBigIntegerField(default=0, db_default=0, help_text="Current records held.")
    withdrawn = models.PositiveBigIntegerField(default=0, db_default=0)
    rejected = models.PositiveBigIntegerField(default=0, db_default=0)
    sums = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()), blank=True)
    digest = models.CharField(max_length=32, blank=True, default="", db_default="")
    verification = models.CharField(
        max_length=10, choices=Verification, default=Verification.NONE, db_default=Verification.NONE
    )
    differences = models.JSONField(default=list, db_default=models.Value([], models.JSONField()), blank=True)
    suspicion = models.JSONField(null=True, blank=True, help_text="What a guarded read would have changed.")
    rolled_up = models.BooleanField(
        default=False, db_default=False, help_text="The rollups hold this day; a day without records needs none."
    )
    shrink_accepted = models.BooleanField(default=False, db_default=False, help_text="A person accepted the next read.")

    objects = SourceDayQuerySet.as_manager()

    class Meta:
        ordering = ("source", "-day")
        constraints = [
            models.UniqueConstraint("source", "day", name="sourceday_one_per_day"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="sourceday_half_open"),
            models.CheckConstraint(condition=Q(state__in=DayState.values), name="sourceday_known_state"),
            models.CheckConstraint(
                condition=~Q(state=DayState.LOADING) | Q(lease_expires_at__isnull=False),
                name="sourceday_loading_has_lease",
            ),
            models.CheckConstraint(
                condition=Q(complete=False) | Q(loaded_at__isnull=False), name="sourceday_complete_is_loaded"
            ),
        ]
        indexes = [
            models.Index(
                "source",
                "due_at",
                name="sourceday_queue",
                condition=Q(state__in=[DayState.DUE, DayState.LOADING, DayState.FAILED, DayState.SUSPECT]),
            ),
            models.Index("day", "source", name="sourceday_by_day"),
            models.Index("day", "source", name="sourceday_to_roll_up", condition=Q(rolled_up=False, records__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.day}"

    @property
    def span(self) -> Day:
        """The day as a half-open range of instants."""
        return Day(self.day, self.source.zone, self.starts_at, self.ends_at)

    @property
    def empty(self) -> bool:
        """Read to the end, and the vendor reported nothing."""
        return self.complete and not self.records
