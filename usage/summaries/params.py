"""The parameters of a summary: parsed into a SummaryQuery, or refused with every wrong parameter named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rest_framework.exceptions import ValidationError

from usage.api.filters import UsageFilterSet
from usage.param_values import list_values, parse_count
from usage.summaries.intervals import BASELINES, INTERVALS, list_intervals
from usage.summaries.metrics import DELETED_RECIPES, JSON_DIMENSIONS, RECIPE_DIMENSIONS, MetricSet
from usage.summaries.query import CHANGE, SummaryQuery, build_query, check_range

COMMON_PARAMS: Final = ("group_by", "measures", "order_by", "limit", "compare", "fill")
ENVIRONMENT_PARAMS: Final = (*COMMON_PARAMS, "basis")
MAX_LIMIT: Final = 10_000
MAX_DIMENSIONS: Final = 12
Errors = dict[str, list[Any]]


def parse_params(
    params: Mapping[str, str],
    metrics: MetricSet,
    filterset: UsageFilterSet,
    filter_errors: Mapping[str, list[Any]] | None = None,
) -> SummaryQuery:
    """Return the query that a request's parameters describe; raises ValidationError that names all that is wrong.

    `filter_errors`: the errors of the filters; `filterset` is valid where there are none.
    """
    parser = ParamsParser(params, metrics)
    options = parser.parse(has_range={"from", "to"} <= set(filterset.data or ()))
    if parser.errors or filter_errors:
        raise ValidationError({**parser.errors, **(filter_errors or {})})
    query = build_query(metrics, filterset, **options)
    check_range(query)
    return query


@dataclass
class ParamsParser:
    """Parses parameters one by one and collects their errors."""

    params: Mapping[str, str]
    metrics: MetricSet
    errors: Errors = field(default_factory=dict)

    def parse(self, *, has_range: bool) -> dict[str, Any]:
        """Return the fields of SummaryQuery that the parameters give."""
        group_by, interval = self.parse_group_by()
        measures = self.parse_measures()
        compare, fill = self.parse_choice("compare", "", *BASELINES), self.parse_choice("fill", "", "zero")
        options = {
            "group_by": group_by,
            "interval": interval,
            "measures": measures,
            "order_by": self.parse_order_by(self.list_columns(group_by, interval, measures), measures, compare),
            "limit": self.parse_limit(),
            "accrued": self.parse_choice("basis", "stopped", "accrued") == "accrued",
            "compare": compare,
            "fill": fill == "zero",
        }
        if (options["compare"] or options["fill"]) and not has_range:
            self.add_error("compare" if options["compare"] else "fill", "Needs both from and to.")
        if options["fill"] and not interval:
            self.add_error("fill", "Needs an interval in group_by.")
        return options

    def parse_group_by(self) -> tuple[tuple[str, ...], str]:
        """Return the dimensions and the interval, '' for none."""
        names = dict.fromkeys(self.split("group_by"))
        intervals = [name for name in names if name in INTERVALS]
        dimensions = tuple(name for name in names if name not in INTERVALS)
        if len(intervals) > 1:
            self.add_error("group_by", f"One interval at most; these are several: {', '.join(intervals)}.")
        for name in names:
            self.check_grouping(name)
        if len(dimensions) > MAX_DIMENSIONS:
            self.add_error("group_by", f"At most {MAX_DIMENSIONS} dimensions.")
        return dimensions, next(iter(intervals), "")

    def check_grouping(self, name: str) -> None:
        allowed = list_intervals(self.metrics.smallest_interval)
        if name in INTERVALS:
            if name not in allowed:
                reason = f"“{name}” would cut a UTC day, which is the least that this usage is kept by."
                self.add_error("group_by", reason)
        elif self.metrics.get_dimension(name) is None:
            json_dimensions = JSON_DIMENSIONS if self.metrics.has_json else ()
            names = [*self.metrics.dimension_names, *json_dimensions, *allowed]
            self.add_error("group_by", f"“{name}” is not one of: {', '.join(names)}.")

    def parse_measures(self) -> tuple[str, ...]:
        """Return the names of the measures, the default measures where the parameter is absent."""
        names = tuple(dict.fromkeys(self.split("measures")))
        for name in names:
            if name not in self.metrics.measures:
                self.add_error("measures", f"“{name}” is not one of: {', '.join(self.metrics.measures)}.")
        return names or self.metrics.default_measures

    def list_columns(self, group_by: tuple[str, ...], interval: str, measures: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the columns of the rows."""
        deleted = (DELETED_RECIPES.name,) if RECIPE_DIMENSIONS & set(group_by) else ()
        dimensions = dict.fromkeys((*group_by, *self.metrics.get_partition(group_by), *deleted))
        return (*filter(None, (interval,)), *dimensions, *measures)

    def parse_order_by(
        self, columns: tuple[str, ...], measures: tuple[str, ...], compare: str
    ) -> tuple[tuple[str, bool], ...]:
        """Return the columns to order by, each with whether it descends; changes only of a comparison."""
        columns = (*columns, *(f"{CHANGE}{name}" for name in measures if compare))
        order_by = tuple((name.removeprefix("-"), name.startswith("-")) for name in self.split("order_by"))
        for name, _ in order_by:
            if name not in columns:
                self.add_error("order_by", f"“{name}” is not one of: {', '.join(columns)}, or - before one.")
        return order_by

    def parse_choice(self, param: str, *choices: str) -> str:
        """Return the parameter's value, the first choice where it is not given."""
        value = self.params.get(param, choices[0])
        if value not in choices:
            self.add_error(param, f"“{value}” is not one of: {', '.join(filter(None, choices))}.")
        return value

    def parse_limit(self) -> int | None:
        """Return the number of groups, None for all."""
        text = self.params.get("limit")
        if text is None:
            return None
        try:
            return parse_count(text, MAX_LIMIT)
        except ValueError as error:
            self.add_error("limit", str(error))
            return None

    def split(self, param: str) -> list[str]:
        return list_values(self.params, param)

    def add_error(self, param: str, reason: str) -> None:
        self.errors.setdefault(param, []).append(reason)
