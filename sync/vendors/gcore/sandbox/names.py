"""The names of the Gcore stand-in: projects, one of them deleted, and regions."""

from collections.abc import Mapping
from typing import Any, Final

from sync.vendors.gcore.sandbox.kinds import PROJECTS, REGIONS

CREATED: Final = "2024-03-01T08:00:00Z"
MAX_LIMIT: Final = 1000
PROJECT_NAMES: Final = {4101: "Default", 4102: "web-shop", 4177: "data lake", 5003: "ml-training", 51208: "=legacy"}
DELETED: Final = {51208: "2026-06-30T12:00:00Z"}
REGION_NAMES: Final = {
    76: ("Luxembourg-2", "LU"),
    84: ("Frankfurt", "DE"),
    104: ("Singapore", "SG"),
    18: ("Santa Clara", "US"),
    7: ("São Paulo", "BR"),
}


def build_project(project: int) -> dict[str, Any]:
    """Return a project as the vendor sends it."""
    return {
        "id": project,
        "client_id": 8,
        "name": PROJECT_NAMES[project],
        "description": "",
        "state": "DELETED" if project in DELETED else "ACTIVE",
        "is_default": project == PROJECTS[0],
        "created_at": CREATED,
        "deleted_at": DELETED.get(project),
        "task_id": None,
    }


def build_region(region: int) -> dict[str, Any]:
    """Return a region as the vendor sends it."""
    name, country = REGION_NAMES[region]
    features = ("ai", "ai_gpu", "baremetal", "basic_vm", "dbaas", "ddos", "k8s", "kvm", "sfs")
    return {
        "id": region,
        "display_name": name,
        "country": country,
        "access_level": "core",
        "coordinates": None,
        "created_at": CREATED,
        "created_on": CREATED,
        "endpoint_type": "public",
        "external_network_id": None,
        "file_share_types": ["standard"],
        "keystone_id": region,
        "keystone_name": name,
        "metrics_database_id": None,
        "slug": name.lower(),
        "state": "ACTIVE",
        "task_id": None,
        "vlan_physical_network": "vlan",
        "zone": None,
        "ddos_endpoint_id": None,
        **{f"has_{feature}": True for feature in features},
    }


LISTINGS: Final[Mapping[str, list[dict[str, Any]]]] = {
    "/cloud/v1/projects": [build_project(project) for project in sorted(set(PROJECTS))],
    "/cloud/v1/regions": [build_region(region) for region in sorted(set(REGIONS))],
}


def build_names(path: str, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a page of a listing; raises ValueError for a limit or an offset that is not allowed.

    Deleted projects are listed only with `include_deleted`.
    """
    limit, offset = (int(query.get(name, [default])[-1]) for name, default in (("limit", "1000"), ("offset", "0")))
    if not (0 < limit <= MAX_LIMIT and offset >= 0):
        raise ValueError("limit or offset")
    with_deleted = query.get("include_deleted", ["false"])[-1].lower() == "true"
    rows = [row for row in LISTINGS[path] if with_deleted or not row.get("deleted_at")]
    return {"count": len(rows), "results": rows[offset : offset + limit]}
