"""Gcore's usage report as it travels (docs/vendors/gcore.md): its envelope, its rows, and the fields of each type."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from sync.vendors.decoding import convert_fields, decode_body, decode_record
from sync.vendors.record_limits import ALTERATIONS_KEY, check_number
from usage.limits import get_text_limits
from usage.models import ResourceUsage

USAGE_REPORT = "/cloud/v1/usage_report"

# Every sortable field, those that stay the same while a day grows first, so that paging by offset is stable.
ORDER = [
    f"{field}.asc" for field in ("type", "project", "region", "last_name", "first_seen", "last_seen", "billing_value")
]

# The fields that only some types have: they go to a row's `details`, any other unknown field to `extra`.
OWN_FIELDS: dict[str, frozenset[str]] = {
    name: frozenset(fields)
    for name, fields in {
        "ai_cluster": ("flavor",),
        "ai_virtual_cluster": ("flavor",),
        "backup": ("last_size", "schedule_id", "source_volume_uuid"),
        "baremetal": ("flavor",),
        "basic_vm": ("flavor",),
        "containers": (),
        "dbaas_postgresql_connection_pooler": (),
        "dbaas_postgresql_cpu": (),
        "dbaas_postgresql_memory": (),
        "dbaas_postgresql_public_network": (),
        "dbaas_postgresql_volume": ("size_unit", "volume_type"),
        "egress_traffic": ("instance_name", "instance_type", "port_id", "size_unit", "vm_id"),
        "external_ip": ("attached_to_vm", "ip_address", "network_id", "port_id", "subnet_id"),
        "file_share": ("file_share_type", "last_size", "size_unit"),
        "floatingip": ("ip_address",),
        "functions": (),
        "functions_calls": (),
        "functions_traffic": (),
        "image": ("last_size", "size_unit"),
        "inference": ("flavor",),
        "instance": ("flavor",),
        "load_balancer": ("flavor",),
        "log_index": ("last_size", "size_unit"),
        "snapshot": ("last_size", "size_unit", "source_volume_uuid", "volume_type"),
        "volume": ("attached_to_vm", "last_size", "size_unit", "volume_type"),
    }.items()
}

# A resource that changes one of these within a day has a row for each.
VARIANTS = ("file_share_type", "flavor", "instance_type", "volume_type")

# What tells resources apart where they have no uuid; all other types by their name.
OWN_IDS: dict[str, tuple[str, ...]] = {
    "egress_traffic": ("port_id", "vm_id"),
    "external_ip": ("ip_address", "port_id"),
}

# The vendor's texts that are columns: ids reject their record where they cannot be stored, names are cut.
IDS = {
    "type": "resource_type",
    "billing_metric_name": "billing_metric",
    "billing_value_unit": "consumed_unit",
    "uuid": "resource_id",
}
NAMES = {"last_name": "resource_name"}
LIMITS = {name: get_text_limits(ResourceUsage)[column] for name, column in IDS.items()}

NOT_TOTALLED = frozenset({"backup"})

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class Resource(msgspec.Struct):
    """The fields that rows of every type share; fields with a default are missing from some types.

    `region` is the same number as `region_id`.
    """

    type: Name
    billing_value: Decimal
    billing_value_unit: str
    billing_metric_name: str | None = None
    project_id: Id | None = None
    region: Any = None
    region_id: Id | None = None
    uuid: str | None = None
    last_name: str | None = None
    first_seen: str | None = None
    last_seen: str | None = None
    tags: list[dict[str, Any]] | None = None


class Total(msgspec.Struct):
    """The fields that totals of every type share."""

    type: Name
    billing_value: Decimal
    billing_value_unit: str
    billing_metric_name: str | None = None
    region: Any = None
    region_id: Id | None = None


class Envelope(msgspec.Struct):
    """One answer as it travels."""

    count: Annotated[int, msgspec.Meta(ge=0)]
    resources: list[msgspec.Raw]
    totals: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class UsageReport:
    """One answer: `count` of all matching resources, some of them, and the sums over all of them."""

    count: int
    resources: list[msgspec.Raw]
    totals: list[dict[str, Any]]


decode_envelope = msgspec.json.Decoder(Envelope).decode


def parse_report(body: bytes) -> UsageReport:
    """Return an answer as a report; raises msgspec's errors and InvalidRecord where it is no report."""
    envelope = decode_body(decode_envelope, body)
    totals = [decode_record(total) for total in envelope.totals]
    for total in totals:
        total.pop(ALTERATIONS_KEY, None)
        parse_total(total)
    return UsageReport(envelope.count, envelope.resources, totals)


def parse_total(fields: dict[str, Any]) -> Total:
    """Return a total; raises InvalidRecord where the fields are no total."""
    total = convert_fields(fields, Total)
    check_number("billing_value", total.billing_value)
    return total
