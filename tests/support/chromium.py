"""Chromium for the page tests: Debian's package, installed where that may be done, missed loudly where not.

`python -m tests.support.chromium` installs it where this machine is Debian's kind and the user is root, and says what
is missing otherwise. Where PORTAL_PAGES is `required`, as in .ci/run, the page tests fail without it.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.support.processes import WAIT_SECONDS

# Chromium as a program without windows: each window of the other one draws its own frame, too.
PACKAGE = "chromium-headless-shell"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # axe makes many short-lived objects: a tenth less of its time goes into collecting them.
    "--js-flags=--min-semi-space-size=64",
)
MISSING = f"PAGES WERE NOT TESTED: there is no Chromium. As root: apt-get install {PACKAGE}"


def find_chromium() -> str | None:
    """Return where Chromium is, without its windows where that is installed; None where neither is."""
    return shutil.which(PACKAGE) or shutil.which("chromium")


def install() -> bool:
    """Install Debian's package where it is missing and it may be done; returns whether a Chromium is there now."""
    if shutil.which(PACKAGE) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        run_apt("update", "-q")
        run_apt("install", "-qy", "--no-install-recommends", PACKAGE)
        if find_chromium() is None:  # not every release has that
            run_apt("install", "-qy", "--no-install-recommends", "chromium")
    return find_chromium() is not None


def run_apt(*arguments: str) -> None:
    """Run apt-get; what it could not do is seen by what is there afterwards."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", *arguments], check=False, env=quiet, stdout=subprocess.DEVNULL)


def require_chromium() -> None:
    """Leave the calling test module out, visibly, where there is no Chromium; fail it where pages are required."""
    if find_chromium() is not None:
        return
    if os.environ.get("PORTAL_PAGES") == "required":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING, allow_module_level=True)


@contextmanager
def run_browser() -> Iterator[Browser]:
    """Run a headless Chromium for the time of the block."""
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@contextmanager
def set_running_loop(loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
    """Have `loop` as the running one: Playwright needs its own, and all else takes this thread for async code then."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


def watch(page: Page) -> list[str]:
    """Return a list that fills with what goes wrong on a page: console errors, CSP violations, failed requests.

    The console tells of every answer of 400 and above. To hear of each request costs more than the request.
    """
    faults: list[str] = []

    def record_message(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            faults.append(f"console: {message.text} {urlsplit(message.location['url']).path}")

    page.on("console", record_message)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    return faults


if __name__ == "__main__":
    if not install():
        sys.stderr.write(f"\n*** {MISSING} ***\n\n")
        sys.exit(1 if os.environ.get("PORTAL_PAGES") == "required" else 0)
