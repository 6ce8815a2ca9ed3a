"""Fixtures that every test may use."""

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import django.test.client
import hypothesis
import pytest
import pytest_django
import redis
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connections
from django.http import HttpResponseBase
from django.test import Client
from pytest_django.plugin import blocking_manager_key
from whitenoise.middleware import WhiteNoiseMiddleware

import portal.cache
import sync.heartbeats
from tests.support import factories
from tests.support.api_clients import serve_portal
from tests.support.database import (
    create_months,
    create_template,
    remember_migrated_rows,
    replace_flush,
    restore_migrated_rows,
)
from tests.support.rendered_templates import leave_out_inputs
from tests.support.sandbox import sandbox  # noqa: F401
from tests.support.scripted_vendor import listing, source  # noqa: F401
from tests.support.servers import TEMPLATE_VARIABLE, get_database_name
from tests.support.static_files import share_static_files

# How long one example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("portal", deadline=None)
hypothesis.settings.load_profile("portal")

# A busy machine keeps Redis from answering for longer than a request waits; the tests that stop Redis start servers.
portal.cache.REDIS_TIMEOUT_SECONDS = sync.heartbeats.REDIS_SECONDS = 10.0

# A test client makes the middleware anew, which would look at every static file again.
WhiteNoiseMiddleware.add_files_from_finders = share_static_files(WhiteNoiseMiddleware.add_files_from_finders)

# A page has hundreds of inputs, whose templates and contexts no test asks a response for.
leave_out_inputs(django.test.client)

PROCESS_FIXTURES = {"web_server", "browser", "as_person"}
COMMITTING_FIXTURES = {"live_server", "transactional_db"}
PROCESS_NAMES = {
    "subprocess",
    "ona_sdk_1x",
    "portal_process",
    "PortalProcess",
    "command_forks",
    "serve_portal",
    "Services",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start a process, and put first the slow ones that use no database of the run.

    A slow test that begins last leaves the other workers without work; tests that commit stay behind those that do
    not, as pytest-django has put them, the slow pages first of these.
    """
    for item in items:
        names = vars(getattr(item, "module", None) or object).keys()
        if PROCESS_FIXTURES & set(getattr(item, "fixturenames", ())) or PROCESS_NAMES & names:
            item.add_marker("processes")
    items.sort(key=order_slow)


def order_slow(item: pytest.Item) -> int:
    """Return where a test comes among the others."""
    is_slow, commits = item.get_closest_marker("slow") is not None, "live_server" in getattr(item, "fixturenames", ())
    if is_slow and not item.get_closest_marker("django_db") and not commits:
        return 0
    return (2 if is_slow else 3) if commits else 1


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test that is rolled back the rows of the migrations, which a test that commits deletes."""
    marker, fixtures = item.get_closest_marker("django_db"), set(getattr(item, "fixturenames", ()))
    commits = (marker is not None and marker.kwargs.get("transaction")) or COMMITTING_FIXTURES & fixtures
    if not commits and (marker is not None or "db" in fixtures):
        with item.config.stash[blocking_manager_key].unblock():
            restore_migrated_rows()


def pytest_collection() -> None:
    """Collect no garbage while tests are collected: nearly all that is made stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave all that was imported out of every later garbage collection."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_blocker: pytest_django.DjangoDbBlocker) -> None:
    """Give this process a test database of its own: several runs share one PostgreSQL."""
    test = connections["default"].settings_dict["TEST"]
    test["NAME"] = get_database_name()
    if template := os.environ.get(TEMPLATE_VARIABLE):
        with django_db_blocker.unblock():
            create_template(template)
        test["TEMPLATE"] = template
    replace_flush()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> None:
    """Create the months of usage beside the tables."""
    with django_db_blocker.unblock():
        create_months()
        remember_migrated_rows()


@pytest.fixture(scope="session")
def web_server(django_db_setup: None) -> Iterator[Callable[..., int]]:
    """Give the port of a web server with these settings, which is started once: `web_server(PORTAL_EXPORT_SECONDS="3")`."""
    with ExitStack() as stack:
        yield cache(lambda **settings: stack.enter_context(serve_portal(**settings)))


@pytest.fixture
def port(web_server: Callable[..., int]) -> int:
    """The port of a web server with the usual settings."""
    return web_server()


@pytest.fixture(scope="session")
def session_browser() -> Iterator[Any]:
    """One Chromium for all tests of this process that look at pages; the fixture `browser` gives it to a module."""
    from tests.support import chromium

    with chromium.run_browser() as browser:
        loop = asyncio.get_running_loop()
        with chromium.set_running_loop(None):
            yield browser, loop


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    """The test's own Redis database, empty at the start."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client


@pytest.fixture(autouse=True)
def unread_downloads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test has downloaded and not read, as a server does; else a later garbage collection meets it."""
    downloads: list[HttpResponseBase] = []
    request = Client.request

    def remember(self: Client, **environ: Any) -> HttpResponseBase:
        response = request(self, **environ)
        if response.streaming:
            downloads.append(response)
        return response

    monkeypatch.setattr(Client, "request", remember)
    yield
    for download in downloads:
        download.close()


@pytest.fixture(autouse=True)
def cheap_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords in a thousandth of the time, except where another process hashes them anew for that."""
    if not request.node.get_closest_marker("processes"):
        for name, value in {"time_cost": 1, "memory_cost": 64, "parallelism": 1}.items():
            monkeypatch.setattr(Argon2PasswordHasher, name, value)


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
