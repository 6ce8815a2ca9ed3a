"""What all tests of accounts begin with."""

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def nobody_has_failed_before() -> None:
    cache.clear()
