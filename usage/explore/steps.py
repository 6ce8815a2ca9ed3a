"""The links from an answer to the next question: about one value or one interval, and by other groups."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Final
from zoneinfo import ZoneInfo

from usage.api.filters.fields import CommaSeparatedFilter
from usage.api.filters.values import TagsFilter
from usage.datetimes import format_iso
from usage.explore.kinds import SummaryKind
from usage.explore.params import Params, encode, get_values, get_zone
from usage.explore.rows import AnswerRows, Row
from usage.labels import get_label
from usage.links import PageLink
from usage.param_values import join_values, write_tag, write_value
from usage.ranges import get_range, parse_dates
from usage.summaries.intervals import get_next_date, get_next_hour
from usage.summaries.query import CHANGE

# What usage is broken down by, in the order in which it is usually read.
DIMENSIONS: Final = {
    "environment-usage": (
        "project_id",
        "user_id",
        "environment_class_id",
        "environment_id",
        "team",
        "runner_id",
        "source",
    ),
    "resource-usage": ("category", "resource_type", "project_id", "resource_id", "region_id", "source"),
    "recipe-usage": ("workspace_id", "folder_id", "recipe_id", "source"),
}
# What a selected interval is cut into; a day is one row.
SHORTER: Final = {"year": "month", "quarter": "month", "month": "day", "week": "day"}
LIMITS: Final = ("5", "8", "10", "15", "20", "50", "100")


@dataclass(frozen=True)
class Question:
    """The parameters of an address and the links that change them; `params` include `kind`."""

    kind: SummaryKind
    params: Params

    @cached_property
    def zone(self) -> ZoneInfo:
        return get_zone(dict(self.params))

    @cached_property
    def interval(self) -> str:
        names = [name for param in ("group_by", "interval") for name in get_values(self.params, param)]
        return next((name for name in names if name in self.kind.intervals), "")

    @cached_property
    def dimensions(self) -> list[str]:
        return [name for name in get_values(self.params, "group_by") if name and name != self.interval]

    @cached_property
    def single_values(self) -> set[str]:
        return {name for name, _ in self.params if len(get_values(self.params, name)) == 1}

    def regroup(self, dimensions: Iterable[str], interval: str, **changes: str) -> str:
        """Return the query with other groups and with `changes`, of which '' leaves a parameter out."""
        groups = [*dimensions, *filter(None, (interval,))]
        changes["group_by" if self.kind.metrics else "interval"] = join_values(groups)
        changes["order_by"] = join_values(self.keep_order(groups, changes.get("compare")))
        if not interval:
            changes["fill"] = ""
        present_names = {name for name, _ in self.params}
        merged = [(name, changes.get(name, value)) for name, value in self.params]
        merged += [(name, value) for name, value in changes.items() if name not in present_names]
        return encode((name, value) for name, value in dict.fromkeys(merged) if value)

    def keep_order(self, groups: Sequence[str], compare: str | None) -> list[str]:
        """Return the columns of the order that rows of other groups also have."""
        metrics = self.kind.metrics
        if metrics is None:
            return []
        is_compared = compare if compare is not None else dict(self.params).get("compare")
        columns = {*groups, *metrics.get_partition(groups), *metrics.measures}
        columns |= {f"{CHANGE}{name}" for name in metrics.measures if is_compared}
        return [name for name in get_values(self.params, "order_by") if name.removeprefix("-") in columns]

    def find_next(self, used_names: Iterable[str]) -> list[str]:
        """Return the first dimension that is neither used nor filtered to one value, in a list; [] if none remains."""
        excluded = {*used_names, *self.single_values}
        return [name for name in DIMENSIONS.get(self.kind.name, ()) if name not in excluded][:1]

    def build_filter(self, name: str, value: Any) -> tuple[str, str] | None:
        """Return the parameter that leaves one value of a dimension, None where there is no such filter."""
        text = None if value is None or value == "" else str(value)
        filters = self.kind.filterset.base_filters
        if name.startswith("tag:") and isinstance(filters.get("tag"), TagsFilter):
            pair = ("tag", write_tag(name.removeprefix("tag:"), text))
            return None if pair[1].startswith(":") else pair
        if not isinstance(filters.get(name), CommaSeparatedFilter):
            return None
        return (name, write_value(text))

    def step_into(self, values: Iterable[tuple[str, Any]]) -> str:
        """Return the query about some values alone, by the remaining dimensions; '' where nothing would be filtered."""
        pairs = {name: pair for name, value in values if (pair := self.build_filter(name, value))}
        if all(self.has_only(pair) for pair in pairs.values()):
            return ""
        dimensions = [name for name in self.dimensions if name not in pairs]
        if not dimensions and not self.interval:
            dimensions = self.find_next(pairs) or self.dimensions
        tags = [pair for pair in pairs.values() if pair[0] == "tag" and pair not in self.params]
        changes = {name: value for name, value in pairs.values() if name != "tag"}
        return Question(self.kind, [*self.params, *tags]).regroup(dimensions, self.interval, **changes)

    def has_only(self, pair: tuple[str, str]) -> bool:
        """Return whether the question is already filtered to a value."""
        values = [value for name, value in self.params if name == pair[0]]
        return pair in self.params if pair[0] == "tag" else values == [pair[1]]

    @cached_property
    def interval_step(self) -> str:
        """The query about one interval, with {from} and {to} for its bounds."""
        interval, dimensions = SHORTER.get(self.interval, ""), self.dimensions
        if not interval and not dimensions:
            dimensions = self.find_next(())
        query = self.regroup(dimensions, interval, **{"from": "FROM", "to": "TO"})
        return query.replace("from=FROM", "from={from}").replace("to=TO", "to={to}")

    def get_interval_bounds(self, label: str) -> tuple[str, str]:
        """Return the bounds of an interval by its name, within the range of the question."""
        if self.interval == "hour":
            start = datetime.fromisoformat(label)
            return format_iso(start) or "", format_iso(get_next_hour(start, self.zone)) or ""
        first = date.fromisoformat(label)
        end = get_next_date(first, self.interval)
        params = dict(self.params)
        if dates := parse_dates((params.get("from", ""), params.get("to", ""))):
            first, end = max(first, dates[0]), min(end, dates[1])
        return str(first), str(end)

    def step_into_interval(self, label: str) -> str:
        start, end = self.get_interval_bounds(label)
        return self.interval_step.replace("{from}", start).replace("{to}", end)

    def step_into_row(self, rows: AnswerRows, row: Row) -> str:
        names = [name for name in rows.dimensions if name not in rows.partition]
        return self.step_into((name, row[name]) for name in names)

    def list_dimensions(self) -> Iterator[PageLink]:
        """Yield the links to the same question by one dimension."""
        for name in DIMENSIONS.get(self.kind.name, ()):
            is_current = self.dimensions == [name]
            if is_current or name not in self.single_values:
                url = f"?{self.regroup([] if is_current and self.interval else [name], self.interval)}"
                yield PageLink(get_label(name), url, is_current)

    def list_intervals(self) -> Iterator[PageLink]:
        """Yield the links to the same question in total and by each interval."""
        dimensions = self.dimensions
        yield PageLink("Total", f"?{self.regroup(dimensions, '')}", not self.interval)
        for name in self.kind.intervals:
            yield PageLink(get_label(name), f"?{self.regroup(dimensions, name)}", name == self.interval)

    def list_limits(self) -> Iterator[PageLink]:
        """Yield the links to the largest groups, where the question is grouped by a dimension."""
        current_limit = dict(self.params).get("limit", "")
        for limit in (*LIMITS, "") if self.dimensions else ():
            url = f"?{self.regroup(self.dimensions, self.interval, limit=limit)}"
            yield PageLink(f"Top {limit} + others" if limit else "All rows", url, limit == current_limit)

    def build_month_link(self, zone: Any) -> PageLink | None:
        """Return the link to this month against the last, by its dimensions, or by the first one."""
        if self.kind.metrics is None:
            return None
        first, end = get_range("this-month", zone)
        changes = {"from": str(first), "to": str(end), "compare": "last_month"}
        dimensions = self.dimensions or self.find_next(())
        url = self.regroup(dimensions, "", **changes)
        return PageLink("This month against last", f"?{url}", url == encode(self.params))
