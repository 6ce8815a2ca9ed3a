"""Usage of every kind, and roles of the database that read it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from tests.support.database import store_or_restore
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.servers import get_database_name
from tests.support.source_days import create_source_days
from usage.models import DirectoryEntry, NameKind, ReportingRole, Source
from usage.reporting.roles import create_role, remove_role

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
Reader = psycopg.Connection[Any]


def fill() -> None:
    """Store records of five sources, some withdrawn, with names and days."""
    runs = SourceFactory(slug="runs", vendor="ona", time_zone="Europe/Berlin")
    for number in range(12):
        stopped_at = NOON + timedelta(hours=7 * number)
        EnvironmentUsageFactory(
            source=runs,
            day=stopped_at.astimezone(runs.zone).date(),
            project_id=f"p{number % 3}",
            user_id=f"u{number % 4}",
            stopped_at=stopped_at,
            created_at=None if number == 5 else NOON - timedelta(hours=9, microseconds=number),
            withdrawn_at=NOON if number == 7 else None,
        )
    # What no other role may learn of.
    secret = SourceFactory(slug="secret-runs", vendor="ona")
    EnvironmentUsageFactory(source=secret, project_id="secret-project", user_id="secret-user", stopped_at=NOON)
    for slug in ("main", "secret-main"):
        source = SourceFactory(slug=slug, vendor="gcore")
        for number in range(9):
            ResourceUsageFactory(
                source=source,
                day=NOON.date() + timedelta(days=number // 3),
                project_id=(11, 12, None)[number % 3],
                resource_type=("instance", "volume", "egress_traffic")[number % 3],
                billing_metric=("minutes", "standard", "traffic")[number % 3],
                consumed_unit=("minutes", "gbminutes", "bytes")[number % 3],
                consumed_quantity=Decimal("12345678901234567890.000000000000000001") * (number + 1),
                resource_name=f"{slug}-{number}",
                withdrawn_at=NOON if number == 4 else None,
            )
    recipes = SourceFactory(slug="recipes", vendor="workato")
    for number in range(10):
        RecipeUsageFactory(
            source=recipes,
            starts_at=NOON + timedelta(hours=5 * number),
            workspace_id=501 + number % 2,
            recipe_id=9001 + number % 3 if number % 4 else None,
            task_count=None if number == 3 else number,
        )
    name_ids(runs, secret)
    create_source_days(rolled=True)


def name_ids(*sources: Source) -> None:
    """Store names of projects and users."""
    for source in sources:
        for number in range(3):
            DirectoryEntry.objects.create(
                source=source, kind=NameKind.PROJECT, vendor_id=f"p{number}", name=f"Project {number} of {source}"
            )
            DirectoryEntry.objects.create(
                source=source,
                kind=NameKind.USER,
                vendor_id=f"u{number}",
                name=f"Ada {number}",
                email=f"ada{number}@example.com",
                pseudonym=f"Koli{number}",
            )


@pytest.fixture
def usage_records(transactional_db: None) -> None:
    """Have the records committed, as another connection reads them."""
    store_or_restore("reporting", fill)


@pytest.fixture
def connect(usage_records: None) -> Iterator[Callable[..., Reader]]:
    """Make a role that sees sources by their slugs (None: all), and give a connection of it: `connect("main")`."""
    with ExitStack() as stack:
        names = (f"{get_database_name()}_bi{number}" for number in range(9))

        def make(*slugs: str | None, names_shown: str = "none") -> Reader:
            name = next(names)
            with connection.cursor() as cursor:
                cursor.execute(f"DROP ROLE IF EXISTS {name}")  # of a run that was killed
            sources = None if None in slugs else list(Source.objects.filter(slug__in=slugs))
            password = create_role(name, sources, names_shown)
            stack.callback(remove_if_there, name)
            return stack.enter_context(sign_in(name, password))

        yield make


def sign_in(name: str, password: str) -> Reader:
    """Return a connection of a role to the test's database; each statement is a transaction."""
    address = make_conninfo(
        os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"], user=name, password=password
    )
    return psycopg.connect(address, autocommit=True)


def remove_if_there(name: str) -> None:
    """Remove a role, unless the test has."""
    role = ReportingRole.objects.filter(name=name).first()
    if role is not None:
        remove_role(role)
