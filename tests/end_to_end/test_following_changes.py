"""A loader written by others follows the API: dlt ends with the portal's own rows and sums, round after round."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from portal.accounts.models import Scope, create_token
from portal.environment import BASE_DIR
from tests.support.api_clients import API
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory
from tests.support.filled_portal import VendorSources, fill_portal
from tests.support.processes import build_environment
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PYTHON = BASE_DIR / ".venvs" / "api" / "bin" / "python"
DATASET = "followed"
# Per kind: the loader's table, and the columns whose sums must agree.
TABLES: dict[type[UsageRecord], tuple[str, tuple[str, ...]]] = {
    EnvironmentUsage: ("environment_usage", ("runtime_seconds",)),
    ResourceUsage: ("resource_usage", ("consumed_quantity",)),
    RecipeUsage: ("recipe_usage", ("task_count", "job_succeeded_count", "job_failed_count")),
}


@pytest.fixture
def dataset() -> Iterator[str]:
    yield DATASET
    with connection.cursor() as cursor:
        for schema in (DATASET, f"{DATASET}_staging"):
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@contextmanager
def follower(port: int, secret: str, dataset: str, directory: Path) -> Iterator[Callable[[], list[int]]]:
    """Start the loader; what this gives lets it follow once, and returns how many rows of each kind it was given."""
    database = build_environment()["DATABASE_URL"]
    command = [str(PYTHON), "-m", "tests.support.dlt_follower", f"http://127.0.0.1:{port}{API}/"]
    command += [database, dataset, str(directory)]
    quiet = {"PORTAL_TOKEN": secret, "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": str(directory)}
    with (
        (directory / "log").open("w+") as log,
        subprocess.Popen(
            command,
            cwd=BASE_DIR,
            env={**os.environ, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as loader,
    ):

        def follow() -> list[int]:
            assert loader.stdin
            assert loader.stdout
            print(file=loader.stdin, flush=True)
            counts = loader.stdout.readline().split()
            assert len(counts) == len(TABLES), (counts, log.seek(0), log.read())
            return list(map(int, counts))

        yield follow
        loader.stdin.close()
        assert loader.wait() == 0


def read_rows(table: str, sums: tuple[str, ...]) -> list[Any]:
    """Return the rows of a table, each with its id, revision and withdrawal; then the count and the sums."""
    added = ", ".join(f"sum({column}::numeric) FILTER (WHERE withdrawn_at IS NULL)" for column in sums)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, revision, changed_at, withdrawn_at FROM {table} ORDER BY id")
        rows = cursor.fetchall()
        cursor.execute(f"SELECT count(*), {added} FROM {table}")
        return [*rows, cursor.fetchone()]


def assert_same_as_the_portal() -> None:
    for kind, (table, sums) in TABLES.items():
        assert read_rows(f"{DATASET}.{table}", sums) == read_rows(kind._meta.db_table, sums)


def change(sources: VendorSources) -> None:
    """Have records of every kind inserted, changed, withdrawn and returned."""
    now = timezone.now()
    EnvironmentUsageFactory(source=sources.environments)
    ResourceUsageFactory(source=sources.resources)
    RecipeUsageFactory(source=sources.recipes)
    several: dict[type[UsageRecord], dict[str, Any]] = {
        EnvironmentUsage: {"stopped_at": F("stopped_at") + timedelta(seconds=1)},
        ResourceUsage: {"consumed_quantity": F("consumed_quantity") * 2},
        RecipeUsage: {"task_count": F("task_count") + 7},
    }
    for kind, values in several.items():
        numbers = list(kind.objects.filter(withdrawn_at=None).order_by("id").values_list("id", flat=True)[:30])
        changed, withdrawn = Q(pk__in=numbers[:27]), Q(pk__in=numbers[27:])
        kind.objects.filter(changed).update(changed_at=now, revision=F("revision") + 1, **values)
        kind.objects.filter(withdrawn).update(changed_at=now, revision=F("revision") + 1, withdrawn_at=now)
    returned = EnvironmentUsage.objects.exclude(withdrawn_at=None).filter(changed_at__lt=now)
    assert returned.update(changed_at=now, revision=F("revision") + 1, withdrawn_at=None)


def test_dlt_follows_every_change_and_ends_with_the_rows_and_sums_of_the_portal(
    tmp_path: Path, dataset: str, web_server: Callable[..., int]
) -> None:
    sources = fill_portal()
    _, secret = create_token("warehouse", [Scope.USAGE_READ])
    with follower(web_server(), secret, dataset, tmp_path) as follow:
        assert follow() == [120, 90, 72]
        assert_same_as_the_portal()

        change(sources)
        _, resources, _ = follow()
        assert_same_as_the_portal()
        assert resources < 60  # what had not changed was not sent again

        follow()
        assert_same_as_the_portal()
