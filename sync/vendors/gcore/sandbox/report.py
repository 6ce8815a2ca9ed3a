"""The Gcore stand-in's usage report: the matching records of a day or a period, and their totals."""

import operator
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sync.vendors.gcore.request import Condition, ReportRequest, Tags
from sync.vendors.gcore.sandbox.history import DayListing
from sync.vendors.gcore.sandbox.kinds import Kind
from sync.vendors.gcore.sandbox.rows import build_decimal, build_name, pick_project, pick_region
from sync.vendors.gcore.sandbox.stock import Piece, Stock

Row = dict[str, Any]
Amounts = dict[int, int]  # sums of scaled quantities by their number of decimals
COLUMNS = {"project": "project_id", "region": "region_id"}
MOST_DIGITS = 40
RANKS: dict[str, Callable[[Stock, Piece], Any]] = {
    "billing_value": lambda _, piece: piece.scaled * 10 ** (MOST_DIGITS - piece.digits),
    "first_seen": lambda _, piece: piece.first,
    "last_name": lambda stock, piece: build_name(stock, piece) if stock.kind.last_name else "",
    "last_seen": lambda _, piece: piece.upto,
    "project": lambda _, piece: pick_project(piece.bits),
    "region": lambda _, piece: pick_region(piece.bits),
    "type": lambda stock, _: stock.kind.type,
}  # what a record of one day is sorted by, without writing it out; no name goes first


class Totals:
    """Exact sums per type, metric, unit, region and, where the type is split by it, flavor or the like."""

    def __init__(self) -> None:
        self.sums: dict[tuple[Stock, int, int], Amounts] = defaultdict(lambda: defaultdict(int))

    def add(self, stock: Stock, piece: Piece, amounts: Amounts) -> None:
        """Count one record in; `backup` has no totals."""
        if stock.kind.totals:
            group = self.sums[stock, piece.choice, pick_region(piece.bits)]
            for digits, scaled in amounts.items():
                group[digits] += scaled

    def build_rows(self) -> list[Row]:
        """Write the totals out."""
        merged: dict[tuple[Stock, str, int, int | None], Amounts] = defaultdict(lambda: defaultdict(int))
        for (stock, choice, region), amounts in self.sums.items():
            split = choice if stock.kind.split else None
            for digits, scaled in amounts.items():
                merged[stock, stock.metrics[choice], region, split][digits] += scaled
        return [build_total(*group, amounts) for group, amounts in merged.items()]


def build_total(stock: Stock, metric: str, region: int, choice: int | None, amounts: Amounts) -> Row:
    """Write one total out."""
    row = {
        "type": stock.kind.type,
        "billing_metric_name": metric,
        "billing_value": sum_amounts(amounts),
        "billing_value_unit": stock.kind.unit,
        "region": region,
        "region_id": region,
    }
    if choice is not None and stock.kind.chosen:
        row[stock.kind.chosen] = stock.kind.choices[choice]
    return row


def sum_amounts(amounts: Amounts) -> Any:
    """Return the exact sum of quantities kept by their number of decimals."""
    most = max(amounts)
    return build_decimal(sum(scaled * 10 ** (most - digits) for digits, scaled in amounts.items()), most)


@dataclass(slots=True)
class Report:
    """What matches a question: how many records, any slice of them, and their totals.

    `record_count` counts what it keeps in memory. `is_bad` tells of a record that was arranged to break the contract.
    """

    count: int
    totals: list[Row]
    page: Callable[[int, int], list[Row]]
    is_bad: Callable[[int], bool]
    record_count: int


def build_report(days: Sequence[DayListing], query: ReportRequest) -> Report:
    """Return the records that match; one day is never built whole unless it has to be searched or sorted."""
    return build_day_report(days[0], query) if len(days) == 1 else build_period_report(days, query)


def build_day_report(day: DayListing, query: ReportRequest) -> Report:
    """Return the matching records of a single day, none of which is kept: only their indexes."""
    totals = Totals()
    matching: list[int] = []
    keys: list[tuple[Any, ...]] = []
    searched = needs_search(query)
    order = query.get_order()
    for index, stock, piece in day.iterate_pieces(build_kind_filter(query)):
        if searched and not is_match(day.build_row(stock, piece), query):
            continue
        matching.append(index)
        totals.add(stock, piece, {piece.digits: piece.scaled})
        if order:
            keys.append(tuple(RANKS[name](stock, piece) for name, _ in order))
    if order:
        matching = [matching[place] for place in sort_indexes(keys, order)]
    whole = len(matching) == len(day) and not order
    places: Sequence[int] = range(len(day)) if whole else array("Q", matching)

    def page(start: int, end: int) -> list[Row]:
        return [day.get_row(index) for index in places[start:end]]

    held = 0 if whole else len(places)
    return Report(len(places), totals.build_rows(), page, lambda number: day.is_bad(places[number]), held)


