"""The made-up vendor of docs/adding-a-vendor.md, as a folder beside the real ones."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sync.vendors
from portal.environment import BASE_DIR

NAME = "acme"
PAGE = BASE_DIR / "docs" / "adding-a-vendor.md"
CODE = re.compile(rf"^`{NAME}/(?P<file>\w+\.py)`\n\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@contextmanager
def install_vendor(folder: Path) -> Iterator[None]:
    """Write the vendor's files into a new folder and let the portal find them until the context ends."""
    package = folder / NAME
    package.mkdir()
    (package / "__init__.py").touch()
    for match in CODE.finditer(PAGE.read_text()):
        (package / match["file"]).write_text(match["code"])
    path = list(sync.vendors.__path__)
    sync.vendors.__path__ = [*path, str(folder)]
    clear_caches()
    try:
        yield
    finally:
        sync.vendors.__path__ = path
        clear_caches()
        for name in [name for name in sys.modules if name.startswith(f"sync.vendors.{NAME}")]:
            del sys.modules[name]
        vars(sync.vendors).pop(NAME, None)


def clear_caches() -> None:
    """Clear the caches of the vendors."""
    sync.vendors.readers.cache_clear()
    sync.vendors.mirrors.cache_clear()
