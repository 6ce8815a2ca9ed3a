"""How the Gcore stand-in writes a record: the common fields, and exactly the own fields of its type."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sync.sandbox.bits import mix
from sync.vendors.gcore.sandbox.kinds import PROJECTS, REGIONS, ROLES, STAGES, TEAMS
from sync.vendors.gcore.sandbox.stock import Piece, Stock, size_of

GIB = 2**30
RENAMED = 10  # days after which a resource that is renamed gets its second name


def value_of(scaled: int, digits: int) -> Decimal:
    """Return `scaled / 10**digits`, exactly: no arithmetic context ever rounds it."""
    if not digits:
        return Decimal(scaled)
    whole, part = divmod(scaled, 10**digits)
    return Decimal(f"{whole}.{part:0{digits}d}")


def ident(bits: int, salt: int) -> str:
    """Return a random-looking version 4 UUID."""
    head, tail = mix(bits + salt), mix(bits - salt - 1)
    middle = f"{head & 0xFFFF:04x}-4{tail >> 52:03x}-a{head >> 16 & 0xFFF:03x}"
    return f"{head >> 32:08x}-{middle}-{tail & 0xFFFFFFFFFFFF:012x}"


def placed_ident(stock: Stock, piece: Piece) -> str:
    """Return a UUID that sorts by the resource's slot."""
    place = piece.slot * stock.spread + piece.bits % stock.spread
    return f"{place:08x}{ident(piece.bits, 1)[8:]}"


def name_of(stock: Stock, piece: Piece) -> str:
    """Return the name of a resource at its age: one in eight is renamed. Without a uuid it is the id."""
    bits = piece.bits
    if piece.slot < stock.nameless:
        return f"audit-{piece.slot:07d}-{bits >> 52:03x}"
    name = f"{ROLES[(bits >> 36) % len(ROLES)]}-{STAGES[(bits >> 41) % len(STAGES)]}-{(bits >> 44) % 90 + 10}"
    return f"{name}-v2" if (bits >> 57) & 7 == 0 and piece.age >= RENAMED else name


def region_of(bits: int) -> int:
    """Return the region a resource is in."""
    return REGIONS[(bits >> 9) & 7]


def project_of(bits: int) -> int:
    """Return the project a resource belongs to."""
    return PROJECTS[(bits >> 6) & 7]


def tags_of(bits: int) -> list[dict[str, str]]:
    """Return the tags: a list of one-key objects in which a key can come twice."""
    sort = (bits >> 53) & 15
    if sort < 2:
        return []
    tags = [{"team": TEAMS[(bits >> 27) % len(TEAMS)]}, {"env": STAGES[(bits >> 41) % len(STAGES)]}]
    if sort < 5:
        tags.append({"team": TEAMS[(bits >> 30) % len(TEAMS)]})
    if sort > 11:
        tags.append({"os_version": f"{20 + 2 * (bits & 1)}.04"})
    return tags


def vm_or_none(bits: int) -> str | None:
    """Return the id of the machine a disk or an address is attached to, if any."""
    return ident(bits, 5) if (bits >> 60) & 3 else None


def address(bits: int) -> str:
    """Return an address of the ranges kept for documentation (RFC 5737, RFC 3849)."""
    if (bits >> 50) & 15 == 0:
        return f"2001:db8:{bits & 0xFFFF:x}::{bits >> 48:x}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[bits % 3]}.{(bits >> 16) % 254 + 1}"


OWN: dict[str, Callable[[Stock, Piece], Any]] = {
    "attached_to_vm": lambda _, piece: vm_or_none(piece.bits),
    "instance_name": lambda stock, piece: name_of(stock, piece) if piece.bits & 7 else None,
    "ip_address": lambda _, piece: address(piece.bits),
    "last_size": lambda stock, piece: size_of(piece.bits, piece.age) * (GIB if stock.kind.size_unit == "bytes" else 1),
    "network_id": lambda _, piece: ident(piece.bits >> 50, 2),
    "port_id": placed_ident,
    "schedule_id": lambda _, piece: ident(piece.bits >> 54, 3),
    "size_unit": lambda stock, _: stock.kind.size_unit,
    "source_volume_uuid": lambda _, piece: ident(piece.bits, 4),
    "subnet_id": lambda _, piece: ident(piece.bits >> 48, 6),
    "vm_id": lambda _, piece: ident(piece.bits, 7),
}


def described(stock: Stock, piece: Piece) -> dict[str, Any]:
    """Return a record without what is measured: its value, and when it was first and last seen."""
    kind, bits = stock.kind, piece.bits
    region = region_of(bits)
    row: dict[str, Any] = {
        "type": kind.type,
        "billing_metric_name": stock.metrics[piece.choice],
        "billing_value_unit": kind.unit,
        "project_id": project_of(bits),
        "region": region,
        "region_id": region,
    }
    if kind.uuid:
        row["uuid"] = None if piece.slot < stock.nameless else placed_ident(stock, piece)
    if kind.last_name:
        row["last_name"] = name_of(stock, piece)
    if kind.chosen:
        row[kind.chosen] = kind.choices[piece.choice]
    for field in kind.own:
        row[field] = OWN[field](stock, piece)
    if kind.tags and (bits >> 53) & 15 != 1:
        row["tags"] = tags_of(bits)
    return row
