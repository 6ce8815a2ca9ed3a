"""A run without Chromium says loudly that pages were not tested, and fails where they are required."""

import os
import subprocess
import sys

import pytest

from portal.environment import BASE_DIR
from tests.support import chromium


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python as someone on whose path there is neither Chromium nor apt-get."""
    variables = {**os.environ, "PORTAL_PAGES": "", **environment, "PATH": "/nowhere"}
    return subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, env=variables, cwd=BASE_DIR
    )


def test_a_run_without_chromium_says_so_and_goes_on() -> None:
    result = run("-m", "tests.support.chromium")

    assert result.returncode == 0
    assert "PAGES WERE NOT TESTED" in result.stderr


def test_where_pages_are_required_a_run_without_chromium_fails() -> None:
    result = run("-m", "tests.support.chromium", PORTAL_PAGES="required")

    assert result.returncode == 1
    assert "PAGES WERE NOT TESTED" in result.stderr


def test_the_page_tests_are_left_out_visibly_and_fail_where_they_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chromium, "find_chromium", lambda: None)
    monkeypatch.delenv("PORTAL_PAGES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="PAGES WERE NOT TESTED"):
        chromium.require_chromium()
    monkeypatch.setenv("PORTAL_PAGES", "required")
    with pytest.raises(pytest.fail.Exception, match="PAGES WERE NOT TESTED"):
        chromium.require_chromium()
