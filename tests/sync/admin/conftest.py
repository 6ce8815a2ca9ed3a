"""A portal with a month of synced days, filled once for each module of tests that uses it."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.support.database import keep_rows
from tests.support.filled_portal import Filled, fill, find_filled


@pytest.fixture(scope="module")
def filled_rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Fill the portal for all tests of the module, each of which is rolled back to it."""
    with keep_rows(django_db_blocker):
        fill()
        yield


@pytest.fixture
def sources(filled_rows: None, db: None) -> Filled:
    """The sources of the filled portal."""
    return find_filled()
