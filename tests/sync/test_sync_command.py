"""`manage.py sync`: reads now, shows how it goes, and ends with a status a script can rely on."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from sync.engine.cancel import cancel
from sync.models import SyncRun
from tests.support.processes import portal_process
from tests.support.sandbox_server import SandboxServer
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


@pytest.fixture(autouse=True)
def loopback(settings) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]


def run(*arguments: str) -> tuple[int, str]:
    """Run the command in a process of its own; returns its exit status and what it printed."""
    with portal_process(["manage.py", "sync", *arguments]) as process:
        status = process.wait(120)
        return status, process.output()


def test_it_reads_every_due_day_and_sums_up(account: Source, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sync")

    output = capsys.readouterr().out
    assert "acme" in output
    assert "3/3" in output
    assert "inserted" in output
    assert EnvironmentUsage.objects.count() == sum(SourceDay.objects.values_list("records", flat=True)) > 0
    run_after = SyncRun.objects.get()
    assert (run_after.trigger, run_after.days_done, run_after.days_failed) == ("command", 3, 0)


def test_a_range_is_half_open(account: Source) -> None:
    first = account.backfill_from

    call_command("sync", "acme", "--from", str(first), "--to", str(first + timedelta(days=1)))

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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nix"], "No source is named nix; there are: acme."),
        (["acme", "--from", "2999-01-01", "--to", "2999-01-02"], "reaches into the future"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(account: Source, arguments: list[str], reason: str) -> None:
    Source.objects.update(halted_at=datetime.now(UTC), halt_reason="The key was refused.")
    with pytest.raises(CommandError, match=re.escape(reason)) as refused:
        call_command("sync", *arguments)
    assert refused.value.returncode == 1
    assert Source.objects.get().halt_reason == "The key was refused."


def test_a_source_that_cannot_be_read_is_named_once(account: Source) -> None:
    Source.objects.update(vendor="nobody")
    with pytest.raises(CommandError, match="nobody") as error:
        call_command("sync", account.slug)
    assert str(error.value).count(f"{account.slug}: ") == 1


@pytest.mark.parametrize(
    ("cancelled_by", "reason"),
    [
        ("ada", "acme: Cancelled by ada; 3 days went back unread."),
        ("", "acme: 3 days wait: the vendor keeps failing and is left alone"),
    ],
)
def test_days_that_nobody_reads_give_status_1_and_say_why(
    account: Source, monkeypatch: pytest.MonkeyPatch, cancelled_by: str, reason: str
) -> None:
    def read_nothing(run: SyncRun, *_: object) -> None:
        if cancelled_by:
            cancel(run, cancelled_by)
        connection.close()

    monkeypatch.setattr("sync.management.commands.sync.read_run", read_nothing)
    with pytest.raises(CommandError, match=re.escape(reason)) as error:
        call_command("sync", "acme")
    assert error.value.returncode == 1


def test_a_source_whose_first_day_is_to_come_has_nothing_to_sync(
    account: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    Source.objects.update(backfill_from=datetime.now(UTC).date() + timedelta(days=1))
    call_command("sync", "acme")
    assert "acme" not in capsys.readouterr().out
    assert not SyncRun.objects.exists()
