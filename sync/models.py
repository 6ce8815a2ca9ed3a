"""Runs and attempts: the requests to read days, every attempt to read one, and what these add up to."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from usage.models import Source, SourceDay


class Counts(models.Model):
    """What reading cost and what it changed; the same columns for an attempt and for a run."""

    requests = models.PositiveIntegerField(default=0, db_default=0)
    retries = models.PositiveIntegerField(default=0, db_default=0)
    bytes = models.PositiveBigIntegerField(default=0, db_default=0)
    fetched = models.PositiveBigIntegerField(default=0, db_default=0)
    inserted = models.PositiveBigIntegerField(default=0, db_default=0)
    changed = models.PositiveBigIntegerField(default=0, db_default=0)
    unchanged = models.PositiveBigIntegerField(default=0, db_default=0)
    withdrawn = models.PositiveBigIntegerField(default=0, db_default=0)
    returned = models.PositiveBigIntegerField(default=0, db_default=0)
    rejected = models.PositiveBigIntegerField(default=0, db_default=0)
    seconds = models.DecimalField(max_digits=12, decimal_places=3, default=0, db_default=0)

    class Meta:
        abstract = True


REQUEST_ID_LENGTH = 128
COUNTED = tuple(field.name for field in Counts._meta.local_fields)


class Trigger(models.TextChoices):
    """What requested a run."""

    SCHEDULE = "schedule", "Schedule"
    RETRY = "retry", "Retry of failed days"
    COMMAND = "command", "Command line"
    API = "api", "API"
    ADMIN = "admin", "Admin"
    CHECK = "check", "Check of stored records"


class Subject(models.TextChoices):
    """What a run reads."""

    DAYS = "days", "Days of usage"
    NAMES = "names", "Names"


# Few of many runs fail or are cancelled, and people look for those.
TROUBLED = Q(days_failed__gt=0) | Q(cancelled_at__isnull=False)


class SyncRun(Counts):
    """One request to read days `[from_day, to_day)` of a source, and its progress.

    A run of `names` reads the directory once, as it is on the one day of its range.
    """

    source = models.ForeignKey(Source, models.PROTECT, related_name="runs", db_index=False)
    subject = models.CharField(max_length=5, choices=Subject, default=Subject.DAYS, db_default=Subject.DAYS)
    trigger = models.CharField(max_length=8, choices=Trigger)
    requested_by = models.CharField(max_length=200, blank=True, default="")
    request_id = models.CharField(
        max_length=REQUEST_ID_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Of the HTTP request that asked for it; every line of the log about its days has it.",
    )
    from_day = models.DateField()
    to_day = models.DateField(help_text="Exclusive.")
    days_total = models.PositiveIntegerField(default=0, db_default=0)
    days_done = models.PositiveIntegerField(default=0, db_default=0)
    days_failed = models.PositiveIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField("asked for", db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When a person cancelled it; it ends once the days that are being read then have ended.",
    )
    error = models.TextField(blank=True, default="")
    error_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    days = models.ManyToManyField(SourceDay, through="SyncRunDay", related_name="runs")

    class Meta:
        verbose_name = "run"
        ordering = ("-created_at", "-id")
        constraints = [
            models.CheckConstraint(condition=Q(to_day__gt=F("from_day")), name="syncrun_half_open"),
            models.CheckConstraint(condition=Q(trigger__in=Trigger.values), name="syncrun_known_trigger"),
            models.CheckConstraint(condition=Q(subject__in=Subject.values), name="syncrun_known_subject"),
            # A second request for the names of a source returns the first, as long as that has not ended.
            models.UniqueConstraint(
                "source", name="syncrun_one_of_names", condition=Q(subject=Subject.NAMES, finished_at=None)
            ),
        ]
        indexes = [
            models.Index("source", "created_at", "id", name="syncrun_source"),
            models.Index("created_at", "id", name="syncrun_newest"),
            models.Index("trigger", "created_at", "id", name="syncrun_trigger"),
            models.Index("created_at", "id", name="syncrun_troubled", condition=TROUBLED),
            models.Index("source", "from_day", "to_day", name="syncrun_open", condition=Q(finished_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.days_label}"

    @property
    def days_label(self) -> str:
        """The days of the run, both bounds included: `2026-11-01 – 2026-11-18`, or one day; `Names`."""
        if self.subject == Subject.NAMES:
            return Subject.NAMES.label
        last = self.to_day - timedelta(days=1)
        return f"{self.from_day}" if last == self.from_day else f"{self.from_day} – {last}"


class SyncRunDay(models.Model):
    """One day that a run waits for."""

    class Outcome(models.TextChoices):
        """How the day ended for the run."""

        WAITING = "waiting", "Waiting"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        DROPPED = "dropped", "Not synced: cancelled"

    run = models.ForeignKey(SyncRun, models.CASCADE, related_name="run_days", db_index=False)
    source_day = models.ForeignKey(SourceDay, models.PROTECT, related_name="run_days", db_index=False)
    outcome = models.CharField(max_length=7, choices=Outcome, default=Outcome.WAITING, db_default=Outcome.WAITING)

    class Meta:
        constraints = [models.UniqueConstraint("run", "source_day", name="syncrunday_once")]
        indexes = [
            models.Index("source_day", name="syncrunday_waiting", condition=Q(outcome="waiting")),
            models.Index("source_day", "run", name="syncrunday_day"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}: {self.source_day} {self.outcome}"


class LoadAttempt(Counts):
    """One attempt to read one day: written when the day is claimed, completed when the attempt ends."""

    class Outcome(models.TextChoices):
        """How an attempt ended; a running attempt belongs to a worker that runs or has died."""

        RUNNING = "running", "Running"
        LOADED = "loaded", "Loaded"
        UNCHANGED = "unchanged", "Unchanged"
        REPAIRED = "repaired", "Repaired"
        PARTIAL = "partial", "Partial"
        SUSPECT = "suspect", "Suspect"
        UNVERIFIED = "unverified", "Unverified"
        FAILED = "failed", "Failed"
        DEFERRED = "deferred", "Deferred"
        LOST = "lost", "Lease lost"

    source_day = models.ForeignKey(SourceDay, models.PROTECT, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField(help_text="The fencing token the day was claimed with.")
    worker = models.CharField(max_length=200)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.RUNNING, db_default=Outcome.RUNNING)
    error = models.TextField(blank=True, default="", db_default="")
    error_code = models.CharField(max_length=40, blank=True, default="", db_default="")
    payload = models.TextField(
        blank=True, default="", db_default="", help_text="The beginning of an answer that could not be read."
    )

    class Meta:
        ordering = ("-started_at", "-id")
        constraints = [models.UniqueConstraint("source_day", "number", name="loadattempt_once")]
        indexes = [models.Index("started_at", name="loadattempt_started")]

    def __str__(self) -> str:
        return f"{self.source_day} #{self.number}"


TOTALLED = ("requests", "retries", "fetched", "rejected")


class AttemptTotal(models.Model):
    """What all attempts of a source that ended with one outcome add up to, for metrics."""

    source = models.ForeignKey(Source, models.CASCADE, related_name="+", db_index=False)
    outcome = models.CharField(max_length=10, choices=LoadAttempt.Outcome)
    attempts = models.PositiveBigIntegerField(default=0, db_default=0)
    requests = models.PositiveBigIntegerField(default=0, db_default=0)
    retries = models.PositiveBigIntegerField(default=0, db_default=0)
    fetched = models.PositiveBigIntegerField(default=0, db_default=0)
    rejected = models.PositiveBigIntegerField(default=0, db_default=0)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint("source", "outcome", name="attempttotal_once")]

    def __str__(self) -> str:
        return f"{self.source} {self.outcome}: {self.attempts}"
