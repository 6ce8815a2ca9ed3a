"""`manage.py archive` and `restore_archive`, and what reads and checks archived days."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from portal.accounts.models import Scope
from sync.admin.coverage.messages import describe_day
from sync.admin.coverage.status import build_calendar_day
from sync.engine.acceptance import withdraw_acceptance
from sync.engine.plan import plan_checks, plan_now, plan_retries, plan_source, request_sync, reread
from sync.engine.scrub import scrub
from sync.errors import SyncError
from sync.models import Trigger
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.archived_month import FIRST, MONTH, NEXT_MONTH, find_file, month  # noqa: F401
from tests.support.lake import lake_folder  # noqa: F401
from tests.support.scripted_vendor import Listing
from usage.models import DayStatus, EnvironmentUsage, Source, SourceDay
from usage.partitions import list_partitions

pytestmark = pytest.mark.django_db(transaction=True)


def run_command(name: str, *arguments: str) -> str:
    """Return what a command prints."""
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def run_failing(name: str, *arguments: str) -> str:
    """Return what a command prints and why it fails."""
    out = StringIO()
    with pytest.raises(CommandError) as exc_info:
        call_command(name, *arguments, stdout=out)
    assert exc_info.value.returncode == 1
    return f"{out.getvalue()}{exc_info.value}"


def get_day() -> SourceDay:
    """Return the first day of the environments."""
    days = SourceDay.objects.with_status().select_related("source")
    return days.get(source__slug="environments", day=FIRST)


@contextmanager
def move_away(path: Path) -> Iterator[None]:
    """Move a file or a folder away for the time of the block."""
    moved_path = path.rename(path.with_suffix(".lost"))
    try:
        yield
    finally:
        moved_path.rename(path)


def check_that_nothing_reads_an_archived_day_again(listing: Listing) -> None:
    source, reads = Source.objects.get(slug="environments"), listing.reads
    for planned in (plan_source(source.pk), plan_now(source, Trigger.ADMIN), plan_retries(source), plan_checks(source)):
        assert planned is None or not planned.days.filter(day__lt=NEXT_MONTH).exists()
    words = r"28 Jun 2025 – 30 Jun 2025.*manage\.py restore_archive 2025-06"
    with pytest.raises(SyncError, match=words):
        request_sync(source, FIRST, NEXT_MONTH, Trigger.API)
    with pytest.raises(SyncError, match=r"28 Jun 2025.*manage\.py restore_archive 2025-06"):
        reread([get_day()], Trigger.ADMIN)
    with pytest.raises(SyncError, match=r"manage\.py restore_archive 2025-06"):
        withdraw_acceptance(get_day())
    client = create_api_client(Scope.SYNC_READ, Scope.SYNC_RUN)
    body = {"from": str(FIRST), "to": str(NEXT_MONTH)}
    response = client.post(f"{API}/sources/environments/sync/", body, content_type="application/json")
    assert "manage.py restore_archive 2025-06" in get_problem_details(response, 409)[""][0]
    assert "restore_archive 2025-06" in run_failing(
        "sync", "environments", "--from", str(FIRST), "--to", str(NEXT_MONTH)
    )
    days = get(client, "sources/environments/days/", archived="true")["results"]
    assert [bool(day["archived_at"]) for day in days] == [True] * 3
    message = describe_day(source, build_calendar_day(source, FIRST, get_day()), get_day())
    assert (message.title, "restore_archive 2025-06" in (message.action or "")) == ("Records archived", True)
    assert MONTH not in list_partitions(EnvironmentUsage), "no plan creates the month again"
    assert listing.reads == reads


def check_that_a_lost_file_is_found_and_that_it_is_back() -> None:
    # Days of a closed month are compacted: this file has the days of the source that have records.
    with move_away(find_file("environment_usage", "environments", FIRST)):
        text = run_failing("verify", "environments", "--repair")
        assert "environments 2025-06-28: usage.environment_usage cannot be read" in text
        assert "2 of 3 days differ" in text
        SourceDay.objects.update(checked_at=None, mismatch=None)
        mismatched = [day for _ in range(9) for day in scrub(seconds=60)]
        assert sorted(map(str, mismatched)) == ["environments 2025-06-28", "environments 2025-06-29"]
        assert SourceDay.objects.filter(checked_at__isnull=False).count() == 9
        day = get_day()
        assert (day.status, day.final) == (DayStatus.MISMATCHED, True)
        message = describe_day(day.source, build_calendar_day(day.source, FIRST, day), day)
        assert "archived records differ" in message.title
    assert "3 days checked" in run_command("verify", "environments")
    SourceDay.objects.filter(mismatch__isnull=False).update(checked_at=None)
    for _ in range(2):
        scrub(seconds=60)
    assert not SourceDay.objects.filter(mismatch__isnull=False).exists()


def check_that_without_the_lake_verify_fails_by_name(lake_folder: Path, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    with move_away(lake_folder):
        assert "Archived days could not be checked. The lake cannot be read" in run_failing("verify", "environments")
        SourceDay.objects.update(checked_at=None)
        assert scrub(seconds=60) == []
        assert "a stored day cannot be checked" in caplog.text
        assert not SourceDay.objects.filter(mismatch__isnull=False).exists()
        assert "The lake cannot be read" in run_failing("restore_archive", "2025-06")
        with override_settings(PORTAL_LAKE_URL=""):
            assert "PORTAL_LAKE_URL is not set" in run_failing("verify", "environments")


@pytest.mark.usefixtures("month")
def test_the_commands_show_what_would_go_archive_it_and_bring_it_back(
    listing: Listing,
    lake_folder: Path,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    subtests: pytest.Subtests,
) -> None:
    output = run_command("archive", "--before", "2025-07")
    assert "2025-06  usage_environmentusage_2025_06: " in output
    assert "days by source: environments 3, recipes 3, resources 3" in output
    assert "Nothing was changed" in output
    assert not SourceDay.objects.filter(pruned_at__isnull=False).exists()

    assert "2025-06 archived: 9 days found whole in the lake" in run_command("archive", "--before", "2025-07", "--yes")
    assert SourceDay.objects.filter(archived_at__isnull=False).count() == 9
    assert "archived:" not in run_command("archive", "--before", "2025-07", "--yes")
    assert "9 days checked: every one is stored as it was read." in run_command("verify")

    with subtests.test("nothing reads an archived day again before it is restored"):
        check_that_nothing_reads_an_archived_day_again(listing)
    with subtests.test("verify and the scrub find a lost file of an archived day, and that it is back"):
        check_that_a_lost_file_is_found_and_that_it_is_back()
    with subtests.test("without the lake verify fails by name, and the scrub leaves the day"):
        check_that_without_the_lake_verify_fails_by_name(lake_folder, caplog)

    assert "2025-06 restored: 9 days." in run_command("restore_archive", "2025-06")
    assert EnvironmentUsage.objects.filter(source__slug="environments").exists()
    assert "No day of 2025-06 is archived" in run_failing("restore_archive", "2025-06")
    SourceDay.objects.filter(day=FIRST).update(final=False)
    assert "environments 2025-06-28 (not final)" in run_failing("archive", "--before", "2025-07", "--yes")
    with override_settings(PORTAL_LAKE_URL=""):
        for name, arguments in (("archive", ["--before", "2025-07"]), ("restore_archive", ["2025-06"])):
            assert "PORTAL_LAKE_URL is not set" in run_failing(name, *arguments)
