"""The vendors: one folder each, found by looking; a new folder is all it takes to add one."""

import pkgutil
from functools import cache
from importlib import import_module

from sync.vendors.base import VendorReader


@cache
def readers() -> dict[str, type[VendorReader]]:
    """Return every vendor's reader class by the vendor's name, which is its folder's name."""
    folders = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.ispkg)
    return {name: import_module(f"{__name__}.{name}.reader").Reader for name in folders}
