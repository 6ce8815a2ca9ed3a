"""The fields of sources, days, runs, restatements and rejected records in the API, and the bodies of requests."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from sync.engine.acceptance import LONGEST_REASON
from sync.health import Condition, Health
from sync.models import COUNTED, SyncRun
from usage.api.serializers import SourceRelatedSerializer
from usage.data_quality.coverage import get_coverage
from usage.models import RejectedRecord, Restatement, Source, SourceDay


class CoverageSerializer(serializers.Serializer[Any]):
    """How many days of a source have which state, and how many current records they have."""

    days = serializers.IntegerField(help_text="Known days, including earlier ones that were requested.")
    held = serializers.IntegerField(help_text="Days that were synced at least once.")
    provisional = serializers.IntegerField(help_text="Days that were synced and are not final.")
    awaits_close = serializers.IntegerField(
        help_text="Provisional days that only wait for the closing read of their month."
    )
    waiting = serializers.IntegerField(help_text="Days that are due and were never synced.")
    loading = serializers.IntegerField(help_text="Days that are being synced.")
    failed = serializers.IntegerField(help_text="Days whose latest sync failed.")
    suspect = serializers.IntegerField(help_text="Days whose latest sync would have withdrawn most of their records.")
    partial = serializers.IntegerField(  # type: ignore[assignment]  # a class method of DRF has the name
        help_text="Days with records that could not be stored."
    )
    unverified = serializers.IntegerField(help_text="Days that do not agree with the vendor's own checksum.")
    mismatched = serializers.IntegerField(help_text="Days whose stored records the check found different.")
    accepted = serializers.IntegerField(help_text="Days whose findings a person accepted, with a reason.")
    pruned = serializers.IntegerField(help_text="Days whose records were dropped for their age.")
    archived = serializers.IntegerField(help_text="Days whose records are in the lake alone.")
    records_held = serializers.IntegerField(help_text="Current records.")


class DirectorySerializer(serializers.Serializer[Any]):
    """How the names of a source were last read."""

    version = serializers.IntegerField(help_text="Grows whenever a name, a membership or what is gone changes.")
    read_at = serializers.DateTimeField(allow_null=True, help_text="When the names were last read.")
    changed_at = serializers.DateTimeField(allow_null=True, help_text="When the last of them changed.")
    error = serializers.CharField(help_text="Why the last read failed; usage is not affected.")
    refused = serializers.DictField(
        child=serializers.CharField(), help_text="Listings that the credential may not read, with the reason."
    )


class SourceSerializer(serializers.ModelSerializer[Source]):
    """One account at one vendor, with its health and coverage.

    Without its credential and its options, which are free text. Python renders it and not PostgreSQL: there are few
    sources, and their health is computed from their days.
    """

    health = serializers.ChoiceField(
        Health.choices, source="condition.health", read_only=True, help_text="Its health as a code."
    )
    health_detail = serializers.CharField(
        source="condition.description", read_only=True, help_text="The same in a sentence."
    )
    latest_read = serializers.DateTimeField(
        source="coverage.latest_read", read_only=True, allow_null=True, help_text="When a day of it was last synced."
    )
    complete_through = serializers.DateField(
        source="coverage.complete_through",
        read_only=True,
        allow_null=True,
        help_text="The last day up to which every day from backfill_from on is complete.",
    )
    lag_seconds = serializers.SerializerMethodField(help_text="Seconds since the end of complete_through.")
    coverage = CoverageSerializer(read_only=True)
    directory = serializers.SerializerMethodField(help_text="How its names were last read; null before the first read.")

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
            "directory",
            "interval_minutes",
            "backfill_from",
            "retired_after",
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

    @extend_schema_field(DirectorySerializer(allow_null=True))
    def get_directory(self, source: Any) -> dict[str, Any] | None:
        directory = getattr(source, "directory", None)  # the reverse of a one-to-one key raises AttributeError
        return None if directory is None else dict(DirectorySerializer(directory).data)

    def get_lag_seconds(self, source: Any) -> int:
        return int(source.condition.lag.total_seconds())


def annotate_condition(sources: list[Source]) -> list[Source]:
    """Set `coverage` and `condition` of each source, in two queries for all of them; returns the sources."""
    covered, now = get_coverage(sources), timezone.now()
    for source in sources:
        annotated: Any = source
        annotated.coverage = covered[source.pk]
        annotated.condition = Condition(source, annotated.coverage, now)
    return sources


class StoredDaySerializer(SourceRelatedSerializer):
    """The columns of a source day."""

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
            "finalized_at",
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
            "unverified_reads",
            "witness",
            "suspicion",
            "checked_at",
            "pruned_at",
            "archived_at",
            "mismatch",
        )


class AcceptedSerializer(serializers.Serializer[Any]):
    """The acceptance of a day's findings."""

    reason = serializers.CharField()
    at = serializers.DateTimeField()
    by = serializers.CharField()


class SourceDaySerializer(StoredDaySerializer):
    """One calendar day of one source: its state in the queue, and what is stored of it."""

    accepted = AcceptedSerializer(
        read_only=True,
        allow_null=True,
        help_text="The acceptance of its differences and rejected records by a person; null where there is none.",
    )

    class Meta(StoredDaySerializer.Meta):
        fields = (*StoredDaySerializer.Meta.fields, "accepted")  # type: ignore[assignment]


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


class RejectedRecordSerializer(SourceRelatedSerializer):
    """A record that could not be stored as usage, as the vendor sent it, and the reason."""

    class Meta:
        model = RejectedRecord
        fields = ("id", "source", "day", "payload", "reason", "first_seen_at", "last_seen_at", "resolved_at")


class SyncRunSerializer(SourceRelatedSerializer):
    """One request to sync the days `[from_day, to_day)` of a source: its progress, cost and changes.

    With the subject `names` it is one read of the names of the source's ids.
    """

    class Meta:
        model = SyncRun
        fields = (
            "id",
            "source",
            "subject",
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


class StrictSerializer(serializers.Serializer[Any]):
    """A request body that rejects unknown members."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the members; raises ValidationError that names every invalid or unknown member."""
        members = data if isinstance(data, Mapping) else {}
        allowed = ", ".join(self.fields)
        errors = {name: [f"Unknown member; allowed are: {allowed}."] for name in members if name not in self.fields}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            detail: Any = error.detail
            raise serializers.ValidationError({**errors, **detail}) from None
        if errors:
            raise serializers.ValidationError(errors)
        return values


class SyncRequestSerializer(StrictSerializer):
    """The days of a source to sync: dates in the source's own zone, the end not included."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return `from` and `to`: `from` cannot be a name in a class body."""
        return {
            "from": serializers.DateField(help_text="The first day."),
            "to": serializers.DateField(help_text="The day after the last."),
        }


class AcceptanceRequestSerializer(StrictSerializer):
    """The reason for accepting the findings of a day."""

    reason = serializers.CharField(
        max_length=LONGEST_REASON, help_text="The data quality of the day states it from then on."
    )
