"""`manage.py roll_up` writes missing rollups, and finds every rollup that does not equal its records."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from sync.tasks import roll_up as roll_up_task
from tests.support.factories import SourceFactory
from tests.support.scripted_vendor import DAY, Listing, build_run, read_day
from usage.models import EnvironmentAccrual, EnvironmentDay, EnvironmentUsage, Source, SourceDay
from usage.rollups import ROLLUPS

pytestmark = pytest.mark.django_db
NEXT = DAY + timedelta(days=1)


def run_roll_up(*arguments: str) -> str:
    out = StringIO()
    call_command("roll_up", *arguments, stdout=out)
    return out.getvalue()


def run_failing_check() -> str:
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("roll_up", "--check", stdout=out)
    assert error.value.returncode == 1
    return out.getvalue()


@pytest.fixture
def two_days(source: Source, listing: Listing) -> Source:
    for on in (DAY, NEXT):
        listing.records[on] = [build_run(n, on=on, record_id=f"{on}-{n}", minutes=1000) for n in range(3)]
        read_day(source, on)
    return source


def delete_rollups() -> None:
    """Delete all rollups, and mark the days as not rolled up."""
    for model in ROLLUPS:
        model.objects.all().delete()
    SourceDay.objects.update(rolled_up=False)


def test_it_rolls_up_every_day_that_lacks_it_and_says_how_many(two_days: Source) -> None:
    delete_rollups()

    assert "2 days are not rolled up yet" in run_roll_up("--check")
    assert run_roll_up() == "Rolled up 2 days; 0 left.\n"
    assert run_roll_up() == "Rolled up 0 days; 0 left.\n"
    assert run_roll_up("--check") == "Every rollup equals its records.\n"


def test_it_names_each_day_on_request(two_days: Source) -> None:
    delete_rollups()

    *days, total = run_roll_up("-v", "2").splitlines()

    assert sorted(days) == sorted(map(str, SourceDay.objects.all()))
    assert total == "Rolled up 2 days; 0 left."


def test_the_schedule_catches_up_by_itself(two_days: Source) -> None:
    delete_rollups()

    roll_up_task()

    assert run_roll_up("--check") == "Every rollup equals its records.\n"


def test_a_rollup_that_was_tampered_with_is_named_with_its_day(two_days: Source) -> None:
    EnvironmentDay.objects.filter(day=NEXT).update(runtime_seconds="1.5")
    EnvironmentAccrual.objects.filter(day=NEXT).delete()

    output = run_failing_check()

    assert "scripted 2026-11-04: 1 rows of environmentday, 2 rows of environmentaccrual differ" in output
    assert "2026-11-03" not in output


def test_a_record_changed_behind_the_engines_back_is_found(two_days: Source) -> None:
    EnvironmentUsage.objects.filter(day=DAY).first().delete()

    assert "scripted 2026-11-03" in run_failing_check()


def create_rollup(source_id: int) -> None:
    EnvironmentDay.objects.create(
        source_id=source_id,
        day=DAY,
        project_id="",
        records=1,
        records_without_runtime=1,
        digest=0,
        last_changed_at=timezone.now(),
    )


def test_a_rollup_of_a_day_that_does_not_exist_is_found(two_days: Source) -> None:
    create_rollup(SourceFactory(slug="other").pk)

    assert "other 2026-11-03: rows of environmentday belong to no day" in run_failing_check()


def test_a_rollup_of_a_source_that_does_not_exist_is_found(two_days: Source) -> None:
    create_rollup(987_654)

    assert "source 987654 2026-11-03: rows of environmentday belong to no day" in run_failing_check()
