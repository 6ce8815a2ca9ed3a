"""Fixtures that every test may use."""

import os
from collections.abc import Iterator

import pytest
import redis
from django.db import connections

from tests import factories
from tests.sandbox import sandbox  # noqa: F401
from tests.scripted import listing, source  # noqa: F401
from tests.servers import database_name


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Give this process a test database of its own: several runs share one PostgreSQL."""
    connections["default"].settings_dict["TEST"]["NAME"] = database_name()


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    """The test's own Redis database, empty at the start."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client


@pytest.fixture(autouse=True)
def first_of_each() -> None:
    """Let every test's rows begin with the first, whatever tests ran before it: their instants count on from there."""
    for factory in (
        factories.SourceFactory,
        factories.SourceDayFactory,
        factories.EnvironmentUsageFactory,
        factories.ResourceUsageFactory,
        factories.RecipeUsageFactory,
    ):
        factory.reset_sequence(0)
