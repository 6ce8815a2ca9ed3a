"""The fields of each kind of usage in the API, in their order. Lists, exports and the schema all use them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from usage.data_quality.serializers import TrustSerializer
from usage.fields import NumericField
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

COMMON_FIELDS = ("extra", "first_seen_at", "changed_at", "revision", "withdrawn_at")


@extend_schema_field({"type": "string", "format": "decimal", "examples": ["1440.0001"]})
class ExactDecimalField(serializers.DecimalField):
    """A decimal number as a string with all its digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "max_digits": None, "decimal_places": None})


class SourceRelatedSerializer(serializers.ModelSerializer[Any]):
    """A row with the slug of its source."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source.slug", read_only=True, help_text="The source's slug."
    )


class RecordSerializer(SourceRelatedSerializer):
    """A record of usage, with the slug of its source."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        NumericField: ExactDecimalField,
    }

    first_seen_at = serializers.DateTimeField(read_only=True)


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
            *COMMON_FIELDS,
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
            *COMMON_FIELDS,
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
            *COMMON_FIELDS,
        )


RECORD_SERIALIZERS: dict[type[UsageRecord], type[RecordSerializer]] = {
    EnvironmentUsage: EnvironmentUsageSerializer,
    ResourceUsage: ResourceUsageSerializer,
    RecipeUsage: RecipeUsageSerializer,
}


class ManifestSumSerializer(serializers.Serializer[Any]):
    """The sum of one measure over the rows of one unit."""

    measure = serializers.CharField()
    unit = serializers.CharField(help_text="The measure's unit; quantities of different units are never added.")
    rows = serializers.IntegerField()
    without = serializers.IntegerField(help_text="Rows that have no value, which the sum leaves out.")
    beyond_decimal = serializers.IntegerField(
        help_text="Rows whose value no decimal128(38, 18) holds: in Parquet it is null, and `<measure>_exact` has it."
    )
    sum = ExactDecimalField(allow_null=True)


class ManifestSerializer(serializers.Serializer[Any]):
    """What an export with the same filters contains, in numbers, and its data quality."""

    kind = serializers.CharField(help_text="The kind of usage, as in the address.")
    filters = serializers.DictField(help_text="The filters as they were parsed, instants in UTC.")
    rows = serializers.IntegerField()
    sums = ManifestSumSerializer(many=True)
    digest = serializers.CharField(
        help_text="The sum, modulo 2^64, over all rows of the first 16 hexadecimal digits of MD5 of `<id>:<revision>`, "
        "in hexadecimal. It can be computed from the export too."
    )
    last_changed_at = serializers.DateTimeField(allow_null=True, help_text="When the last of the rows changed.")
    settled_until = serializers.DateTimeField(
        required=False, help_text="With updated_since: the set is of what changed before."
    )
    directory_version = serializers.IntegerField(
        help_text="Grows whenever a name changes that a column of names may show; the records do not change with it."
    )
    meta = TrustSerializer(help_text="The data quality, as in a summary.")
