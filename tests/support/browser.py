"""Pages in a real Chromium: signed in as a person, watched for faults, checked by axe, photographed.

A module of page tests imports the fixtures that it uses: `from tests.support.browser import as_person, browser`.
"""

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from tests.support import chromium
from tests.support.users import create_person, create_session

chromium.require_chromium()

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")
CHECK_SCRIPT = Path(__file__).with_name("check_page.js").read_text()
CONTRAST = "color-contrast"
# A rule that is off unless it is enabled by name.
ALSO = {"target-size": {"enabled": True}}
# What depends on the scheme of colours, and on the size of the screen as well.
COLOUR_RULES = (CONTRAST, "link-in-text-block")
SIZE_RULES = (*COLOUR_RULES, "target-size", "scrollable-region-focusable")

SIZES = ((1440, "light"), (360, "dark"))
# Resolves once the page is drawn in its new size and colours, which change in an animation.
DRAWN = """
new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))
    .then(() => Promise.allSettled(document.getAnimations().map(animation => animation.finished)))
"""

AsPerson = Callable[..., Page]


@dataclass(slots=True)
class PageFaults:
    """The faults of a page, and texts of the expected ones."""

    faults: list[str]
    allowed: list[str] = field(default_factory=list)

    def unexpected(self) -> list[str]:
        """Return the faults that contain no text of `allowed`."""
        return [fault for fault in self.faults if not any(text in fault for text in self.allowed)]


faults_by_page: "WeakKeyDictionary[Page, PageFaults]" = WeakKeyDictionary()
# The colour scheme that `set_screen` set last on each page.
schemes: "WeakKeyDictionary[Page, str]" = WeakKeyDictionary()
# The kinds of text whose contrast passed, on any page.
passed_kinds: set[int] = set()


@pytest.fixture(scope="module")
def browser(session_browser: tuple[Browser, AbstractEventLoop]) -> Iterator[Browser]:
    """Yield the Chromium of the session for a module."""
    browser, loop = session_browser
    with pytest.MonkeyPatch.context() as patched, chromium.set_running_loop(loop):
        # Playwright's own event loop runs in this thread, so Django takes every query for one in async code.
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield browser


@pytest.fixture
def as_person(browser: Browser, live_server: Any) -> Iterator[AsPerson]:
    """Open a page as a new person of a role: 'admin' is a superuser.

    Further arguments go to `tests.support.users.create_person`; `width` and `scheme` are those of the screen. A console
    error, a violation of the content security policy and a failed request fail the test at its end.
    """
    contexts: list[BrowserContext] = []
    pages: list[Page] = []

    def open_page(role: str, *, width: int = 1440, scheme: Any = "light", **limits: Any) -> Page:
        context = browser.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",  # colours are judged at rest, not halfway from one to another
            accept_downloads=True,
        )
        contexts.append(context)
        sign_in(context, live_server.url, create_person(role, last_login=timezone.now(), **limits))
        page = context.new_page()
        faults_by_page[page] = PageFaults(chromium.watch(page))
        pages.append(page)
        return page

    yield open_page
    faults = [fault for page in pages for fault in faults_by_page[page].unexpected()]
    for context in contexts:
        context.close()
    assert faults == [], "\n".join(faults)


def sign_in(context: BrowserContext, address: str, user: User) -> None:
    """Sign a person in by the cookie of a session."""
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": create_session(user), "url": address}])


def set_screen(page: Page, width: int, scheme: Any) -> None:
    """Set the width and the colour scheme of the screen that shows the page."""
    # Either lays out and draws the page, even where nothing changes.
    if schemes.get(page) != scheme:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        schemes[page] = scheme
    size: ViewportSize = {"width": width, "height": 900}
    if page.viewport_size != size:
        page.set_viewport_size(size)
    page.evaluate(DRAWN)


def allow(page: Page, text: str) -> None:
    """Expect a fault that contains `text` on this page."""
    faults_by_page[page].allowed.append(text)


def check_accessible(page: Page, rules: Collection[str] = ()) -> None:
    """Fail with every violation of WCAG 2.0 to 2.2, A and AA, that axe finds on the page in its present state.

    With `rules` it checks these alone, which takes a fraction of the time.
    """
    has_contrast = not rules or CONTRAST in rules
    selection = (
        {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {"runOnly": list(WCAG), "rules": ALSO}
    )
    # What passes comes back too otherwise, and takes longer to bring here than all else.
    common = {"resultTypes": ["violations", "incomplete"], "elementRef": has_contrast, "preload": False}
    args = {"options": common | selection, "contrast": has_contrast, "passed": list(passed_kinds)}
    result = page.evaluate(CHECK_SCRIPT, args)
    if result is None:
        page.evaluate(AXE_SCRIPT)
        result = page.evaluate(CHECK_SCRIPT, args)
    passed_kinds.update(result["passed"])
    violations = [format_violation(violation) for violation in result["violations"]]
    assert violations == [], f"{page.url}\n" + "\n".join(violations)


def measure_overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def check_page(page: Page, name: str, sizes: Sequence[tuple[int, str]] = SIZES) -> None:
    """Check the page by axe and by its width, on a large screen and on a telephone in the dark.

    The screen stays the last one checked, so that a test goes on with either in turn.
    """
    is_narrow = page.evaluate("innerWidth") < 768
    for width, scheme in reversed(sizes) if is_narrow else sizes:
        set_screen(page, width, scheme)
        check_accessible(page)
        assert measure_overflow(page) <= 0, (name, width)
        save_screenshot(page, f"{name}-{width}")


def format_violation(violation: dict[str, Any]) -> str:
    """Return a violation and its elements, a line each."""
    places = [f"  {node['target']}: {node['html'][:160]} {format_checks(node)}" for node in violation["nodes"][:8]]
    return "\n".join([f"{violation['id']}: {violation['help']} ({len(violation['nodes'])})", *places])


def format_checks(node: dict[str, Any]) -> str:
    """Return axe's messages about one element."""
    return "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))


def save_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the whole page under tests/artifacts/ where PICTURES is set: it takes up to a second."""
    if os.environ.get("PICTURES"):
        write_screenshot(page, name)


def write_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the whole page under tests/artifacts/."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)
