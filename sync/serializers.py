"""The fields of sources, days and runs in the API, in their order, and what a request to synchronise holds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from sync.health import Condition, Health
from sync.models import COUNTED, SyncRun
from usage.coverage import coverage_of
from usage.models import RejectedRecord, Restatement, Source, SourceDay


class CoverageSerializer(serializers.Serializer[Any]):
    """How many days of a source stand how, and how many current records they hold."""

    days = serializers.IntegerField(help_text="Days that are known of, earlier ones that were asked for too.")
    held = serializers.IntegerField(help_text="Days that were read at least once.")
    provisional = serializers.IntegerField(help_text="Days that were read and will be read again by themselves.")
    waiting = serializers.IntegerField(help_text="Days that are due and were never read.")
    loading = serializers.IntegerField(help_text="Days that are being read.")
    failed = serializers.IntegerField(help_text="Days whose latest read failed.")
    suspect = serializers.IntegerField(help_text="Days whose latest read would have withdrawn most of their records.")
    partial = serializers.IntegerField(  # type: ignore[assignment]  # a class method of DRF has the name
        help_text="Days with records that could not be kept."
    )
    unverified = serializers.IntegerField(help_text="Days that do not agree with the vendor's own checksum.")
    records_held = serializers.IntegerField(help_text="Current records.")


class SourceSerializer(serializers.ModelSerializer[Source]):
    """One account at one vendor, how it does and how far it is read.

    Nothing of its credential, and not its options, which are free text. It is rendered here and not by
    PostgreSQL: sources are few, and what is said of them is made of their days.
    """

    health = serializers.ChoiceField(
        Health.choices, source="condition.health", read_only=True, help_text="How it does, in a word."
    )
    health_detail = serializers.CharField(source="condition.words", read_only=True, help_text="The same in a sentence.")
    latest_read = serializers.DateTimeField(
        source="coverage.latest_read", read_only=True, allow_null=True, help_text="When a day of it was last read."
    )
    complete_through = serializers.DateField(
        source="coverage.complete_through",
        read_only=True,
        allow_null=True,
        help_text="The last day up to which every day from backfill_from on is complete.",
    )
    lag_seconds = serializers.SerializerMethodField(help_text="Seconds since the end of complete_through.")
    coverage = CoverageSerializer(read_only=True)

    class Meta:
        model = Source
        fields = (
            "slug",
            "vendor",
            "base_url",
            "time_zone",
            "enabled",
            "health",
            "health_detail",
            "latest_read",
            "complete_through",
            "lag_seconds",
            "coverage",
            "interval_minutes",
            "backfill_from",
            "look_back_days",
            "max_concurrency",
            "requests_per_minute",
            "next_sync_at",
            "paused_until",
            "halted_at",
            "halt_reason",
            "created_at",
            "updated_at",
        )

    def get_lag_seconds(self, source: Any) -> int:
        """Whole seconds."""
        return int(source.condition.lag.total_seconds())


def with_condition(sources: list[Source], now: datetime | None = None) -> list[Source]:
    """Give each source its `coverage` and its `condition`, in two queries however many there are; returns them."""
    covered = coverage_of(sources)
    for source in sources:
        told: Any = source
        told.coverage = covered[source.pk]
        told.condition = Condition(source, told.coverage, now or timezone.now())
    return sources


class SourceDaySerializer(serializers.ModelSerializer[SourceDay]):
    """One calendar day of one source: where it stands in the queue, and what is held of it."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source.slug", read_only=True, help_text="The source's slug."
    )

    class Meta:
        model = SourceDay
        fields = (
            "id",
            "source",
            "day",
            "starts_at",
            "ends_at",
            "state",
            "due_at",
            "failures",
            "error",
            "final",
            "complete",
            "loaded_at",
            "covered_until",
            "restated_at",
            "records",
            "withdrawn",
            "rejected",
            "sums",
            "verification",
            "differences",
            "suspicion",
        )


class RestatementSerializer(serializers.ModelSerializer[Restatement]):
    """A day that was loaded before and came back different; named by the source's slug and the date."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source_day.source.slug", read_only=True, help_text="The source's slug."
    )
    day = serializers.DateField(source="source_day.day", read_only=True)

    class Meta:
        model = Restatement
        fields = (
            "id",
            "source",
            "day",
            "at",
            "records_before",
            "records_after",
            "inserted",
            "changed",
            "withdrawn",
            "returned",
            "moved",
            "sums_before",
            "sums_after",
        )


class RejectedRecordSerializer(serializers.ModelSerializer[RejectedRecord]):
    """A record that could not be kept as usage, as it came, and the reason."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source.slug", read_only=True, help_text="The source's slug."
    )

    class Meta:
        model = RejectedRecord
        fields = ("id", "source", "day", "payload", "reason", "first_seen_at", "last_seen_at", "resolved_at")


class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    """One request to read days `[from_day, to_day)` of a source, how far it got, and what it cost and changed."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source.slug", read_only=True, help_text="The source's slug."
    )

    class Meta:
        model = SyncRun
        fields = (
            "id",
            "source",
            "trigger",
            "requested_by",
            "from_day",
            "to_day",
            "days_total",
            "days_done",
            "days_failed",
            "created_at",
            "finished_at",
            "cancelled_at",
            "error",
            *COUNTED,
        )


class SyncRequestSerializer(serializers.Serializer[Any]):
    """Which days of a source are to be read again: dates of the source's own zone, the end not included."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return `from` and `to`, names that no Python class body can hold."""
        return {
            "from": serializers.DateField(help_text="The first day."),
            "to": serializers.DateField(help_text="The day after the last."),
        }

    def to_internal_value(self, data: Any) -> Any:
        """Return the two dates; raises ValidationError that names every member that is wrong or not understood."""
        said = data if isinstance(data, Mapping) else {}
        allowed = ", ".join(self.fields)
        problems = {name: [f"Unknown member; allowed are: {allowed}."] for name in said if name not in self.fields}
        try:
            understood = super().to_internal_value(data)
        except serializers.ValidationError as error:
            named: Any = error.detail
            raise serializers.ValidationError({**problems, **named}) from None
        if problems:
            raise serializers.ValidationError(problems)
        return understood
