"""Summaries of a few runs, read raw and rolled up."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from tests.support.api_clients import API, create_api_client
from tests.support.api_clients import get as get_response
from tests.support.factories import (
    EnvironmentUsageFactory,
)
from tests.support.source_days import create_source_days


@pytest.fixture
def client() -> Client:
    """A program that may read everything."""
    caller = create_api_client()
    caller.get(f"{API}/sources/")  # the token's use is written down with the first request
    return caller


ROLLED = {"yes": False}


@pytest.fixture(autouse=True, params=["raw", "rolled"])
def _relation(request: pytest.FixtureRequest) -> None:
    """Run every test twice: with days that are not rolled up, and with days that are."""
    ROLLED["yes"] = request.param == "rolled"


def get(client: Client, address: str, **query: Any) -> Any:
    """Return a response, after creating the days of the records, rolled up where the test runs with that."""
    create_source_days(rolled=ROLLED["yes"])
    return get_response(client, address, **query)


def create_run(source: Any, begins: datetime, ends: datetime, **values: Any) -> None:
    """Store one run."""
    EnvironmentUsageFactory(source=source, created_at=begins, stopped_at=ends, day=ends.date(), **values)


def build_instant(day: int, hour: int = 0, minute: int = 0, month: int = 1) -> datetime:
    """Return an instant of 2026."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)
