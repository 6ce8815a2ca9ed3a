"""A source day: the unit of reading, verifying, replacing, queueing, retrying and data quality."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from usage.days import Day
from usage.formatting import format_date
from usage.models.day_status import COMPLETE_STATUSES, TODAY_OPEN, DayState, DayStatus, Verification, build_status_case
from usage.models.source import Source


class SourceDayQuerySet(models.QuerySet["SourceDay"]):
    """Queries over source days."""

    def readable(self) -> Self:
        """Leave out the days whose records were pruned or archived: they are not here to be read again."""
        return self.filter(pruned_at=None)

    def checkable(self) -> Self:
        """Return the days whose records can be compared with what was read: here, or in the lake."""
        return self.filter(Q(pruned_at=None) | Q(archived_at__isnull=False), loaded_at__isnull=False)

    def claimable(self) -> Self:
        """Return the days that a worker may take: due by now, or loading with a lease that has ended."""
        is_due = Q(state=DayState.DUE, due_at__lte=Now())
        return self.filter(is_due | Q(state=DayState.LOADING, lease_expires_at__lte=Now()))

    def with_status(self, now: datetime | Now | None = None) -> Self:
        """Annotate each day with its `status`, a value of DayStatus."""
        return self.annotate(status=build_status_case(now or timezone.now()))


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
    error_code = models.CharField(max_length=40, blank=True, default="", db_default="")

    final = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Read after its look-back and its month's closing read, and neither suspect, partial nor unverified.",
    )
    finalized_at = models.DateTimeField(null=True, blank=True, help_text="When it was final for the first time.")
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
    witness = models.JSONField(
        null=True, blank=True, help_text="What a second figure of the vendor says of the day, and whether it agrees."
    )
    unverified_reads = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Reads in a row that did not agree with the vendor's checksum."
    )
    suspicion = models.JSONField(null=True, blank=True, help_text="What a guarded read would have changed.")
    stored_digest = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="Computed in SQL from the stored records."
    )
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When the stored records were last compared with digest, sums and roll-ups."
    )
    mismatch = models.JSONField(null=True, blank=True, help_text="What that comparison found different.")
    findings = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Digest of the differences and rejected records of the last read; empty without any.",
    )
    accepted_at = models.DateTimeField(
        null=True, blank=True, help_text="When a person accepted these findings; other findings end that."
    )
    accepted_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    accepted_reason = models.TextField(blank=True, default="", db_default="")
    rolled_up = models.BooleanField(
        default=False, db_default=False, help_text="The rollups hold this day; a day without records needs none."
    )
    shrink_accepted = models.BooleanField(default=False, db_default=False, help_text="A person accepted the next read.")
    pruned_at = models.DateTimeField(
        null=True, blank=True, help_text="When its records were dropped; it is never read again, and its roll-ups stay."
    )
    archived_at = models.DateTimeField(
        null=True, blank=True, help_text="When its records were found whole in the lake, before they were dropped here."
    )
    archive_digest = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Of all that the lake has of an archived day: every column of its records, and their revisions.",
    )

    status: DayStatus | str  # annotated by SourceDayQuerySet.with_status

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
            models.CheckConstraint(
                # What the check finds of an archived day is damage in the lake: its roll-ups are as final as before.
                condition=Q(final=False)
                | Q(complete=True, suspicion__isnull=True)
                & (Q(mismatch__isnull=True) | Q(archived_at__isnull=False))
                & (~Q(verification=Verification.UNVERIFIED) | Q(accepted_at__isnull=False)),
                name="sourceday_final_is_sound",
            ),
            models.CheckConstraint(
                condition=Q(accepted_at=None, accepted_reason="")
                | Q(accepted_at__isnull=False) & ~Q(accepted_reason="") & ~Q(findings=""),
                name="sourceday_accepted_with_reason",
            ),
            models.CheckConstraint(
                condition=Q(pruned_at=None)
                | Q(state__in=[DayState.LOADED, DayState.PARTIAL], loaded_at__isnull=False)
                & (Q(mismatch__isnull=True) | Q(archived_at__isnull=False))
                & (Q(rolled_up=True) | Q(records=0)),
                name="sourceday_pruned_is_settled",
            ),
            models.CheckConstraint(
                condition=Q(archived_at=None) | Q(pruned_at__isnull=False), name="sourceday_archived_is_pruned"
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
            models.Index(
                F("checked_at").asc(nulls_first=True), name="sourceday_checked", condition=Q(loaded_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.day}"

    @property
    def span(self) -> Day:
        """The day as a half-open range of instants."""
        return Day(self.day, self.source.zone, self.starts_at, self.ends_at)

    @property
    def final_from(self) -> datetime:
        """The first instant at which a read is final: the look-backs of the day and of its month have passed."""
        return self.span.final_from(self.source.look_back_days)

    def describe_status(self) -> str:
        """Return e.g. `Complete, final, verified; restated 3 Nov 2026.`; the day is fetched `with_status`."""
        status = DayStatus(self.status)
        is_open = not self.complete and self.ends_at > timezone.now()
        parts = [TODAY_OPEN.capitalize() if is_open else status.label.capitalize()]
        if status in COMPLETE_STATUSES and self.verification == Verification.VERIFIED:
            parts[0] += ", verified"
        if self.accepted_at is not None:
            parts.append(f"accepted: “{self.accepted_reason}”")
        if self.restated_at is not None:
            parts.append(f"restated {format_date(self.restated_at)}")
        return "; ".join(parts) + "."
