"""The vendors, one folder each; docs/adding-a-vendor.md says how to add a vendor."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from sync.vendors.base import VendorMirror, VendorReader


@cache
def readers() -> dict[str, type[VendorReader]]:
    """Return every vendor's reader class by the vendor's name, which is its folder's name."""
    return {name: import_module(f"{__name__}.{name}.reader").Reader for name in list_vendors()}


@cache
def mirrors() -> dict[str, type[VendorMirror]]:
    """Return the mirror classes of the vendors that have a mirror, by the vendor's name."""
    names = [name for name in list_vendors() if find_spec(f"{__name__}.{name}.mirror")]
    return {name: import_module(f"{__name__}.{name}.mirror").Mirror for name in names}


def get_title(vendor: str) -> str:
    """Return the vendor's own name; of a vendor without a reader, the name of its folder."""
    reader = readers().get(vendor)
    return reader.title if reader else vendor


def list_vendors() -> list[str]:
    """Return the vendors' names."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
