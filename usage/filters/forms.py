"""Several parameters together: what takes more than one of them to judge."""

from datetime import UTC, datetime, time
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from django import forms

from usage.filters.fields import UTC_ZONE
from usage.moments import in_zone

SEEN = ("first_seen", "last_seen")
# Programs ask from 0001-01-01 or up to 9999-12-31 where they mean no bound. There is no usage beyond these instants,
# and to either side of them the calendar has days and years enough to reckon with in every zone.
EARLIEST: Final = datetime(2, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9998, 1, 1, tzinfo=UTC)


class RangeForm(forms.Form):
    """Checks that a range does not run backwards."""

    def clean(self) -> dict[str, Any]:
        """Return what was cleaned; an empty range is a range."""
        cleaned: dict[str, Any] = super().clean() or {}
        start, end = cleaned.get("from"), cleaned.get("to")
        if start is not None and end is not None and start > end:
            self.add_error("from", "The range runs backwards: from must not be after to.")
        return cleaned


class InstantsForm(RangeForm):
    """Checks a range of instants; `instants` names the parameters that become instants of the zone `tz`."""

    instants: ClassVar[tuple[str, ...]] = ("from", "to", "updated_since")

    def clean(self) -> dict[str, Any]:
        """Turn dates into their first instants."""
        zone = self.cleaned_data.get("tz") or UTC_ZONE
        for name in self.instants:
            if self.cleaned_data.get(name) is not None:
                self.set_instant(name, zone)
        return super().clean()

    def set_instant(self, name: str, zone: ZoneInfo) -> None:
        """Replace a date by its first instant, and what lies at the calendar's ends by the instants short of them."""
        try:
            self.cleaned_data[name] = min(max(in_zone(self.cleaned_data[name], zone), EARLIEST), LATEST)
        except ValueError as error:
            self.add_error(name, str(error))


class WholeDaysForm(InstantsForm):
    """Checks a range over records that are kept per UTC day: such a day cannot be cut."""

    def clean(self) -> dict[str, Any]:
        """Turn the bounds into UTC dates; refuse one that is not the start of a UTC day."""
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


class CreatedForm(InstantsForm):
    """Checks what environment usage is asked by."""

    instants = (*InstantsForm.instants, "created_at__gte", "created_at__lt")


class SeenForm(WholeDaysForm):
    """Checks what resource usage is asked by."""

    instants = (*InstantsForm.instants, *(f"{seen}__{bound}" for seen in SEEN for bound in ("gte", "lt")))
