"""Gcore's usage report as docs/vendors/gcore.md describes it, for tests of the sandbox and of the mirror."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Context, Decimal, Inexact
from typing import Any, NamedTuple

Row = dict[str, Any]
EXACT = Context(prec=200, traps=[Inexact])
COMMON = frozenset(
    [
        "billing_metric_name",
        "billing_value",
        "billing_value_unit",
        "first_seen",
        "last_seen",
        "project_id",
        "region",
        "region_id",
        "type",
    ]
)


class Kind(NamedTuple):
    """One resource type: its unit, which of uuid, last_name and tags it has, and its own fields."""

    unit: str
    has: list[str]
    own: list[str]
    totals_by: str
    filters: list[str]


# type | unit | of uuid, last_name, tags | own fields | totals also by | schema_filter fields
TABLE_TEXT = """
ai_cluster | minutes | uuid last_name tags | flavor | flavor | flavor last_name type uuid
ai_virtual_cluster | minutes | uuid last_name tags | flavor | flavor | flavor last_name type uuid
backup | gbminutes | uuid last_name | last_size schedule_id source_volume_uuid | | last_name last_size schedule_id source_volume_uuid type uuid
baremetal | minutes | uuid last_name tags | flavor | flavor | flavor last_name type uuid
basic_vm | minutes | uuid last_name tags | flavor | flavor | flavor last_name type uuid
containers | GBS | uuid last_name | | | last_name type uuid
dbaas_postgresql_connection_pooler | minutes | uuid last_name | | | last_name type uuid
dbaas_postgresql_cpu | minutes | uuid last_name | | | last_name type uuid
dbaas_postgresql_memory | gbminutes | uuid last_name | | | last_name type uuid
dbaas_postgresql_public_network | minutes | uuid last_name | | | last_name type uuid
dbaas_postgresql_volume | gbminutes | uuid last_name | size_unit volume_type | volume_type | last_name type uuid volume_type
egress_traffic | bytes | tags | instance_name instance_type port_id size_unit vm_id | instance_type | instance_name instance_type port_id type vm_id
external_ip | minutes | | attached_to_vm ip_address network_id port_id subnet_id | | attached_to_vm ip_address network_id port_id subnet_id type
file_share | gbminutes | uuid last_name tags | file_share_type last_size size_unit | file_share_type | file_share_type last_name last_size type uuid
floatingip | minutes | uuid last_name tags | ip_address | | ip_address last_name type uuid
functions | GBS | uuid last_name | | | last_name type uuid
functions_calls | MLS | uuid last_name | | | last_name type uuid
functions_traffic | GB | uuid last_name | | | last_name type uuid
image | gbminutes | uuid last_name tags | last_size size_unit | | last_name last_size type uuid
inference | GPU minutes | uuid last_name | flavor | | flavor last_name type uuid
instance | minutes | uuid last_name tags | flavor | flavor | flavor last_name type uuid
load_balancer | minutes | uuid last_name tags | flavor | flavor | flavor last_name type uuid
log_index | gbminutes | uuid last_name | last_size size_unit | | last_name last_size type uuid
snapshot | gbminutes | uuid last_name tags | last_size size_unit source_volume_uuid volume_type | volume_type | last_name last_size source_volume_uuid type uuid volume_type
volume | gbminutes | uuid last_name tags | attached_to_vm last_size size_unit volume_type | volume_type | attached_to_vm last_name last_size type uuid volume_type
"""


def parse_kind(line: str) -> tuple[str, Kind]:
    """Return one line of the table."""
    name, unit, has, own, totals_by, filters = (part.strip() for part in line.split("|"))
    return name, Kind(unit, has.split(), own.split(), totals_by, filters.split())


TABLE = dict(map(parse_kind, TABLE_TEXT.strip().splitlines()))


def build_range(first: date, last: date | None = None) -> dict[str, Any]:
    """Return the body's range for the days from `first` to `last`, both included."""
    end = (last or first) + timedelta(days=1)
    return {"time_from": f"{first}T00:00:00Z", "time_to": f"{end}T00:00:00Z"}


def build_identity(row: Row) -> tuple[Any, ...]:
    """Return the fields that identify a row within a day, by docs/vendors/gcore.md."""
    variants = ("flavor", "volume_type", "file_share_type", "instance_type")
    own = {"egress_traffic": ("port_id", "vm_id"), "external_ip": ("port_id", "ip_address")}
    own_id = row.get("uuid") or tuple(row[name] for name in own.get(row["type"], ("last_name",)))
    shared = ("type", "billing_metric_name", "billing_value_unit", "project_id", "region_id")
    return (*(row[name] for name in shared), *(row.get(name) for name in variants), own_id)


def sum_resources(rows: Iterable[Row]) -> dict[tuple[Any, ...], Decimal]:
    """Return the exact sums of resources, grouped as the totals are."""
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for row in rows:
        column = TABLE[row["type"]].totals_by if row["type"] in TABLE else "model"
        if row["type"] != "backup":
            key = build_total_key(row, row.get(column) if column else None)
            sums[key] = EXACT.add(sums[key], Decimal(row["billing_value"]))
    return dict(sums)


def build_total_key(row: Row, own: Any) -> tuple[Any, ...]:
    return row["type"], row["billing_metric_name"], row["billing_value_unit"], row["region_id"], own


def index_totals(response: Any) -> dict[tuple[Any, ...], Decimal]:
    """Return the totals by group; fails where a group occurs twice."""
    totals = {}
    for row in response["totals"]:
        own = row.keys() - COMMON
        totals[build_total_key(row, row[own.pop()] if own else None)] = Decimal(row["billing_value"])
        assert not own
    assert len(totals) == len(response["totals"])
    return totals
