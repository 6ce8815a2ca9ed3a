"""The documentation is true of the repository: what it names is there."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands

from portal.environment import BASE_DIR
from sync.engine.guard import FINAL_SHARE, GUARDED_RECORDS, GUARDED_SHARE
from sync.vendors.gcore.schema import NOT_TOTALLED, OWN_FIELDS
from usage.models import KINDS, DayState

PAGES = [BASE_DIR / "README.md", BASE_DIR / "CONTRIBUTING.md", *sorted((BASE_DIR / "docs").rglob("*.md"))]
PRODUCT = ("portal", "usage", "sync", "templates", "static/portal", "static/admin")
PRODUCT_FILES = ("Makefile", "manage.py", "pyproject.toml", ".env.example")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITED = re.compile(r"[\w./-]+\.md\b")
CITED_BY_TESTS = re.compile(r"\bdocs/[\w./-]+\.md\b")
SOURCE_FILE = re.compile(r"\b(?:portal|usage|sync|tests|templates|static|docs)/[\w/.-]+\.(?:py|html|md)\b")
COMMAND = re.compile(r"(?:`|^|python )manage\.py ([a-z_]+)", re.MULTILINE)
TARGET = re.compile(r"(?:`|^)(?:[A-Z]+=\S+ )*make ([a-z-]+)", re.MULTILINE)
MODULE = re.compile(r"python -m ([\w.]+)")
# Pages that tell of code; others also name what is the vendors' or a program's.
PAGES_OF_CODE = ("architecture", "glossary", "adding-a-vendor", "adding-a-field", "adding-an-export-format")
NAME_OF_CODE = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`")
SETTING = re.compile(r"\bPORTAL_[A-Z_]*[A-Z]\b")


def name_page(page: Path) -> str:
    return str(page.relative_to(BASE_DIR))


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "")).lower().replace(" ", "-") for heading in headings}


def find_broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        led_to = (page.parent / path).resolve() if path else page
        is_found = led_to.exists() and led_to.is_relative_to(BASE_DIR)
        if not is_found or (anchor and anchor not in list_anchors(led_to)):
            yield target


def list_code_files() -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Yield every file of code with the pattern of what it may cite; tests also name files that they write."""
    for folder in PRODUCT:
        for path in (BASE_DIR / folder).rglob("*"):
            if path.suffix in {".py", ".html", ".js", ".css", ".txt"}:
                yield path, CITED
    yield from ((BASE_DIR / name, CITED) for name in PRODUCT_FILES)
    yield from ((path, CITED_BY_TESTS) for path in (BASE_DIR / "tests").rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    assert list(find_broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_command_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (BASE_DIR / "Makefile").read_text(), re.MULTILINE))
    assert set(COMMAND.findall(text)) <= get_commands().keys()
    assert set(TARGET.findall(text)) <= targets
    assert [name for name in MODULE.findall(text) if find_spec(name) is None] == []


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_every_file_and_setting_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    settings = {name for path in (BASE_DIR / "portal").glob("*.py") for name in SETTING.findall(path.read_text())}
    assert [path for path in SOURCE_FILE.findall(text) if not (BASE_DIR / path).exists()] == []
    # Variables of vendors' credentials begin so, and anybody may name theirs.
    assert {name for name in SETTING.findall(text) if not name.startswith("PORTAL_VENDOR_")} <= settings


@pytest.mark.parametrize("page", PAGES_OF_CODE)
def test_every_name_of_code_exists(page: str) -> None:
    code = " ".join(path.read_text() for path, cited in list_code_files() if cited is CITED)
    words = set(re.findall(r"\w+", code)) | get_commands().keys()
    names = NAME_OF_CODE.findall(FENCE.sub("", (BASE_DIR / "docs" / f"{page}.md").read_text()))
    assert names
    assert {name for name in names if name.rpartition(".")[2] not in words} == set()


def test_code_cites_only_documents_that_are_in_the_repository() -> None:
    missing = [
        f"{name_page(path)}: {cited}"
        for path, pattern in list_code_files()
        for cited in pattern.findall(path.read_text())
        if not (BASE_DIR / cited).exists() and not (path.parent / cited).exists()
    ]
    assert missing == []


def test_the_readme_is_short() -> None:
    assert len((BASE_DIR / "README.md").read_text().splitlines()) <= 150


def test_every_page_is_in_the_index() -> None:
    index = BASE_DIR / "docs/index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(index.read_text())}
    assert set(PAGES) - {index} <= linked


def test_the_table_of_resource_types_is_that_of_the_reader() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", (BASE_DIR / "docs/vendors/gcore.md").read_text(), re.MULTILINE)
    table = {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows if name in OWN_FIELDS}
    fields = {
        name: frozenset(re.findall(r"\b[a-z]+_?[a-z_]+\b", strip_notes(cells[4]))) for name, cells in table.items()
    }
    assert fields == OWN_FIELDS
    assert {name for name, cells in table.items() if cells[5] == "(no totals)"} == NOT_TOTALLED


def test_the_guards_rules_have_the_figures_of_the_code() -> None:
    page = (BASE_DIR / "docs/architecture.md").read_text()
    rules = dict(re.findall(r"^\| (shrink|forgotten|blank) \| (.+?) \|", page, re.MULTILINE))
    assert (GUARDED_SHARE, FINAL_SHARE) == (0.5, 0.01)
    assert f"more than {GUARDED_RECORDS} records and more than half" in rules["shrink"]
    assert f"more than {GUARDED_RECORDS} records, or more than a hundredth" in rules["forgotten"]
    assert f"more than {GUARDED_RECORDS} records" in rules["blank"]
    assert {name for kind in KINDS.values() for name in kind.guarded} == set(re.findall(r"`(\w+)`", rules["blank"]))


def test_every_state_of_a_day_is_explained() -> None:
    page = (BASE_DIR / "docs/architecture.md").read_text()
    states = page.split("## States")[1].split("\n\n")[1]
    assert re.findall(r"^\| `(\w+)` \|", states, re.MULTILINE) == list(DayState.values)


def strip_notes(cell: str) -> str:
    return re.sub(r"\(.*?\)", "", cell)
