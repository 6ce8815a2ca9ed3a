"""What an answer looks like, for the schema."""

from typing import Any

from rest_framework import serializers

MEASURED = "Dimensions and measures by their names; exact numbers are strings."


class LineField(serializers.DictField):
    """Dimensions and measures by their names."""


class OverallSerializer(serializers.Serializer[Any]):
    """The answer over all vendors."""

    meta = serializers.DictField(help_text="The range, and how far the numbers can be trusted.")
    totals = serializers.ListField(
        child=LineField(), help_text="Of the whole filter, per vendor, metric and unit: quantity and records."
    )
    results = serializers.ListField(child=LineField(), help_text="vendor, source, service, metric, unit, quantity.")


class SummarySerializer(serializers.Serializer[Any]):
    """The answer about one kind of usage."""

    meta = serializers.DictField(
        help_text="The range, and how far the numbers can be trusted; with compare, previous: the same of that period."
    )
    totals = serializers.ListField(child=LineField(), help_text="Of the whole filter, per unit and metric.")
    results = serializers.ListField(child=LineField(), help_text=MEASURED)
    others = serializers.DictField(
        allow_null=True,
        help_text="What the limit left out: groups, their totals, and results of each interval.",
    )
