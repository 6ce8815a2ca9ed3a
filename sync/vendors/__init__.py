"""The vendors: one folder each, found by looking; a new folder is all it takes to add one."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from sync.vendors.base import VendorReader
from sync.vendors.mirror import VendorMirror


@cache
def readers() -> dict[str, type[VendorReader]]:
    """Return every vendor's reader class by the vendor's name, which is its folder's name."""
    return {name: import_module(f"{__name__}.{name}.reader").Reader for name in folders()}


@cache
def mirrors() -> dict[str, type[VendorMirror]]:
    """Return the mirror class of every vendor that has one, by the vendor's name."""
    having = [name for name in folders() if find_spec(f"{__name__}.{name}.mirror")]
    return {name: import_module(f"{__name__}.{name}.mirror").Mirror for name in having}


def folders() -> list[str]:
    """Return the vendors' names."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if found.ispkg)
