"""The formats of an export: one file each, found by looking."""

import pkgutil
from importlib import import_module
from typing import Final

from usage.exports.formats.base import ExportFormat


def find_formats() -> dict[str, ExportFormat]:
    """Return an instance of the class `Format` of every file in this folder, by its name, in the order of menus."""
    modules = (found.name for found in pkgutil.iter_modules(__path__) if found.name != "base")
    formats = [import_module(f"{__name__}.{name}").Format() for name in modules]
    return {one.name: one for one in sorted(formats, key=lambda one: int(one.position))}


FORMATS: Final = find_formats()

__all__ = ["FORMATS", "ExportFormat"]
