"""The responses of summaries, for the OpenAPI schema."""

from typing import Any

from rest_framework import serializers

from usage.data_quality.serializers import PeriodTrustSerializer, TrustSerializer

MEASURED = (
    "Dimensions and measures by their names; exact numbers are strings. Beside an id stands the name that it has today "
    "(project_name beside project_id), null where that is not known; beside that of a user only with the right to it."
)
COMPARED = "With compare, also previous, change and relative_change, each of the measures."


class SummaryTrustSerializer(TrustSerializer):
    """The data quality of a summary; with compare, also of the period before."""

    teams = serializers.CharField(required=False, help_text="With group_by=team: what the rows are by, in a sentence.")
    previous = PeriodTrustSerializer(required=False, help_text="With compare: of the period before.")


class LineField(serializers.DictField):
    """Dimensions and measures by their names."""


class OthersSerializer(serializers.Serializer[Any]):
    """What the limit left out."""

    groups = serializers.IntegerField(help_text="How many groups.")
    totals = serializers.ListField(
        child=LineField(), help_text=f"What they add up to, per unit and metric; distinct counts are null. {COMPARED}"
    )
    results = serializers.ListField(
        child=LineField(), required=False, help_text="With an interval beside other dimensions: of each interval."
    )


class OverallSerializer(serializers.Serializer[Any]):
    """The summary over all vendors."""

    meta = TrustSerializer(help_text="The range and its data quality.")
    totals = serializers.ListField(
        child=LineField(), help_text="Of the whole filter, per vendor, metric and unit: quantity and records."
    )
    results = serializers.ListField(
        child=LineField(),
        help_text="The interval, if one is asked for, vendor, source, service, metric, unit, quantity and records.",
    )


class SummarySerializer(serializers.Serializer[Any]):
    """The summary of one kind of usage."""

    meta = SummaryTrustSerializer(help_text="The range and its data quality.")
    totals = serializers.ListField(
        child=LineField(), help_text=f"Of the whole filter, whatever the limit, per unit and metric. {COMPARED}"
    )
    results = serializers.ListField(child=LineField(), help_text=f"{MEASURED} {COMPARED}")
    others = OthersSerializer(allow_null=True, help_text="What the limit left out; null where that is nothing.")
