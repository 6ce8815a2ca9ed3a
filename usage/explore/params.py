"""The parameters of Explore's address: exactly the summary's, and `kind`.

A form sends its fields as a browser does: empty fields too, a name once per value. Names that begin with `_` are the
form's own. `parse_form` makes the summary's parameters of them and leaves out what does not fit the kind, so that
the kind can be changed at any time; a parameter in an address is never left out, but validated.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.urls import reverse
from django.utils.datastructures import MultiValueDict

from usage.admin.filter_form import clean_params
from usage.api.filters.fields import CommaSeparatedFilter
from usage.datetimes import UTC_ZONE, parse_zone
from usage.explore.kinds import SummaryKind
from usage.param_values import join_values, list_values, merge_texts
from usage.summaries.query import CHANGE

IS_FORM: Final = "_form"
RANGE: Final = ("from", "to", "tz")
# Unescaped, commas and colons do no harm in a query and are easier to read.
SAFE: Final = ",:"

Params = list[tuple[str, str]]


def encode(params: Iterable[tuple[str, str]]) -> str:
    """Return parameters as the query of an address."""
    return urlencode(list(params), safe=SAFE)


def build_url(params: Iterable[tuple[str, str]]) -> str:
    """Return the address of a question; `params` include the kind."""
    return f"{reverse('admin:explore')}?{encode(params)}"


def list_params(data: QueryDict) -> Params:
    """Return parameters in order, a repeated name once per value."""
    return [(name, value) for name, values in data.lists() for value in values]


def replace_params(params: Params, **changes: str) -> str:
    """Return the query with some parameters replaced."""
    unchanged = [(name, value) for name, value in params if name not in changes]
    return encode([*unchanged, *changes.items()])


def split_names(data: QueryDict, name: str) -> list[str]:
    """Return the values of a parameter that are not empty."""
    return [value for value in list_values(data, name) if value]


def get_values(params: Params, name: str) -> list[str]:
    """Return all values of a parameter."""
    return list_values(MultiValueDict({name: [value for key, value in params if key == name]}), name)


def get_interval(kind: SummaryKind, data: QueryDict) -> str:
    """Return the interval that an address groups by, '' for none."""
    if kind.metrics is None:
        return data.get("interval", "")
    return next((name for name in split_names(data, "group_by") if name in kind.intervals), "")


def get_zone(data: Mapping[str, Any]) -> ZoneInfo:
    """Return the zone of an address, UTC if it has none or an invalid one."""
    try:
        return parse_zone(data.get("tz") or "UTC")
    except ValueError:
        return UTC_ZONE


def parse_form(form: QueryDict, kind: SummaryKind) -> Params:
    """Return the summary's parameters that a form's fields stand for, without `kind`."""
    data = clean_params(form)
    params = [(name, data.get(name, "").strip()) for name in RANGE if data.get(name) != "UTC"]
    params += [*parse_question(data, kind), *parse_filters(data, kind)]
    return [(name, value) for name, value in params if value]


def parse_question(data: QueryDict, kind: SummaryKind) -> Params:
    """Return the parameters of groups, measures, order, limit and comparison."""
    interval = data.get("_interval", "")
    if kind.metrics is None:
        return [("interval", interval)]
    interval = interval if interval in kind.intervals else ""
    groups = [*data.getlist("_group"), f"tag:{data.get('_tag', '').strip()}"]
    dimensions = [name for name in dict.fromkeys(groups) if kind.metrics.get_dimension(name)]
    measures = [name for name in data.getlist("measures") if name in kind.metrics.measures]
    shown_measures = measures or kind.metrics.default_measures
    columns = {interval, *dimensions, *kind.metrics.get_partition(dimensions), *shown_measures}
    columns |= {f"{CHANGE}{name}" for name in shown_measures if data.get("compare")}
    order = [name for name in split_names(data, "order_by") if name.removeprefix("-") in columns]
    return [
        ("group_by", join_values(filter(None, (*dimensions, interval)))),
        ("measures", "" if tuple(measures) == kind.metrics.default_measures else join_values(measures)),
        ("order_by", join_values(order)),
        ("limit", data.get("limit", "").strip()),
        ("compare", data.get("compare", "")),
        ("fill", data.get("fill", "") if interval else ""),
        ("basis", data.get("basis", "") if "basis" in kind.parameters else ""),
    ]


def parse_filters(data: QueryDict, kind: SummaryKind) -> Params:
    """Return the filters that the kind has; several values of a filter are joined by commas, except for tags."""
    params: Params = []
    for name, param_filter in kind.filterset.base_filters.items():
        values = data.getlist(name)
        if name in RANGE or not values:
            continue
        if isinstance(param_filter, CommaSeparatedFilter):
            params.append((name, merge_texts(values)))
        else:
            is_tag = getattr(param_filter, "repeatable", False)
            params += [(name, merge_texts([value]) if is_tag else value.strip()) for value in values]
    return params
