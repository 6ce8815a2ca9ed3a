"""Forms that validate several parameters together."""

from datetime import UTC, datetime, time
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from django import forms

from usage.datetimes import UTC_ZONE, to_instant

SEEN = ("first_seen", "last_seen")
# Programs send 0001-01-01 or 9999-12-31 where they mean no bound. There is no usage beyond these instants,
# and to either side of them the calendar has days and years enough to reckon with in every zone.
EARLIEST: Final = datetime(2, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9998, 1, 1, tzinfo=UTC)


class RangeForm(forms.Form):
    """Validates that a range does not run backwards."""

    def clean(self) -> dict[str, Any]:
        """Return the cleaned data; an empty range is valid."""
        cleaned: dict[str, Any] = super().clean() or {}
        start, end = cleaned.get("from"), cleaned.get("to")
        if start is not None and end is not None and start > end:
            self.add_error("from", "The range runs backwards: from must not be after to.")
        return cleaned


class InstantsForm(RangeForm):
    """Validates a range of instants; `instants` names the parameters that become instants in the zone `tz`."""

    instants: ClassVar[tuple[str, ...]] = ("from", "to", "updated_since")

    def clean(self) -> dict[str, Any]:
        """Replace dates by their first instants."""
        zone = self.cleaned_data.get("tz") or UTC_ZONE
        for name in self.instants:
            if self.cleaned_data.get(name) is not None:
                self.set_instant(name, zone)
        return super().clean()

    def set_instant(self, name: str, zone: ZoneInfo) -> None:
        """Replace a date by its first instant, within EARLIEST and LATEST."""
        try:
            self.cleaned_data[name] = min(max(to_instant(self.cleaned_data[name], zone), EARLIEST), LATEST)
        except ValueError as error:
            self.add_error(name, str(error))


class UTCDaysForm(InstantsForm):
    """Validates a range over records that are stored per UTC day: such a day cannot be cut."""

    def clean(self) -> dict[str, Any]:
        """Replace the bounds by UTC dates; a bound must be the start of a UTC day."""
        cleaned = super().clean()
        for name in ("from", "to"):
            bound: datetime | None = cleaned.get(name)
            if bound is None:
                continue
            cleaned[name] = bound.date()
            if bound.time() != time():
                text = f"{bound.isoformat().removesuffix('+00:00')}Z is not the start of a UTC day, which is the"
                self.add_error(name, f"{text} least that this usage is kept by.")
        return cleaned


class EnvironmentUsageForm(InstantsForm):
    """Validates the filters of environment usage."""

    instants = (*InstantsForm.instants, "created_at__gte", "created_at__lt")


class ResourceUsageForm(UTCDaysForm):
    """Validates the filters of resource usage."""

    instants = (*InstantsForm.instants, *(f"{column}__{bound}" for column in SEEN for bound in ("gte", "lt")))
