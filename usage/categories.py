"""Categories of resources: the table of their types (docs/vendors/gcore.md)."""

from typing import Final

OTHER: Final = "other"
CATEGORIES: Final = {
    "compute": (
        "instance",
        "basic_vm",
        "baremetal",
        "containers",
        "functions",
        "functions_calls",
        "dbaas_postgresql_cpu",
        "dbaas_postgresql_memory",
        "dbaas_postgresql_connection_pooler",
    ),
    "storage": ("volume", "snapshot", "backup", "image", "file_share", "dbaas_postgresql_volume", "log_index"),
    "network": (
        "egress_traffic",
        "external_ip",
        "floatingip",
        "load_balancer",
        "functions_traffic",
        "dbaas_postgresql_public_network",
    ),
    "ai": ("ai_cluster", "ai_virtual_cluster", "inference", "inference_public_models"),
}
CATEGORY_NAMES: Final = (*CATEGORIES, OTHER)
KNOWN_TYPES: Final = tuple(name for types in CATEGORIES.values() for name in types)
