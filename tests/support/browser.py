"""Pages in a real Chromium: signed in as someone, watched for faults, judged by axe, pictured.

A module of page tests imports the fixtures that it uses: `from tests.support.browser import as_person, running`.
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

chromium.needed()

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")
JUDGE = Path(__file__).with_name("judge.js").read_text()
CONTRAST = "color-contrast"
# A rule that is off unless it is asked for by name.
ALSO = {"target-size": {"enabled": True}}
# What depends on the scheme of colours, and on the size of the screen as well.
COLOUR_RULES = (CONTRAST, "link-in-text-block")
SIZE_RULES = (*COLOUR_RULES, "target-size", "scrollable-region-focusable")

SIZES = ((1440, "light"), (360, "dark"))
# Ends once the page is drawn in its new size and colours, which change over a moment.
DRAWN = """
new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))
    .then(() => Promise.allSettled(document.getAnimations().map(animation => animation.finished)))
"""

AsPerson = Callable[..., Page]


@dataclass(slots=True)
class Watched:
    """What went wrong on a page, and what of it was expected."""

    faults: list[str]
    allowed: list[str] = field(default_factory=list)

    def unexpected(self) -> list[str]:
        """Return the faults that nobody expected."""
        return [fault for fault in self.faults if not any(text in fault for text in self.allowed)]


watched: "WeakKeyDictionary[Page, Watched]" = WeakKeyDictionary()
# The colours that each page was asked for last by `look`.
schemes: "WeakKeyDictionary[Page, str]" = WeakKeyDictionary()
# The kinds of text that had enough contrast when they were judged, on whichever page.
passed_kinds: set[int] = set()


@pytest.fixture(scope="module")
def running(session_browser: tuple[Browser, AbstractEventLoop]) -> Iterator[Browser]:
    """Give a module the Chromium of the session."""
    browser, loop = session_browser
    with pytest.MonkeyPatch.context() as patched, chromium.set_running_loop(loop):
        # Playwright's own event loop runs in this thread, so Django takes every query for one in async code.
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield browser


@pytest.fixture
def as_person(running: Browser, live_server: Any) -> Iterator[AsPerson]:
    """Open a page for someone new of a role: 'admin' is a superuser.

    Further arguments go to `tests.support.users.create_person`; `width` and `scheme` say how the page is looked at. A console
    error, a violation of the content security policy and a failed request fail the test at its end.
    """
    contexts: list[BrowserContext] = []
    pages: list[Page] = []

    def opened(role: str, *, width: int = 1440, scheme: Any = "light", **limits: Any) -> Page:
        context = running.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",  # colours are judged at rest, not halfway from one to another
            accept_downloads=True,
        )
        contexts.append(context)
        sign_in(context, live_server.url, create_person(role, last_login=timezone.now(), **limits))
        page = context.new_page()
        watched[page] = Watched(chromium.watch(page))
        pages.append(page)
        return page

    yield opened
    faults = [fault for page in pages for fault in watched[page].unexpected()]
    for context in contexts:
        context.close()
    assert faults == [], "\n".join(faults)


def sign_in(context: BrowserContext, address: str, user: User) -> None:
    """Sign a person in by the cookie of a session."""
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": create_session(user), "url": address}])


def look(page: Page, width: int, scheme: Any) -> None:
    """Look at the page that is open on a screen of another width, in the colours of a scheme."""
    # Either lays out and draws the page, even where nothing changes.
    if schemes.get(page) != scheme:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        schemes[page] = scheme
    size: ViewportSize = {"width": width, "height": 900}
    if page.viewport_size != size:
        page.set_viewport_size(size)
    page.evaluate(DRAWN)


def allow(page: Page, text: str) -> None:
    """Expect a fault that holds `text` on this page."""
    watched[page].allowed.append(text)


def accessible(page: Page, rules: Collection[str] = ()) -> None:
    """Fail with every violation of WCAG 2.0 to 2.2, A and AA, that axe finds on the page as it stands.

    With `rules` it looks for violations of these alone, which takes a fraction of the time.
    """
    has_contrast = not rules or CONTRAST in rules
    chosen = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {"runOnly": list(WCAG), "rules": ALSO}
    # What passes comes back too otherwise, and takes longer to bring here than all else.
    common = {"resultTypes": ["violations", "incomplete"], "elementRef": has_contrast, "preload": False}
    asked = {"options": common | chosen, "contrast": has_contrast, "passed": list(passed_kinds)}
    found = page.evaluate(JUDGE, asked)
    if found is None:
        page.evaluate(AXE_SCRIPT)
        found = page.evaluate(JUDGE, asked)
    passed_kinds.update(found["passed"])
    violations = [in_words(violation) for violation in found["violations"]]
    assert violations == [], f"{page.url}\n" + "\n".join(violations)


def measure_overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def judge(page: Page, name: str, sizes: Sequence[tuple[int, str]] = SIZES) -> None:
    """Judge the page that is open by axe and by its width, on a large screen and on a telephone in the dark.

    It stays as it was looked at last, so that a test goes on with one and with the other in turn.
    """
    is_narrow = page.evaluate("innerWidth") < 768
    for width, scheme in reversed(sizes) if is_narrow else sizes:
        look(page, width, scheme)
        accessible(page)
        assert measure_overflow(page) <= 0, (name, width)
        picture(page, f"{name}-{width}")


def in_words(violation: dict[str, Any]) -> str:
    """Return what a violation is and where, a line each."""
    places = [f"  {node['target']}: {node['html'][:160]} {why(node)}" for node in violation["nodes"][:8]]
    return "\n".join([f"{violation['id']}: {violation['help']} ({len(violation['nodes'])})", *places])


def why(node: dict[str, Any]) -> str:
    """Return what axe says of one element."""
    return "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))


def picture(page: Page, name: str) -> None:
    """Keep a picture of the whole page under tests/artifacts/, where PICTURES is set: it takes up to a second."""
    if os.environ.get("PICTURES"):
        take_picture(page, name)


def take_picture(page: Page, name: str) -> None:
    """Keep a picture of the whole page under tests/artifacts/."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)
