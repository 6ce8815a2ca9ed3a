"""The formats of an export: each is a file of this folder."""

import pkgutil
from importlib import import_module
from typing import Final

from usage.exports.formats.base import ExportFormat


def find_formats() -> dict[str, ExportFormat]:
    """Return an instance of the class `Format` of every file in this folder, by its name, in the order of menus."""
    modules = (module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")
    formats = [import_module(f"{__name__}.{name}").Format() for name in modules]
    ordered = sorted(formats, key=lambda export_format: int(export_format.position))
    return {export_format.name: export_format for export_format in ordered}


FORMATS: Final = find_formats()

__all__ = ["FORMATS", "ExportFormat"]
