"""Restatements, days that came back different, and rejected records, which could not be stored as usage."""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now, Upper

from usage.models.day import SourceDay
from usage.models.source import Source

OPEN = Q(resolved_at=None)


class Restatement(models.Model):
    """A loaded day that came back different: the changes of its counts and sums."""

    source_day = models.ForeignKey(SourceDay, models.PROTECT, related_name="restatements")
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now())
    records_before = models.PositiveBigIntegerField()
    records_after = models.PositiveBigIntegerField()
    inserted = models.PositiveBigIntegerField(default=0)
    changed = models.PositiveBigIntegerField(default=0)
    withdrawn = models.PositiveBigIntegerField(default=0)
    returned = models.PositiveBigIntegerField(default=0)
    moved = models.PositiveBigIntegerField(default=0, help_text="Records that the vendor now reports on another day.")
    sums_before = models.JSONField(default=dict)
    sums_after = models.JSONField(default=dict)

    class Meta:
        ordering = ("-at", "-id")
        indexes = [models.Index("at", "id", name="restatement_at")]

    def __str__(self) -> str:
        return f"{self.source_day} restated {self.at:%Y-%m-%d %H:%M}"


class RejectedRecord(models.Model):
    """A record that could not be stored as usage: its payload as the vendor sent it, and the reason.

    One row per distinct payload of a day; The first read that no longer has it sets `resolved_at`. `source`
    and `day` are those of the source day, written by a trigger, for lists of millions of records.
    """

    source_day = models.ForeignKey(SourceDay, models.PROTECT, related_name="rejected_records", db_index=False)
    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False, editable=False)
    day = models.DateField(editable=False)
    payload = models.TextField(help_text="The record as the vendor sent it.")
    payload_digest = models.CharField(max_length=32)
    reason = models.TextField()
    attempt = models.PositiveIntegerField()
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-last_seen_at", "-id")
        constraints = [
            models.UniqueConstraint("source_day", "payload_digest", name="rejectedrecord_once"),
            models.CheckConstraint(condition=~Q(reason=""), name="rejectedrecord_has_reason"),
        ]
        indexes = [
            models.Index("last_seen_at", "id", name="rejectedrecord_seen"),
            models.Index("day", "id", name="rejectedrecord_day"),
            models.Index("source", "day", "id", name="rejectedrecord_source"),
            models.Index("day", "id", name="rejectedrecord_open", condition=OPEN),
            models.Index("source", "day", "id", name="rejectedrecord_open_source", condition=OPEN),
            GinIndex(OpClass(Upper("reason"), name="gin_trgm_ops"), name="rejectedrecord_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.day}: {self.reason[:80]}"
