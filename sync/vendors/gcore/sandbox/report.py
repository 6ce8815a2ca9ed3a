"""The Gcore stand-in's usage report: the matching records of a day or a period, and their totals."""

import operator
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sync.vendors.gcore.request import ReportRequest, TagCondition, Tags
from sync.vendors.gcore.sandbox.history import DayListing
from sync.vendors.gcore.sandbox.kinds import ResourceKind
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


class ReportTotals:
    """Exact sums per type, metric, unit, region and, where the type is split by it, flavor or the like."""

    def __init__(self) -> None:
        self.sums: dict[tuple[Stock, int, int], Amounts] = defaultdict(lambda: defaultdict(int))

    def add(self, stock: Stock, piece: Piece, amounts: Amounts) -> None:
        """Add one record; `backup` has no totals."""
        if stock.kind.totals:
            group = self.sums[stock, piece.choice, pick_region(piece.bits)]
            for digits, scaled in amounts.items():
                group[digits] += scaled

    def build_rows(self) -> list[Row]:
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
    if choice is not None and stock.kind.variant_field:
        row[stock.kind.variant_field] = stock.kind.choices[choice]
    return row


def sum_amounts(amounts: Amounts) -> Any:
    """Return the exact sum of quantities kept by their number of decimals."""
    max_digits = max(amounts)
    return build_decimal(sum(scaled * 10 ** (max_digits - digits) for digits, scaled in amounts.items()), max_digits)


@dataclass(slots=True)
class MatchingRecords:
    """The records that match a request: their number, any slice of them, and their totals.

    `record_count`: how many are in memory. `is_bad`: whether an edit makes a record break the contract.
    """

    count: int
    totals: list[Row]
    page: Callable[[int, int], list[Row]]
    is_bad: Callable[[int], bool]
    record_count: int


def build_report(days: Sequence[DayListing], query: ReportRequest) -> MatchingRecords:
    """Return the matching records; all records of a single day are built only to search or to sort them."""
    return build_day_report(days[0], query) if len(days) == 1 else build_period_report(days, query)


def build_day_report(day: DayListing, query: ReportRequest) -> MatchingRecords:
    """Return the matching records of a single day: only their indexes stay in memory."""
    totals = ReportTotals()
    matching: list[int] = []
    keys: list[tuple[Any, ...]] = []
    must_search = needs_search(query)
    order = query.get_order()
    for index, stock, piece in day.iterate_pieces(build_kind_filter(query)):
        if must_search and not is_match(day.build_row(stock, piece), query):
            continue
        matching.append(index)
        totals.add(stock, piece, {piece.digits: piece.scaled})
        if order:
            keys.append(tuple(RANKS[name](stock, piece) for name, _ in order))
    if order:
        matching = [matching[place] for place in sort_indexes(keys, order)]
    is_unfiltered = len(matching) == len(day) and not order
    places: Sequence[int] = range(len(day)) if is_unfiltered else array("Q", matching)

    def page(start: int, end: int) -> list[Row]:
        return [day.get_row(index) for index in places[start:end]]

    cached = 0 if is_unfiltered else len(places)
    return MatchingRecords(len(places), totals.build_rows(), page, lambda number: day.is_bad(places[number]), cached)


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


def build_period_report(days: Sequence[DayListing], query: ReportRequest) -> MatchingRecords:
    """Return the matching records of several days (or none), summed up per resource; filters see the sums."""
    records_by_identity: dict[tuple[int, int, int, int], PeriodRecord] = {}
    for day in days:
        for index, stock, piece in day.iterate_pieces(build_kind_filter(query)):
            identity = (stock.number, piece.slot, piece.generation, piece.choice)
            record = records_by_identity.get(identity)
            if record is None:
                record = records_by_identity[identity] = PeriodRecord(
                    stock, (day, piece), (day, piece), defaultdict(int), bad=False
                )
            record.last = (day, piece)
            record.amounts[piece.digits] += piece.scaled
            record.bad |= day.is_bad(index)
    pairs = [(record.get_row(), record) for record in records_by_identity.values()]
    pairs = [(row, record) for row, record in pairs if is_match(row, query)]
    pairs.sort(key=lambda pair: get_default_rank(pair[0]))
    order = query.get_order()
    keys = [tuple(row.get(COLUMNS.get(name, name), "") for name, _ in order) for row, _ in pairs]
    pairs = [pairs[place] for place in sort_indexes(keys, order)]
    totals = ReportTotals()
    for _, record in pairs:
        totals.add(record.stock, record.last[1], record.amounts)
    rows = [dict(row) for row, _ in pairs]
    bad = [record.bad for _, record in pairs]
    return MatchingRecords(
        len(rows), totals.build_rows(), lambda start, end: rows[start:end], lambda number: bad[number], len(rows)
    )


def get_default_rank(row: Row) -> tuple[str, ...]:
    """Return what the default order goes by: type, id (a missing id first) or name, first seen, metric."""
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
    directions = {is_descending for _, is_descending in order}
    if len(directions) == 1:
        places.sort(key=keys.__getitem__, reverse=directions.pop())
    else:
        for column in reversed(range(len(order))):
            places.sort(key=lambda place: keys[place][column], reverse=order[column][1])
    return places


def build_kind_filter(query: ReportRequest) -> Callable[[ResourceKind], bool]:
    """Return the test of whether records of a kind can match at all."""
    types = set(query.types or ())
    filtered_type = query.schema_filter.type if query.schema_filter else None
    return lambda kind: (not types or kind.type in types) and (filtered_type is None or kind.type == filtered_type)


def needs_search(query: ReportRequest) -> bool:
    """Return whether each record has to be looked at."""
    return any((query.projects, query.regions, query.schema_filter, query.tags))


def is_match(row: Row, query: ReportRequest) -> bool:
    """Return whether a record matches the request; a schema filter leaves other types out (assumed)."""
    schema_filter = query.schema_filter
    return (
        (not query.projects or row["project_id"] in query.projects)
        and (not query.regions or row["region_id"] in query.regions)
        and (schema_filter is None or str(row.get(schema_filter.field)) in schema_filter.values)
        and (query.tags is None or matches_tags(row.get("tags") or [], query.tags))
    )


def matches_tags(tags: Sequence[dict[str, str]], tag_filter: Tags) -> bool:
    """Return whether a record's tags satisfy the conditions."""
    pairs = [pair for tag in tags for pair in tag.items()]
    matches = (any(matches_condition(condition, *pair) for pair in pairs) for condition in tag_filter.conditions)
    if not tag_filter.conditions:
        return True
    return all(matches) if tag_filter.condition_type == "AND" else any(matches)


def matches_condition(condition: TagCondition, key: str, value: str) -> bool:
    """Return whether one tag satisfies one condition: the key exactly, the value exactly or in part."""
    if condition.key is not None and condition.key != key:
        return False
    if condition.value is None:
        return True
    matches_value = operator.eq if condition.strict else lambda part, text: part.casefold() in text.casefold()
    return bool(matches_value(condition.value, value))
