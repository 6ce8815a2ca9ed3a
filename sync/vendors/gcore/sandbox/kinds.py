"""The resource types of the Gcore stand-in: the table of docs/vendors/gcore.md, apart from the reader's."""

from dataclasses import dataclass
from typing import Literal

FLAVORS = ("g2-standard-2-4", "g2-standard-4-8", "g2-standard-8-16", "g2-memory-4-32", "g3-standard-16-64")
VOLUME_TYPES = ("standard", "ssd_hiiops", "ssd_lowlatency", "cold", "ultra")
NAME_FILTERS = ("last_name", "type", "uuid")
FLAVOR_FILTERS = ("flavor", "last_name", "type", "uuid")


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """One resource type.

    `weight`: its share of the records, in thousandths. `meter`: how a day's value comes about, which is the
    `minutes` it ran, its `size` in GiB times those minutes, or up to `rate` units in `digits` decimals. `own`:
    fields only this type has. `choices`: the values of its `variant_field` (flavor, volume type, …). `split`:
    whether metrics and totals differ by that field too.
    """

    type: str
    weight: int
    unit: str
    filters: tuple[str, ...]
    meter: Literal["minutes", "size", "rate"] = "minutes"
    rate: int = 0
    digits: int = 6
    own: tuple[str, ...] = ()
    variant_field: str = ""
    choices: tuple[str, ...] = ("",)
    split: bool = True
    uuid: bool = True
    last_name: bool = True
    tags: bool = False
    size_unit: str = "GiB"
    totals: bool = True

    @property
    def changes(self) -> bool:
        """Whether a resource of this type can change its flavor while it lives."""
        return self.variant_field == "flavor"

    def build_metric(self, choice: int) -> str:
        """Return the billing metric's name for one of the choices."""
        return f"{self.type}_{self.choices[choice]}" if self.split and self.variant_field else self.type


def build_machine(kind: str, weight: int, *choices: str) -> ResourceKind:
    """Return a type that is billed by the minute and by flavor."""
    return ResourceKind(
        kind, weight, "minutes", FLAVOR_FILTERS, variant_field="flavor", choices=choices or FLAVORS, tags=True
    )


