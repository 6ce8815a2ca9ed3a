"""Pages in a real Chromium: signed in as someone, watched for faults, judged by axe, pictured.

A module of page tests imports the fixtures that it uses: `from tests.support.browser import as_person, running`.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from tests.support import chromium
from tests.support.users import person

chromium.needed()

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")
# Rules that axe leaves off unless they are asked for by name.
ALSO = {"target-size": {"enabled": True}}
# What depends on the scheme of colours.
COLOUR_RULES = ("color-contrast", "link-in-text-block")

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


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    """One Chromium for a module."""
    # Playwright's own event loop runs in this thread, so Django would take every query for one in async code.
    with pytest.MonkeyPatch.context() as patched, chromium.browser() as browser:
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield browser


@pytest.fixture
def as_person(running: Browser, live_server: Any) -> Iterator[AsPerson]:
    """Open a page for someone new of a role: 'admin' is a superuser.

    Further arguments go to `tests.support.users.person`; `width` and `scheme` say how the page is looked at. A console
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
        sign_in(context, live_server.url, person(role, **limits))
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
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": address}])


def allow(page: Page, text: str) -> None:
    """Expect a fault that holds `text` on this page."""
    watched[page].allowed.append(text)


def accessible(page: Page, rules: Collection[str] = ()) -> None:
    """Fail with every violation of WCAG 2.0 to 2.2, A and AA, that axe finds on the page as it stands.

    With `rules` it looks for violations of these alone, which takes a fraction of the time.
    """
    chosen = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {"runOnly": list(WCAG), "rules": ALSO}
    found = Axe().run(page, options={**chosen, "resultTypes": ["violations"], "preload": False})
    violations = [in_words(violation) for violation in found.response["violations"]]
    assert violations == [], f"{page.url}\n" + "\n".join(violations)


def in_words(violation: dict[str, Any]) -> str:
    """Return what a violation is and where, a line each."""
    places = [f"  {node['target']}: {node['html'][:160]} {why(node)}" for node in violation["nodes"][:8]]
    return "\n".join([f"{violation['id']}: {violation['help']} ({len(violation['nodes'])})", *places])


def why(node: dict[str, Any]) -> str:
    """Return what axe says of one element."""
    return "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))


def picture(page: Page, name: str) -> Path:
    """Keep a picture of the whole page under tests/artifacts/ and return where it is."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
