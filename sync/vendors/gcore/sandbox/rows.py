"""How the Gcore stand-in writes a record: the common fields, and exactly the own fields of its type."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sync.sandbox.bits import mix_bits
from sync.vendors.gcore.sandbox.kinds import PROJECTS, REGIONS, ROLES, STAGES, TEAMS
from sync.vendors.gcore.sandbox.stock import Piece, Stock, get_size

GIB = 2**30
RENAMED = 10  # days after which a resource that is renamed gets its second name


def build_decimal(scaled: int, digits: int) -> Decimal:
    """Return `scaled / 10**digits`, exactly: no arithmetic context ever rounds it."""
    if not digits:
        return Decimal(scaled)
    integer, fraction = divmod(scaled, 10**digits)
    return Decimal(f"{integer}.{fraction:0{digits}d}")


def build_uuid(bits: int, salt: int) -> str:
    """Return a random-looking version 4 UUID."""
    head, tail = mix_bits(bits + salt), mix_bits(bits - salt - 1)
    middle = f"{head & 0xFFFF:04x}-4{tail >> 52:03x}-a{head >> 16 & 0xFFF:03x}"
    return f"{head >> 32:08x}-{middle}-{tail & 0xFFFFFFFFFFFF:012x}"


def build_sortable_uuid(stock: Stock, piece: Piece) -> str:
    """Return a UUID that sorts by the resource's slot."""
    place = piece.slot * stock.spread + piece.bits % stock.spread
    return f"{place:08x}{build_uuid(piece.bits, 1)[8:]}"


def build_name(stock: Stock, piece: Piece) -> str:
    """Return the name of a resource at its age: one in eight is renamed. Without a uuid it is the id."""
    bits = piece.bits
    if piece.slot < stock.nameless:
        return f"audit-{piece.slot:07d}-{bits >> 52:03x}"
    name = f"{ROLES[(bits >> 36) % len(ROLES)]}-{STAGES[(bits >> 41) % len(STAGES)]}-{(bits >> 44) % 90 + 10}"
    return f"{name}-v2" if (bits >> 57) & 7 == 0 and piece.age >= RENAMED else name


def pick_region(bits: int) -> int:
    """Return the region a resource is in."""
    return REGIONS[(bits >> 9) & 7]


def pick_project(bits: int) -> int:
    """Return the project a resource belongs to."""
    return PROJECTS[(bits >> 6) & 7]


def build_tags(bits: int) -> list[dict[str, str]]:
    """Return the tags: a list of one-key objects in which a key can come twice."""
    tag_kind = (bits >> 53) & 15
    if tag_kind < 2:
        return []
    tags = [{"team": TEAMS[(bits >> 27) % len(TEAMS)]}, {"env": STAGES[(bits >> 41) % len(STAGES)]}]
    if tag_kind < 5:
        tags.append({"team": TEAMS[(bits >> 30) % len(TEAMS)]})
    if tag_kind > 11:
        tags.append({"os_version": f"{20 + 2 * (bits & 1)}.04"})
    return tags


def pick_vm(bits: int) -> str | None:
    """Return the id of the machine a disk or an address is attached to, if any."""
    return build_uuid(bits, 5) if (bits >> 60) & 3 else None


def build_ip_address(bits: int) -> str:
    """Return an address of the ranges kept for documentation (RFC 5737, RFC 3849)."""
    if (bits >> 50) & 15 == 0:
        return f"2001:db8:{bits & 0xFFFF:x}::{bits >> 48:x}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[bits % 3]}.{(bits >> 16) % 254 + 1}"


OWN_FIELDS: dict[str, Callable[[Stock, Piece], Any]] = {
    "attached_to_vm": lambda _, piece: pick_vm(piece.bits),
    "instance_name": lambda stock, piece: build_name(stock, piece) if piece.bits & 7 else None,
    "ip_address": lambda _, piece: build_ip_address(piece.bits),
    "last_size": lambda stock, piece: get_size(piece.bits, piece.age) * (GIB if stock.kind.size_unit == "bytes" else 1),
    "network_id": lambda _, piece: build_uuid(piece.bits >> 50, 2),
    "port_id": build_sortable_uuid,
    "schedule_id": lambda _, piece: build_uuid(piece.bits >> 54, 3),
    "size_unit": lambda stock, _: stock.kind.size_unit,
    "source_volume_uuid": lambda _, piece: build_uuid(piece.bits, 4),
    "subnet_id": lambda _, piece: build_uuid(piece.bits >> 48, 6),
    "vm_id": lambda _, piece: build_uuid(piece.bits, 7),
}


def build_row(stock: Stock, piece: Piece) -> dict[str, Any]:
    """Return a record without what is measured: its value, and when it was first and last seen."""
    kind, bits = stock.kind, piece.bits
    region = pick_region(bits)
    row: dict[str, Any] = {
        "type": kind.type,
        "billing_metric_name": stock.metrics[piece.choice],
        "billing_value_unit": kind.unit,
        "project_id": pick_project(bits),
        "region": region,
        "region_id": region,
    }
    if kind.uuid:
        row["uuid"] = None if piece.slot < stock.nameless else build_sortable_uuid(stock, piece)
    if kind.last_name:
        row["last_name"] = build_name(stock, piece)
    if kind.variant_field:
        row[kind.variant_field] = kind.choices[piece.choice]
    for field in kind.own:
        row[field] = OWN_FIELDS[field](stock, piece)
    if kind.tags and (bits >> 53) & 15 != 1:
        row["tags"] = build_tags(bits)
    return row