RESOURCE_KINDS: tuple[ResourceKind, ...] = (
    build_machine(
        "ai_cluster", 8, "bm3-ai-1xlarge-h100-80-8", "bm3-ai-1xlarge-a100-80-8", "bm3-ai-ndp-large-l40s-48-8"
    ),
    build_machine("ai_virtual_cluster", 9, "g3-ai-32-192-1500-l40s-48-1", "g3-ai-64-384-3000-l40s-48-2"),
    ResourceKind(
        "backup",
        50,
        "gbminutes",
        ("last_name", "last_size", "schedule_id", "source_volume_uuid", "type", "uuid"),
        "size",
        own=("last_size", "schedule_id", "source_volume_uuid"),
        size_unit="bytes",
        totals=False,
    ),
    build_machine("baremetal", 14, "bm1-infrastructure-small", "bm2-hf-medium", "bm1-basic-large"),
    build_machine("basic_vm", 40, "g0-basic-1-1", "g0-basic-1-2", "g0-basic-2-4"),
    ResourceKind("containers", 34, "GBS", NAME_FILTERS, "rate", 90_000),
    ResourceKind("dbaas_postgresql_connection_pooler", 9, "minutes", NAME_FILTERS),
    ResourceKind("dbaas_postgresql_cpu", 14, "minutes", NAME_FILTERS),
    ResourceKind("dbaas_postgresql_memory", 14, "gbminutes", NAME_FILTERS, "size"),
    ResourceKind("dbaas_postgresql_public_network", 9, "minutes", NAME_FILTERS),
    ResourceKind(
        "dbaas_postgresql_volume",
        14,
        "gbminutes",
        (*NAME_FILTERS, "volume_type"),
        "size",
        own=("size_unit",),
        variant_field="volume_type",
        choices=VOLUME_TYPES[:2],
    ),
    ResourceKind(
        "egress_traffic",
        80,
        "bytes",
        ("instance_name", "instance_type", "port_id", "type", "vm_id"),
        "rate",
        40_000_000_000,
        0,
        own=("instance_name", "port_id", "size_unit", "vm_id"),
        variant_field="instance_type",
        choices=("vm", "baremetal", "router"),
        uuid=False,
        last_name=False,
        tags=True,
        size_unit="bytes",
    ),
    ResourceKind(
        "external_ip",
        50,
        "minutes",
        ("attached_to_vm", "ip_address", "network_id", "port_id", "subnet_id", "type"),
        own=("attached_to_vm", "ip_address", "network_id", "port_id", "subnet_id"),
        uuid=False,
        last_name=False,
    ),
    ResourceKind(
        "file_share",
        14,
        "gbminutes",
        ("file_share_type", "last_name", "last_size", "type", "uuid"),
        "size",
        own=("last_size", "size_unit"),
        variant_field="file_share_type",
        choices=("default_share_type", "vast_share_type"),
        tags=True,
    ),
    ResourceKind(
        "floatingip",
        40,
        "minutes",
        ("ip_address", "last_name", "type", "uuid"),
        own=("ip_address",),
        tags=True,
    ),
    ResourceKind("functions", 24, "GBS", NAME_FILTERS, "rate", 4_000),
    ResourceKind("functions_calls", 24, "MLS", NAME_FILTERS, "rate", 3),
    ResourceKind("functions_traffic", 24, "GB", NAME_FILTERS, "rate", 60),
    ResourceKind(
        "image",
        20,
        "gbminutes",
        ("last_name", "last_size", "type", "uuid"),
        "size",
        own=("last_size", "size_unit"),
        tags=True,
        size_unit="bytes",
    ),
    ResourceKind(
        "inference",
        16,
        "GPU minutes",
        FLAVOR_FILTERS,
        "rate",
        2_880,
        variant_field="flavor",
        choices=("inference-16vcpu-232gib-1xh100-80gb", "inference-16vcpu-232gib-1xl40s"),
        split=False,
    ),
    ResourceKind(
        "inference_public_models",
        6,
        "tokens",
        (),
        "rate",
        5_000_000,
        0,
        variant_field="model",
        choices=("qwen3-30b",),
    ),
    build_machine("instance", 200),
    build_machine("load_balancer", 20, "lb1-1-2", "lb1-2-4", "lb1-4-8"),
    ResourceKind(
        "log_index",
        12,
        "gbminutes",
        ("last_name", "last_size", "type", "uuid"),
        "size",
        own=("last_size", "size_unit"),
    ),
    ResourceKind(
        "snapshot",
        34,
        "gbminutes",
        ("last_name", "last_size", "source_volume_uuid", "type", "uuid", "volume_type"),
        "size",
        own=("last_size", "size_unit", "source_volume_uuid"),
        variant_field="volume_type",
        choices=VOLUME_TYPES,
        tags=True,
    ),
    ResourceKind(
        "volume",
        221,
        "gbminutes",
        ("attached_to_vm", "last_name", "last_size", "type", "uuid", "volume_type"),
        "size",
        own=("attached_to_vm", "last_size", "size_unit"),
        variant_field="volume_type",
        choices=VOLUME_TYPES,
        tags=True,
    ),
)
FILLER = next(index for index, kind in enumerate(RESOURCE_KINDS) if kind.type == "instance")

PROJECTS = (4101, 4102, 4102, 4177, 5003, 5003, 5003, 51208)
REGIONS = (76, 76, 76, 84, 84, 104, 18, 7)
ROLES = (
    "web",
    "api",
    "db-primary",
    "db-replica",
    "cache",
    "queue-worker",
    "büro-vpn",
    "données-archive",
    "搜索-index",
    "çalışma-düğümü",
    "журнал",
    "render 🚀",
    "=billing",
    "ci-runner",
    "grafana",
    "mail, outbound",
)
STAGES = ("prod", "prod", "prod", "staging", "dev")
TEAMS = ("platform", "data", "ml", "web", "finance", "büro-köln")
