"""Chromium for the page tests: Debian's package, installed where that may be done, missed loudly where not.

`python -m tests.support.chromium` installs it where this machine is Debian's kind and the user is root, and says what
is missing otherwise. Where PORTAL_PAGES is `required`, as in .ci/run, the page tests fail without it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MISSING = "PAGES WERE NOT TESTED: there is no Chromium. As root: apt-get install chromium"


def path() -> str | None:
    """Return where Chromium is; None where it is not installed."""
    return shutil.which("chromium")


def install() -> bool:
    """Install Debian's package where there is none and it may be done; returns whether Chromium is there now."""
    if path() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", "chromium"]):
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", *command], check=False, env=quiet, stdout=subprocess.DEVNULL)
    return path() is not None


def needed() -> None:
    """Leave the calling test module out, visibly, where there is no Chromium; fail it where pages are required."""
    if path() is not None:
        return
    if os.environ.get("PORTAL_PAGES") == "required":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING, allow_module_level=True)


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium for the time of the block."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path(), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


def watch(page: Page) -> list[str]:
    """Return a list that fills with what goes wrong on a page: console errors, CSP violations, failed requests."""
    faults: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            faults.append(f"console: {message.text}")

    def answered(answer: Response) -> None:
        if answer.status >= 400:
            faults.append(f"{answer.status}: {answer.url}")

    page.on("console", heard)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("response", answered)
    return faults


if __name__ == "__main__":
    if not install():
        sys.stderr.write(f"\n*** {MISSING} ***\n\n")
        sys.exit(1 if os.environ.get("PORTAL_PAGES") == "required" else 0)
