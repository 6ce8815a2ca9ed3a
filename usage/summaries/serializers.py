"""What an answer looks like, for the schema."""

from typing import Any

from rest_framework import serializers

from usage.trust import LONGEST_LIST

MEASURED = "Dimensions and measures by their names; exact numbers are strings."
COMPARED = "With compare, also previous, change and relative_change, each of the measures."


class TouchedDaySerializer(serializers.Serializer[Any]):
    """A day of a source, in the source's own zone."""

    source = serializers.CharField(help_text="The slug of the source.")  # type: ignore[assignment]
    day = serializers.DateField()


class TouchedDaysSerializer(serializers.Serializer[Any]):
    """Days of sources: how many, and the earliest of them one by one."""

    total = serializers.IntegerField()
    days = TouchedDaySerializer(many=True, help_text=f"At most {LONGEST_LIST}, earliest first.")


class PeriodTrustSerializer(serializers.Serializer[Any]):
    """How far an answer about a range can be trusted, by the source days that the question touches."""

    complete = serializers.BooleanField(
        help_text="Whether every touched day was read after its end and every record of it was kept. A range that "
        "begins before a source is held, or has not ended yet, is not complete."
    )
    complete_through = serializers.DateField(
        allow_null=True, help_text="The last date up to which, from the range's begin on, the answer is complete."
    )
    missing_days = TouchedDaysSerializer(help_text="Days that were never read.")
    partial_days = TouchedDaysSerializer(help_text="Days that were read, but not completely.")
    provisional_from = serializers.DateField(
        allow_null=True, help_text="The first day that may still change by itself."
    )
    restated_since = serializers.DateTimeField(
        allow_null=True,
        help_text="When a touched day last came back different: older answers are out of date.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add the range, whose names no Python class body can hold."""
        bounds = ("from", "Begins the half-open range, in UTC."), ("to", "Ends the half-open range, in UTC.")
        return {
            **{name: serializers.DateTimeField(allow_null=True, help_text=words) for name, words in bounds},
            **super().get_fields(),
        }


class TrustSerializer(PeriodTrustSerializer):
    """How far an answer can be trusted, by the source days that the question touches."""

    tz = serializers.CharField(help_text="The zone that dates are of.")
    as_of = serializers.DateTimeField(help_text="When the question was answered.")


class SummaryTrustSerializer(TrustSerializer):
    """How far a summary can be trusted; with compare, also the period before."""

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
    """The answer over all vendors."""

    meta = TrustSerializer(help_text="The range, and how far the numbers can be trusted.")
    totals = serializers.ListField(
        child=LineField(), help_text="Of the whole filter, per vendor, metric and unit: quantity and records."
    )
    results = serializers.ListField(
        child=LineField(),
        help_text="The interval, if one is asked for, vendor, source, service, metric, unit, quantity and records.",
    )


class SummarySerializer(serializers.Serializer[Any]):
    """The answer about one kind of usage."""

    meta = SummaryTrustSerializer(help_text="The range, and how far the numbers can be trusted.")
    totals = serializers.ListField(
        child=LineField(), help_text=f"Of the whole filter, whatever the limit, per unit and metric. {COMPARED}"
    )
    results = serializers.ListField(child=LineField(), help_text=f"{MEASURED} {COMPARED}")
    others = OthersSerializer(allow_null=True, help_text="What the limit left out; null where that is nothing.")
