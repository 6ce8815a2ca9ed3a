"""The order of a summary's groups, and which of them the limit keeps."""

from collections import Counter
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from usage.summaries.query import CHANGE, SummaryQuery
from usage.summaries.sql import GroupKey, PartitionKey, Sums, get_partition_places

Order = list[tuple[str, bool]]
AllSums = dict[GroupKey, Sums]


def sort_groups(query: SummaryQuery, sums: AllSums) -> list[GroupKey]:
    """Return the groups by `order_by`, then by interval, then the largest first, then by the dimensions.

    An order that begins with a measure holds within each unit.
    """
    by_interval = [(query.interval, False)] if query.interval else []
    keys = sort_by(query, sums, [*query.order_by, *by_interval, (query.main_measure, True)])
    first = query.order_by[0][0] if query.order_by else query.interval or query.main_measure
    return sort_by_unit(query, sums, keys) if first.removeprefix(CHANGE) in query.measures else keys


def sort_by_unit(query: SummaryQuery, sums: AllSums, keys: list[GroupKey]) -> list[GroupKey]:
    """Return the groups by unit, the unit of most records first: bytes do not compare with minutes."""
    place = query.get_index(query.partition[-1]) if query.partition else None
    if place is None:
        return keys
    counts: Counter[Any] = Counter()
    for key in keys:
        counts[key[0][place]] += sums[key].get("records") or 1
    return sorted(keys, key=lambda key: (-counts[key[0][place]], str(key[0][place])))


def select_groups(query: SummaryQuery, sums: AllSums, keys: list[GroupKey]) -> list[GroupKey]:
    """Return the keys that the limit keeps: its number of groups of each unit and metric, with all intervals."""
    if query.limit is None:
        return keys
    top_groups: dict[PartitionKey, set[Any]] = {}
    for key in rank_groups(query, sums):
        members = top_groups.setdefault(get_partition_key(query, key), set())
        if len(members) < query.limit:
            members.add(get_group_id(query, key))
    return [key for key in keys if get_group_id(query, key) in top_groups[get_partition_key(query, key)]]


def get_group_id(query: SummaryQuery, key: GroupKey) -> Any:
    """Return the unit that the limit counts: the dimensions, or dimensions and interval where a group has one row."""
    return key[0] if query.has_series else key


def get_partition_key(query: SummaryQuery, key: GroupKey) -> PartitionKey:
    """Return those of a group's values that totals are grouped by."""
    return tuple(key[0][place] for place in get_partition_places(query))


def rank_groups(query: SummaryQuery, sums: AllSums) -> list[GroupKey]:
    """Return one key of each group: the largest first, or by the measures and their changes in `order_by`.

    Other columns of `order_by` arrange the rows and do not select them. The intervals of a series are added up;
    distinct counts too, which is no true count but ranks the groups.
    """
    columns = (*query.measures, *query.changes)
    order = [(name, descending) for name, descending in query.order_by if name in columns]
    if query.has_series:
        series: AllSums = {}
        for (values, _), parts in sums.items():
            added = series.setdefault((values, 0), dict.fromkeys(columns, 0))
            for name in columns:
                added[name] += parts[name] or 0
        sums = series
    return sort_by(query, sums, [*order, (query.main_measure, True)])


def sort_by(query: SummaryQuery, sums: AllSums, order: Order) -> list[GroupKey]:
    """Return the groups by (column, descending) from first to last significance, then by the dimensions."""
    keys = sorted(sums, key=lambda key: [make_sortable(value) for value in key[0]])
    for name, descending in reversed(order):
        read = get_reader(query, sums, name)
        keys.sort(key=lambda key, read=read: make_sortable(read(key)), reverse=descending)  # type: ignore[misc]
    return keys


def get_reader(query: SummaryQuery, sums: AllSums, name: str) -> Callable[[GroupKey], Any]:
    """Return the function that reads a group's value of a column: its interval, a measure or a dimension."""
    if name == query.interval:
        return itemgetter(1)
    if name in query.measures or name in query.changes:
        return lambda key: sums[key][name]
    place = [dimension.name for dimension in query.dimensions].index(name)
    return lambda key: key[0][place]


def make_sortable(value: Any) -> tuple[bool, Any]:
    """Return a value that sorts before all others where it is None."""
    return (value is not None, 0 if value is None else value)