@dataclass(slots=True)
class PeriodRecord:
    """One resource over several days: the exact amounts, its first day and its latest one."""

    stock: Stock
    first: tuple[DayListing, Piece]
    last: tuple[DayListing, Piece]
    amounts: Amounts
    bad: bool

    def get_row(self) -> Row:
        """Write it out with the name and size of its latest day."""
        day, piece = self.last
        row = day.build_row(self.stock, piece)
        row["billing_value"] = sum_amounts(self.amounts)
        row["first_seen"] = self.first[0].format_second(self.first[1].first * 60)
        return row


def build_period_report(days: Sequence[DayListing], query: ReportRequest) -> Report:
    """Return the matching records of several days (or none), summed up per resource; filters see the sums."""
    summed: dict[tuple[int, int, int, int], PeriodRecord] = {}
    for day in days:
        for index, stock, piece in day.iterate_pieces(build_kind_filter(query)):
            identity = (stock.number, piece.slot, piece.generation, piece.choice)
            one = summed.get(identity)
            if one is None:
                one = summed[identity] = PeriodRecord(stock, (day, piece), (day, piece), defaultdict(int), bad=False)
            one.last = (day, piece)
            one.amounts[piece.digits] += piece.scaled
            one.bad |= day.is_bad(index)
    found = [(one.get_row(), one) for one in summed.values()]
    found = [(row, one) for row, one in found if is_match(row, query)]
    found.sort(key=lambda pair: get_default_rank(pair[0]))
    order = query.get_order()
    keys = [tuple(row.get(COLUMNS.get(name, name), "") for name, _ in order) for row, _ in found]
    found = [found[place] for place in sort_indexes(keys, order)]
    totals = Totals()
    for _, one in found:
        totals.add(one.stock, one.last[1], one.amounts)
    rows = [dict(row) for row, _ in found]
    bad = [one.bad for _, one in found]
    return Report(
        len(rows), totals.build_rows(), lambda start, end: rows[start:end], lambda number: bad[number], len(rows)
    )


def get_default_rank(row: Row) -> tuple[str, ...]:
    """Return what the default order goes by: type, id (a missing one first) or name, first seen, metric."""
    ident = row.get("uuid") or row.get("port_id") or ""
    return (
        row["type"],
        ident,
        "" if ident else row["last_name"],
        row["first_seen"],
        row["billing_metric_name"],
    )


def sort_indexes(keys: Sequence[tuple[Any, ...]], order: Sequence[tuple[str, bool]]) -> list[int]:
    """Return the places of keys, one value for each field of the order; equal keys stay as they were."""
    places = list(range(len(keys)))
    downward = {way for _, way in order}
    if len(downward) == 1:
        places.sort(key=keys.__getitem__, reverse=downward.pop())
    else:
        for column in reversed(range(len(order))):
            places.sort(key=lambda place: keys[place][column], reverse=order[column][1])
    return places


def build_kind_filter(query: ReportRequest) -> Callable[[Kind], bool]:
    """Return the test of whether records of a kind can match at all."""
    types = set(query.types or ())
    only = query.schema_filter.type if query.schema_filter else None
    return lambda kind: (not types or kind.type in types) and (only is None or kind.type == only)


def needs_search(query: ReportRequest) -> bool:
    """Tell whether each record has to be looked at."""
    return any((query.projects, query.regions, query.schema_filter, query.tags))


def is_match(row: Row, query: ReportRequest) -> bool:
    """Tell whether a record is asked for; a schema filter leaves other types out (assumed)."""
    wanted = query.schema_filter
    return (
        (not query.projects or row["project_id"] in query.projects)
        and (not query.regions or row["region_id"] in query.regions)
        and (wanted is None or str(row.get(wanted.field)) in wanted.values)
        and (query.tags is None or matches_tags(row.get("tags") or [], query.tags))
    )


def matches_tags(tags: Sequence[dict[str, str]], wanted: Tags) -> bool:
    """Tell whether a record's tags satisfy the conditions."""
    pairs = [pair for tag in tags for pair in tag.items()]
    met = (any(matches_condition(condition, *pair) for pair in pairs) for condition in wanted.conditions)
    if not wanted.conditions:
        return True
    return all(met) if wanted.condition_type == "AND" else any(met)


def matches_condition(condition: Condition, key: str, value: str) -> bool:
    """Tell whether one tag satisfies one condition: the key exactly, the value exactly or in part."""
    if condition.key is not None and condition.key != key:
        return False
    if condition.value is None:
        return True
    same = operator.eq if condition.strict else lambda part, whole: part.casefold() in whole.casefold()
    return bool(same(condition.value, value))
