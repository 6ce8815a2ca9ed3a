"""Gcore's checksum: the totals of a day against the exact sums of its rows."""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, NamedTuple

from sync.vendors.gcore.rows import region
from sync.vendors.gcore.wire import NOT_TOTALLED, OWN_FIELDS, VARIANTS, Total
from sync.vendors.wire import DIGITS, UnfitRecordError, fitted
from usage.models import ResourceRow

# Sums never round: a context with room for every digit, which would rather raise.
EXACTLY = Context(prec=3 * DIGITS, traps=[Inexact, InvalidOperation])
SHARED = frozenset(Total.__struct_fields__)


class Group(NamedTuple):
    """What one total is the sum of; `own` holds the names and values of the type's own columns of totals."""

    type: str
    billing_metric_name: str
    billing_value_unit: str
    region_id: int | None
    own: tuple[tuple[str, str], ...]


class Sums:
    """Sums of a day's rows, grouped as the vendor groups its totals.

    How a type is grouped is read off the totals themselves: by flavor and the like where they name it, and a
    type that is not known by every column they have beyond the shared ones.
    """

    def __init__(self, totals: Iterable[dict[str, Any]]) -> None:
        self.columns = {total["type"]: own_columns(total) for total in totals}
        self.held: dict[Group, Decimal] = {}
        self.rows = 0
        self.rejected = 0

    def add(self, row: ResourceRow, fields: dict[str, Any]) -> None:
        """Count a row in."""
        group = Group(
            row.resource_type,
            row.billing_metric,
            row.consumed_unit,
            row.region_id,
            tuple((name, str(fields.get(name))) for name in self.columns.get(row.resource_type, ())),
        )
        self.held[group] = EXACTLY.add(self.held.get(group, Decimal(0)), row.consumed_quantity)
        self.rows += 1

    def differences(self, count: int, totals: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield where the vendor's `count` and `totals` are not what is held; `backup` has no totals.

        A type that is not known is compared where the vendor totals it at all. Once a record was rejected,
        every difference says so, since its usage is missing from the sums.
        """
        rejected = {"rejected": self.rejected} if self.rejected else {}
        if count != self.rows:
            yield {"what": "count", "vendor": str(count), "portal": str(self.rows), **rejected}
        vendor = summed(totals)
        totalled = {group.type for group in vendor}
        for group in sorted(vendor.keys() | self.held.keys(), key=str):
            given, held = vendor.get(group), self.held.get(group)
            if given is None and group.type not in totalled and not must_be_totalled(group.type):
                continue
            if (given or 0) != (held or 0):
                found = {"what": "total", "vendor": digits(given), "portal": digits(held)}
                yield found | located(group) | rejected


def own_columns(total: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns beside the shared ones that a type's totals are grouped by."""
    own = total.keys() - SHARED
    return tuple(sorted(own & set(VARIANTS) if total["type"] in OWN_FIELDS else own))


def summed(totals: Iterable[dict[str, Any]]) -> dict[Group, Decimal]:
    """Return the vendor's totals by group."""
    sums: dict[Group, Decimal] = {}
    for fields in totals:
        total = checked(fields)
        group = Group(
            total.type,
            total.billing_metric_name or "",
            total.billing_value_unit,
            region(total.region_id, total.region),
            tuple((name, str(fields[name])) for name in own_columns(fields)),
        )
        sums[group] = EXACTLY.add(sums.get(group, Decimal(0)), total.billing_value)
    return sums


def checked(fields: dict[str, Any]) -> Total:
    """Return a total; raises UnfitRecordError where it is not one."""
    total = fitted(fields, Total)
    if not total.billing_value.is_finite():
        raise UnfitRecordError("billing_value: not a number")
    return total


def must_be_totalled(resource_type: str) -> bool:
    """Tell whether the contract promises totals for a type."""
    return resource_type in OWN_FIELDS and resource_type not in NOT_TOTALLED


def located(group: Group) -> dict[str, Any]:
    """Return a group as the fields of a difference, under the vendor's own names."""
    return {
        "type": group.type,
        "billing_metric_name": group.billing_metric_name,
        "billing_value_unit": group.billing_value_unit,
        "region_id": group.region_id,
        **dict(group.own),
    }


def digits(number: Decimal | None) -> str | None:
    """Return a number with all its digits and no exponent."""
    return None if number is None else format(number, "f")
