"""Gcore's checksum: the totals of a day against the exact sums of its rows."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from sync.vendors.gcore.mapping import get_region_id
from sync.vendors.gcore.schema import NOT_TOTALLED, OWN_FIELDS, VARIANTS, Total, parse_total
from sync.vendors.record_limits import Alterations, fit_text
from usage.decimals import EXACT
from usage.models import ResourceRow

SHARED = frozenset(Total.__struct_fields__)


class Group(NamedTuple):
    """What one total is the sum of; `own` holds the names and values of the type's own columns of totals."""

    type: str
    billing_metric_name: str
    billing_value_unit: str
    region_id: int | None
    own: tuple[tuple[str, str], ...]


class RowSums:
    """Sums of a day's rows, grouped as the vendor groups its totals.

    How a type is grouped is read off the totals themselves: by flavor and the like where they name it, and a
    type that is not known by every column they have beyond the shared columns.
    """

    def __init__(self, totals: Iterable[dict[str, Any]]) -> None:
        self.columns = {total["type"]: get_own_columns(total) for total in totals}
        self.sums: dict[Group, Decimal] = {}
        self.rows = 0
        self.rejected = 0

    def add(self, row: ResourceRow, fields: dict[str, Any]) -> None:
        group = Group(
            row.resource_type,
            row.billing_metric,
            row.consumed_unit,
            row.region_id,
            tuple((name, str(fields.get(name))) for name in self.columns.get(row.resource_type, ())),
        )
        self.sums[group] = EXACT.add(self.sums.get(group, Decimal(0)), row.consumed_quantity)
        self.rows += 1

    def find_differences(self, count: int, totals: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield where the vendor's `count` and `totals` are not the portal's sums; `backup` has no totals.

        A type that is not known is compared where the vendor totals it at all. Once a record was rejected,
        every difference says so, since its usage is missing from the sums.
        """
        rejected = {"rejected": self.rejected} if self.rejected else {}
        if count != self.rows:
            yield {"what": "count", "vendor": str(count), "portal": str(self.rows), **rejected}
        vendor_sums = sum_totals(totals)
        totalled = {group.type for group in vendor_sums}
        for group in sorted(vendor_sums.keys() | self.sums.keys(), key=str):
            vendor_sum, portal_sum = vendor_sums.get(group), self.sums.get(group)
            if vendor_sum is None and group.type not in totalled and not has_total(group.type):
                continue
            if (vendor_sum or 0) != (portal_sum or 0):
                difference = {"what": "total", "vendor": format_number(vendor_sum), "portal": format_number(portal_sum)}
                yield difference | describe_group(group) | rejected


def get_own_columns(total: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns besides the shared columns that a type's totals are grouped by."""
    own = total.keys() - SHARED
    return tuple(sorted(own & set(VARIANTS) if total["type"] in OWN_FIELDS else own))


def sum_totals(totals: Iterable[dict[str, Any]]) -> dict[Group, Decimal]:
    """Return the vendor's totals by group."""
    sums: dict[Group, Decimal] = {}
    for fields in totals:
        total = parse_total(fields)
        group = Group(
            total.type,
            total.billing_metric_name or "",
            total.billing_value_unit,
            get_region_id(total.region_id, total.region),
            tuple((name, str(fields[name])) for name in get_own_columns(fields)),
        )
        sums[group] = EXACT.add(sums.get(group, Decimal(0)), total.billing_value)
    return sums


def has_total(resource_type: str) -> bool:
    """Return whether the contract promises totals for a type."""
    return resource_type in OWN_FIELDS and resource_type not in NOT_TOTALLED


def describe_group(group: Group) -> dict[str, Any]:
    """Return a group as the fields of a difference, under the vendor's own names."""
    texts = {
        "type": group.type,
        "billing_metric_name": group.billing_metric_name,
        "billing_value_unit": group.billing_value_unit,
        **dict(group.own),
    }
    # A total may have texts that no record can store.
    return {"region_id": group.region_id} | {
        fit_text("", name, Alterations()): fit_text("", text, Alterations()) for name, text in texts.items()
    }


def format_number(number: Decimal | None) -> str | None:
    """Return a number with all its digits and no exponent."""
    return None if number is None else format(number, "f")
