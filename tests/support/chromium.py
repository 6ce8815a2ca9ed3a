"""Chromium for the page tests: Debian's package, installed where that is possible, otherwise reported as missing.

`python -m tests.support.chromium` installs it where this machine is Debian's kind and the user is root, and reports
what is missing otherwise. Where PORTAL_PAGES is `required`, as in .ci/run, the page tests fail without it.
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
    """Return the path of Chromium, of the headless shell where it is installed; None where there is neither."""
    return shutil.which(PACKAGE) or shutil.which("chromium")


def install() -> bool:
    """Install Debian's package where it is missing and that is possible; returns whether there is a Chromium."""
    if shutil.which(PACKAGE) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        run_apt("update", "-q")
        run_apt("install", "-qy", "--no-install-recommends", PACKAGE)
        if find_chromium() is None:  # not every release has that
            run_apt("install", "-qy", "--no-install-recommends", "chromium")
    return find_chromium() is not None


def run_apt(*arguments: str) -> None:
    """Run apt-get; the caller checks the result by what is installed."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", *arguments], check=False, env=quiet, stdout=subprocess.DEVNULL)


def require_chromium() -> None:
    """Skip the calling test module where there is no Chromium; fail it where PORTAL_PAGES requires one."""
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
    """Set the running event loop: Playwright needs its own, but with it all else takes this thread for async code."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


def watch(page: Page) -> list[str]:
    """Return a list that collects the faults of a page: console errors, CSP violations, failed requests.

    The console reports every response of 400 and above. A handler of each request costs more than the request.
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
