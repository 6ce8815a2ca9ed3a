"""The client of a vendor that is a server of the test's own."""

from collections.abc import Iterator

import pytest
import stamina
from pytest_httpserver import HTTPServer

from sync.http import VendorHTTP
from tests.support.raw_vendor import build_client


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    """Retry at once, in all tests of a folder whose conftest has this; the one test of waiting switches it off."""
    with stamina.set_testing(True, attempts=6, cap=True):
        yield


@pytest.fixture
def http(httpserver: HTTPServer) -> Iterator[VendorHTTP]:
    with build_client(httpserver.url_for("/base")) as opened:
        yield opened
