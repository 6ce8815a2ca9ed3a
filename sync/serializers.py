"""The fields of sources, days and runs in the API, in their order, and what a request to synchronise holds."""

from typing import Any

from rest_framework import serializers

from sync.models import COUNTED, SyncRun
from usage.models import RejectedRecord, Restatement, Source, SourceDay


class SourceSerializer(serializers.ModelSerializer[Source]):
    """One account at one vendor; nothing of its credential, and not its options, which are free text."""

    class Meta:
        model = Source
        fields = (
            "slug",
            "vendor",
            "base_url",
            "time_zone",
            "enabled",
            "interval_minutes",
            "backfill_from",
            "look_back_days",
            "max_concurrency",
            "requests_per_minute",
            "next_sync_at",
            "halted_at",
            "halt_reason",
            "created_at",
            "updated_at",
        )


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


class OfDaySerializer(serializers.ModelSerializer[Any]):
    """Names its day by the source's slug and the date."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source_day.source.slug", read_only=True, help_text="The source's slug."
    )
    day = serializers.DateField(source="source_day.day", read_only=True)


class RestatementSerializer(OfDaySerializer):
    """A day that was loaded before and came back different."""

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


class RejectedRecordSerializer(OfDaySerializer):
    """A record that could not be kept as usage, as it came, and the reason."""

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
