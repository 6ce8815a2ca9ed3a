"""A portal with a month of synced days, filled once for each module of tests that uses it."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.support.database import keep_rows
from tests.support.filled_portal import VendorSources, fill_portal, get_vendor_sources


@pytest.fixture(scope="module")
def filled_rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill the portal for all tests of the module, each of which is rolled back to it."""
    with keep_rows(django_db_blocker):
        fill_portal()
        yield


@pytest.fixture
def sources(filled_rows: None, db: None) -> VendorSources:
    """The sources of the filled portal."""
    return get_vendor_sources()
