"""`manage.py roll_up` catches up what lacks rollups, and finds every rollup that does not equal its records."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from sync.tasks import roll_up as roll_up_task
from tests.factories import SourceFactory
from tests.scripted import DAY, Listing, read_day, row
from usage.models import EnvironmentAccrual, EnvironmentDay, EnvironmentUsage, Source, SourceDay
from usage.rollups import ROLLUPS

pytestmark = pytest.mark.django_db
NEXT = DAY + timedelta(days=1)
TABLES: tuple[Any, ...] = (*ROLLUPS, EnvironmentAccrual)


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("roll_up", *arguments, stdout=out)
    return out.getvalue()


def refused() -> str:
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("roll_up", "--check", stdout=out)
    assert error.value.returncode == 1
    return out.getvalue()


@pytest.fixture
def two_days(source: Source, listing: Listing) -> Source:
    for on in (DAY, NEXT):
        listing.records[on] = [row(n, on=on, record_id=f"{on}-{n}", minutes=1000) for n in range(3)]
        read_day(source, on)
    return source


def forgotten() -> None:
    """Bring the portal to what it was before there were rollups."""
    for model in TABLES:
        model.objects.all().delete()
    SourceDay.objects.update(rolled_up=False)


def test_it_rolls_up_every_day_that_lacks_it_and_says_how_many(two_days: Source) -> None:
    forgotten()

    assert "2 days are not rolled up yet" in told("--check")
    assert told() == "Rolled up 2 days; 0 left.\n"
    assert told() == "Rolled up 0 days; 0 left.\n"
    assert told("--check") == "Every rollup equals its records.\n"


def test_the_schedule_catches_up_by_itself(two_days: Source) -> None:
    forgotten()

    roll_up_task()

    assert told("--check") == "Every rollup equals its records.\n"


def test_a_rollup_that_was_tampered_with_is_named_with_its_day(two_days: Source) -> None:
    EnvironmentDay.objects.filter(day=NEXT).update(runtime_seconds="1.5")
    EnvironmentAccrual.objects.filter(day=NEXT).delete()

    said = refused()

    assert "scripted 2026-11-04: 1 rows of environmentday, 2 rows of environmentaccrual differ" in said
    assert "2026-11-03" not in said


def test_a_record_changed_behind_the_engines_back_is_found(two_days: Source) -> None:
    EnvironmentUsage.objects.filter(day=DAY).first().delete()

    assert "scripted 2026-11-03" in refused()


def test_a_rollup_of_a_day_that_does_not_exist_is_found(two_days: Source) -> None:
    EnvironmentDay.objects.create(
        source=SourceFactory(slug="other"), day=DAY, project_id="", environment_class_id="", runner_id="", records=1,
        records_without_runtime=1,
    )  # fmt: skip

    assert "other 2026-11-03: rows of environmentday belong to no day" in refused()
