"""The address of a question: exactly the summary's parameters and `kind`, whatever way it was asked.

A form sends its fields as a browser does: empty ones too, a name once per value. Names that begin with `_` are the
form's own. `from_form` makes the summary's parameters of them and leaves out what does not fit the kind, so that
another kind can be chosen at any time; a parameter in an address is never left out, but judged.
"""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import urlencode

from django.http import QueryDict

from usage.explore.kinds import Kind
from usage.moments import THROUGH, end_after

FORM: Final = "_form"
# Read as they are, commas and colons do no harm in a query.
SAFE: Final = ",:"

Said = list[tuple[str, str]]


def written(said: Iterable[tuple[str, str]]) -> str:
    """Return parameters as the query of an address."""
    return urlencode(list(said), safe=SAFE)


def pairs(data: QueryDict) -> Said:
    """Return parameters in order, a repeated name once per value."""
    return [(name, value) for name, values in data.lists() for value in values]


def changed(said: Said, **parameters: str | None) -> str:
    """Return the query with some parameters replaced, or left out where they are None."""
    kept = [(name, value) for name, value in said if name not in parameters]
    return written([*kept, *((name, value) for name, value in parameters.items() if value is not None)])


def from_form(data: QueryDict, kind: Kind) -> Said:
    """Return the summary's parameters of a kind that a form's fields ask for, without `kind`."""
    said = [("from", text(data, "from")), ("to", end_of(data)), ("tz", zone_of(data)), *asked_of(data, kind)]
    return [(name, value) for name, value in [*said, *filters_of(data, kind)] if value]


def text(data: QueryDict, name: str) -> str:
    """Return what a field holds, without the spaces around it."""
    return data.get(name, "").strip()


def end_of(data: QueryDict) -> str:
    """Return the end of the range: the field of the last day names the day before it."""
    return end_after(text(data, THROUGH)) or text(data, "to")


def zone_of(data: QueryDict) -> str:
    """Return the zone, '' for UTC, which is what no zone means."""
    zone = text(data, "tz")
    return "" if zone == "UTC" else zone


def asked_of(data: QueryDict, kind: Kind) -> Said:
    """Return what to group by, to add up, and how to give it back."""
    if kind.shape is None:
        return [("interval", text(data, "_interval"))]
    tag = text(data, "_tag")
    groups = [*data.getlist("_group"), f"tag:{tag}" if tag else ""]
    dimensions = [name for name in dict.fromkeys(filter(None, groups)) if kind.shape.dimension(name)]
    interval = text(data, "_interval") if text(data, "_interval") in kind.intervals else ""
    measures = [name for name in data.getlist("measures") if name in kind.shape.measures]
    rows_have = {interval, *dimensions, *kind.shape.always, *(measures or kind.shape.default)}
    order = [name for name in text(data, "order_by").split(",") if name.removeprefix("-") in rows_have]
    return [
        ("group_by", ",".join(filter(None, (*dimensions, interval)))),
        ("measures", "" if tuple(measures) == kind.shape.default else ",".join(measures)),
        ("order_by", ",".join(filter(None, order))),
        ("limit", text(data, "limit")),
        ("compare", text(data, "compare")),
        ("fill", text(data, "fill") if interval else ""),
        ("basis", text(data, "basis") if "basis" in kind.parameters else ""),
    ]


def filters_of(data: QueryDict, kind: Kind) -> Said:
    """Return the filters that the kind understands; another filter comes as a name and its value."""
    own = {"from", "to", "tz"}
    further = zip(data.getlist("_filter"), data.getlist("_value"), strict=False)
    given = {name: list(values) for name, values in data.lists() if name not in own}
    for name, value in further:
        given.setdefault(name, []).append(value)
    said: Said = []
    for name, one in kind.understood.items():
        values = [value.strip() for value in given.get(name, []) if value.strip()]
        if name in own or not values:
            continue
        said += [(name, value) for value in values] if getattr(one, "repeatable", False) else [(name, ",".join(values))]
    return said


def without(said: Said, unwanted: Callable[[str], bool]) -> Said:
    """Return the parameters but those whose name is unwanted."""
    return [(name, value) for name, value in said if not unwanted(name)]
