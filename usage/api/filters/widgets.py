"""How the parameters look as inputs of a form; the form takes the same values as the address."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.forms.renderers import BaseRenderer
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from usage.datetimes import THROUGH, add_day, is_date, subtract_day
from usage.param_values import list_texts, merge_texts, parse_value, split_values

IN_HOURS: Final = "__hours"  # ends the name of an input whose parameter is in seconds
HOURS: Final = re.compile(r"\d{1,9}(\.\d{1,6})?", re.ASCII)


def to_hours(seconds: str) -> str | None:
    """Return seconds as hours, '' for none; None where no short number of hours is as much."""
    if not seconds:
        return ""
    if not re.fullmatch(r"\d{1,12}(\.\d{1,6})?", seconds, re.ASCII):
        return None
    hours = round(Decimal(seconds) / 3600, 6)
    return f"{hours.normalize():f}" if hours * 3600 == Decimal(seconds) else None


def to_seconds(hours: str) -> str:
    """Return hours as seconds; what is no number of hours stays, for the field to judge."""
    text = hours.strip()
    return f"{(Decimal(text) * 3600).normalize():f}" if HOURS.fullmatch(text) else text


class MomentInput(forms.TextInput):
    """A date picker where there is a date or nothing, a text input for an instant and for what is neither."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        context["widget"]["type"] = "date" if not value or is_date(value) else "text"
        return context


class EndInput(MomentInput):
    """The end of a half-open range; as a date its input takes the last day, under another name."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Show the last day instead of the day after it."""
        if not value or is_date(value):
            return super().get_context(THROUGH, subtract_day(value or ""), attrs)
        return super().get_context(name, value, attrs)

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """Return the end, whether the form sent it or its last day."""
        return add_day(data.get(THROUGH) or "") or data.get(name)


class HoursInput(forms.TextInput):
    """Seconds of an address as hours, under another name; seconds that are no short number of hours as they are."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Show hours where they say just as much."""
        hours = to_hours(str(value or ""))
        context: dict[str, Any] = super().get_context(name, value, attrs)
        if hours is not None:
            context = super().get_context(f"{name}{IN_HOURS}", hours, attrs)
        return context

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        """Return the seconds, whether the form sent them or hours."""
        return to_seconds(data.get(f"{name}{IN_HOURS}") or "") or data.get(name)


class RepeatedInput(forms.Widget):
    """One input per value of a parameter that may be repeated, and an empty one for another value."""

    def __init__(self, widget: forms.Widget | None = None, fewest: int = 1) -> None:
        super().__init__()
        self.widget = widget or forms.TextInput()
        self.fewest = fewest

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        return list(data.getlist(name)) if hasattr(data, "getlist") else list(data.get(name) or ())

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        return f"{id_}-1"

    def render(
        self,
        name: str,
        value: Any,
        attrs: dict[str, Any] | None = None,
        renderer: BaseRenderer | None = None,
    ) -> SafeString:
        """Return the inputs, numbered from 1."""
        attrs = {**self.attrs, **(attrs or {})}
        values = [text for text in value or () if text]
        values += [""] * max(1, self.fewest - len(values))
        inputs = [
            self.widget.render(name, text, {**attrs, "id": f"{attrs['id']}-{number}"}, renderer)
            for number, text in enumerate(values, start=1)
        ]
        return format_html_join("", "{}", ((text,) for text in inputs))


class AddressSelect(forms.Select):
    """A drop-down that also offers the value in the address, whatever it is."""

    def optgroups(self, name: str, value: list[str], attrs: dict[str, Any] | None = None) -> list[Any]:
        present = {str(choice) for choice, _ in self.choices}
        self.choices = [*self.choices, *((text, text) for text in value if text and text not in present)]
        return super().optgroups(name, value, attrs)


class ValuesInput(forms.TextInput):
    """One input for all values of a parameter."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        """Return the values as one parameter has them."""
        return merge_texts(list_texts(data, name))


class CommaSeparatedBoxes(forms.CheckboxSelectMultiple):
    """Boxes to tick for a parameter that takes several values."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        """Return the ticked values as one parameter has them."""
        return merge_texts(list_texts(data, name))

    def format_value(self, value: Any) -> list[str]:
        return [parse_value(text) or text for text in split_values(value or "")]
