"""The fields of each kind of usage in the API, in their order: the one list that JSON, CSV and the schema follow."""

from typing import Any

from rest_framework import serializers

from usage.models import (
    EnvironmentUsage,
    RecipeUsage,
    RejectedRecord,
    ResourceUsage,
    Restatement,
    Source,
    SourceDay,
    UsageRecord,
)

TRUST = ("extra", "first_seen_at", "changed_at", "revision", "withdrawn_at")


class RecordSerializer(serializers.ModelSerializer[Any]):
    """Names its source by the slug."""

    source = serializers.SlugField(source="source.slug", read_only=True, help_text="The source's slug.")


class EnvironmentUsageSerializer(RecordSerializer):
    """One completed run of an environment."""

    class Meta:
        model = EnvironmentUsage
        fields = (
            "id",
            "source",
            "day",
            "record_id",
            "environment_id",
            "project_id",
            "user_id",
            "runner_id",
            "environment_class_id",
            "created_at",
            "stopped_at",
            "runtime_seconds",
            *TRUST,
        )


class ResourceUsageSerializer(RecordSerializer):
    """What one resource consumed of one billing metric on one UTC day."""

    class Meta:
        model = ResourceUsage
        fields = (
            "id",
            "source",
            "day",
            "resource_key",
            "resource_type",
            "billing_metric",
            "consumed_quantity",
            "consumed_unit",
            "project_id",
            "region_id",
            "resource_id",
            "resource_name",
            "first_seen",
            "last_seen",
            "details",
            "tags",
            *TRUST,
        )


class RecipeUsageSerializer(RecordSerializer):
    """One hour of one recipe, or (`recipe_id` null) of all recipes of a workspace that were deleted since."""

    class Meta:
        model = RecipeUsage
        fields = (
            "id",
            "source",
            "day",
            "workspace_id",
            "external_id",
            "workspace_name",
            "recipe_id",
            "recipe_name",
            "folder_id",
            "folder_name",
            "starts_at",
            "ends_at",
            "task_count",
            "job_succeeded_count",
            "job_failed_count",
            "recipe_count",
            *TRUST,
        )


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


class SourceDaySerializer(RecordSerializer):
    """One calendar day of one source: where it stands in the queue, and what is held of it."""

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

    source = serializers.SlugField(
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


RECORD_SERIALIZERS: dict[type[UsageRecord], type[RecordSerializer]] = {
    EnvironmentUsage: EnvironmentUsageSerializer,
    ResourceUsage: ResourceUsageSerializer,
    RecipeUsage: RecipeUsageSerializer,
}
