"""`manage.py sync`: reads now, shows how it goes, and ends with a status a script can rely on."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.models import SyncRun
from sync.sandbox.server import SandboxServer
from tests.support.processes import portal_process
from usage.models import EnvironmentUsage, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account(sandbox: SandboxServer) -> Source:
    return Source.objects.create(
        slug="acme",
        vendor="ona",
        base_url=f"{sandbox.url}/ona/api",
        credential=sandbox.world.credential,
        backfill_from=datetime.now(UTC).date() - timedelta(days=2),
    )


def run(*arguments: str) -> tuple[int, str]:
    with portal_process(["manage.py", "sync", *arguments]) as process:
        status = process.wait(120)
        return status, process.output()


def test_it_reads_every_due_day_and_sums_up(account: Source) -> None:
    status, output = run()

    assert status == 0, output
    assert "acme" in output
    assert "3/3" in output
    assert "inserted" in output
    assert EnvironmentUsage.objects.count() == sum(SourceDay.objects.values_list("records", flat=True)) > 0
    finished = SyncRun.objects.get()
    assert (finished.trigger, finished.days_done, finished.days_failed) == ("command", 3, 0)


def test_a_range_is_half_open(account: Source) -> None:
    first = account.backfill_from

    status, output = run("acme", "--from", str(first), "--to", str(first + timedelta(days=1)))

    assert status == 0, output
    assert list(SourceDay.objects.values_list("day", flat=True)) == [first]


def test_a_day_that_fails_gives_status_1_and_its_reason(account: Source, sandbox: SandboxServer) -> None:
    Source.objects.update(credential="wrong")

    status, output = run("acme")

    assert status == 1
    assert "3 of 3 days failed" in output
    assert "401" in output
    assert "wrong" not in output

    # A person who runs the command again after mending the credential needs no other step.
    Source.objects.update(credential=sandbox.world.credential)
    assert run("acme")[0] == 0


def test_an_unknown_source_is_told_with_those_there_are(account: Source) -> None:
    status, output = run("nix")

    assert status == 1
    assert "No source is named nix; there are: acme." in output


def test_a_range_in_the_future_is_refused_in_words(account: Source) -> None:
    status, output = run("acme", "--from", "2999-01-01", "--to", "2999-01-02")

    assert status == 1
    assert "reaches into the future" in output
