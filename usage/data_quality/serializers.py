"""The data quality of a response, for the OpenAPI schema."""

from typing import Any

from rest_framework import serializers

from usage.data_quality.assess import LAKE, ROLLUPS
from usage.data_quality.days import MAX_LISTED_DAYS


class TouchedDaySerializer(serializers.Serializer[Any]):
    """A day of a source, in the source's own zone."""

    source = serializers.CharField(help_text="The slug of the source.")  # type: ignore[assignment]
    day = serializers.DateField()


class TouchedDaysSerializer(serializers.Serializer[Any]):
    """Days of sources: how many, and the earliest of them one by one."""

    total = serializers.IntegerField()
    days = TouchedDaySerializer(many=True, help_text=f"At most {MAX_LISTED_DAYS}, earliest first.")


class AcceptanceSerializer(serializers.Serializer[Any]):
    """Why and when a person accepted the findings of a day."""

    reason = serializers.CharField()
    at = serializers.DateTimeField()


class FoundDaySerializer(TouchedDaySerializer):
    """A day with findings, in the source's own zone."""

    accepted = AcceptanceSerializer(allow_null=True, help_text="Null where no person accepted its findings.")


class FoundDaysSerializer(TouchedDaysSerializer):
    """Days with findings: how many, and the earliest of them one by one."""

    days = FoundDaySerializer(many=True, help_text=f"At most {MAX_LISTED_DAYS}, earliest first.")


class PrunedDaysSerializer(TouchedDaysSerializer):
    """Days whose records were pruned: how many, and the earliest of them one by one."""

    rolled_up = serializers.BooleanField(
        help_text="Whether the response has their sums by their roll-ups; if not, it is not complete."
    )


class ArchivedDaysSerializer(TouchedDaysSerializer):
    """Days whose records are in the lake alone: how many, and the earliest of them one by one."""

    answered_from = serializers.ChoiceField(
        choices=[LAKE, ROLLUPS],
        allow_null=True,
        help_text="What the response has them from. Null: it lacks them and is not complete; an export has them.",
    )


class LaterSourceSerializer(serializers.Serializer[Any]):
    """A source that is stored from a day after the start of the range on."""

    source = serializers.CharField(help_text="The slug of the source.")  # type: ignore[assignment]
    first_day = serializers.DateField(help_text="The first day that is stored, in the source's own zone.")


class PeriodTrustSerializer(serializers.Serializer[Any]):
    """The data quality of a range, by the source days that it touches."""

    complete = serializers.BooleanField(
        help_text="Whether every touched day was synced after its end and every record of it was stored. A range that "
        "begins before the first day of all its sources, or has not ended yet, is not complete."
    )
    complete_through = serializers.DateField(
        allow_null=True, help_text="The last date up to which, from the start of the range, the response is complete."
    )
    missing_days = TouchedDaysSerializer(help_text="Days that are over and were never synced.")
    partial_days = FoundDaysSerializer(help_text="Days that are over and were synced, but not completely.")
    open_days = TouchedDaysSerializer(help_text="Days that are not over yet.")
    suspect_days = TouchedDaysSerializer(
        help_text="Days of which a sync would withdraw too much; what was stored before still counts."
    )
    unverified_days = FoundDaysSerializer(help_text="Days that do not agree with the vendor's own sums.")
    mismatched_days = TouchedDaysSerializer(
        help_text="Days whose stored records the check found different; they are being synced again."
    )
    pruned_days = PrunedDaysSerializer(help_text="Days whose records were dropped for their age.")
    archived_days = ArchivedDaysSerializer(help_text="Days whose records are in the lake alone.")
    later_sources = LaterSourceSerializer(
        many=True, help_text="Sources that are stored from a day after the start of the range on."
    )
    source_zones = serializers.DictField(
        child=serializers.CharField(),
        help_text="The time zones of sources whose days are not those of `tz`, by slug.",
    )
    provisional_from = serializers.DateField(
        allow_null=True,
        help_text="The first touched day that is not final. An accepted day does not count once it was synced after "
        "the closing read of its month.",
    )
    unsettled_from = serializers.DateField(
        allow_null=True,
        help_text="The first of these that waits for more than the closing read of its month; null if none does.",
    )
    restated_since = serializers.DateTimeField(
        allow_null=True,
        help_text="When a touched day last came back different: older responses are out of date.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add `from` and `to`: `from` cannot be a name in a class body."""
        bounds = ("from", "The start of the half-open range, in UTC."), ("to", "Its end, in UTC.")
        return {
            **{name: serializers.DateTimeField(allow_null=True, help_text=help_text) for name, help_text in bounds},
            **super().get_fields(),
        }


class TrustSerializer(PeriodTrustSerializer):
    """The data quality of a response, by the source days that it touches."""

    tz = serializers.CharField(help_text="The zone that dates are of.")
    as_of = serializers.DateTimeField(help_text="The instant that the data are of.")
    replica_lag_seconds = serializers.FloatField(
        required=False, help_text="Only of a standby's response: how many seconds it was behind the database."
    )
