"""`python -m tests.support.layout`: imports run one way, and no product file is longer than 400 lines.

`portal` may import `sync` and `usage`, `sync` may import `usage`, and `usage` neither of them nor a vendor's library.
Two parts of one of these (a folder, or a module beside it) never import each other.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "portal": set(),
    "sync": {"portal"},
    "usage": {"portal", "sync", "celery", "httpx2", "httpcore2", "requests", "gcore", "gitpod"},
}
LONGEST_FILE = 400
EXEMPT = {
    # The server of the stand-ins serves those of every vendor, and each is built on what the server has.
    "sync/sandbox and sync/vendors import each other",
}


def list_modules(top: str) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of every module of a top package."""
    for path in sorted((ROOT / top).rglob("*.py")):
        if "migrations" not in path.parts:
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def list_imports(path: Path) -> Iterator[str]:
    """Yield all imports of a file as dotted names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_faults(top: str) -> Iterator[tuple[str, str]]:
    """Yield every import and every file of a top package that breaks a rule, each with an example."""
    arrows: dict[tuple[str, str], str] = {}
    for module, path in list_modules(top):
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE:
            yield f"{module} is longer than {LONGEST_FILE} lines", f"{lines} lines"
        for target in list_imports(path):
            package, part = (*target.split("."), "")[:2]
            if package in FORBIDDEN[top]:
                yield f"{module} imports {package}", target
            if package == top and "." in module and part != (own := module.split(".")[1]):
                arrows.setdefault((own, part), f"{module} imports {target}")
    for (own, part), arrow in arrows.items():
        if own < part and (part, own) in arrows:
            yield f"{top}/{own} and {top}/{part} import each other", f"{arrow}, {arrows[part, own]}"


def main() -> int:
    """Print every fault that is not exempt, and every exemption that nothing needs; returns 1 for any."""
    faults = {fault: example for top in FORBIDDEN for fault, example in find_faults(top)}
    for fault in sorted(faults.keys() - EXEMPT):
        print(f"{fault}: {faults[fault]}")
    for fault in sorted(EXEMPT - faults.keys()):
        print(f"no longer so, delete it from EXEMPT: {fault}")
    return int(faults.keys() != EXEMPT)


if __name__ == "__main__":
    sys.exit(main())
