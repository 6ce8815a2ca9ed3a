"""The names of a source: read daily and on demand, stored in one transaction, and no harm to usage whatever happens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from sync.engine.cancel import cancel
from sync.engine.claim import claim_day
from sync.engine.names import claim_names, plan_names, read_names, request_names
from sync.engine.plan import ensure_days
from sync.errors import CredentialError, LeaseLost, SyncError, VendorUnavailable
from sync.models import Subject, SyncRun, Trigger
from sync.source_changes import delete_source
from sync.tasks import send_names
from sync.vendors.names import Name, NameListing
from sync.vendors.ona.directory import MEMBERS, TEAM_MEMBERS
from tests.support.api_clients import API, create_api_client
from tests.support.factories import RecipeUsageFactory
from tests.support.sandbox_server import SandboxServer
from tests.support.scripted_vendor import DAY, Listing, NoHTTP, build_reader_class, make_source
from tests.support.users import sign_in_as
from tests.support.vendor_readers import build_sandbox_url
from usage.directory.pseudonyms import build_pseudonym
from usage.models import Directory, DirectoryEntry, NameKind, Source, SourceDay

pytestmark = pytest.mark.django_db
Script = dict[str, Any]
OLD = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """What a made-up vendor returns: `listings`, or it raises `error`; `during` is called while it is read."""
    values: Script = {"listings": [], "error": None, "during": None}

    class Reader(build_reader_class(Listing())):  # type: ignore[misc]
        def __init__(self) -> None:
            self.http = NoHTTP()

        def directory(self) -> Iterator[NameListing]:
            if values["during"]:
                values["during"]()
            if values["error"]:
                raise values["error"]
            yield from values["listings"]

    @contextmanager
    def open_reader(source: Source, before_request: Callable[[], None] | None = None) -> Iterator[Any]:
        yield Reader()

    monkeypatch.setattr("sync.engine.names.open_reader", open_reader)
    monkeypatch.setattr("sync.engine.names.get_reader_class", lambda source: Reader)
    return values


def read(source: Source) -> SyncRun:
    """Read the names of a source on demand."""
    request_names(source, Trigger.COMMAND)
    run = read_names(source.pk)
    assert run is not None
    return run


def build_projects(**names: str) -> NameListing:
    return NameListing(NameKind.PROJECT, [Name(vendor_id, name) for vendor_id, name in names.items()])


def get_stored_names(source: Source) -> dict[str, tuple[str, bool]]:
    """Return the name of every project, and whether it is gone."""
    entries = DirectoryEntry.objects.filter(source=source, kind=NameKind.PROJECT)
    return {entry.vendor_id: (entry.name, entry.gone_at is not None) for entry in entries}


@pytest.fixture
def ona(sandbox: SandboxServer, settings: Any) -> Source:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    return make_source("ona", vendor="ona", base_url=build_sandbox_url("ona", sandbox.url), credential="sandbox-key")


def test_names_and_memberships_are_read_from_the_vendor_and_a_second_read_changes_nothing(ona: Source) -> None:
    run = read(ona)
    assert (run.subject, run.days_done, run.error) == (Subject.NAMES, 1, "")
    assert run.inserted == run.fetched == DirectoryEntry.objects.count() > 80
    assert run.requests > 10
    users = DirectoryEntry.objects.filter(kind=NameKind.USER)
    teams = {team.vendor_id for team in DirectoryEntry.objects.filter(kind=NameKind.TEAM)}
    assert {team for user in users for team in user.team_ids} == teams
    assert any(len(user.team_ids) == 2 for user in users)
    assert all(user.group_ids and user.name and user.email and user.pseudonym for user in users)
    assert Directory.objects.get().version == 1
    second_run = read(ona)
    assert (second_run.inserted, second_run.changed, second_run.withdrawn, second_run.unchanged) == (
        0,
        0,
        0,
        run.fetched,
    )
    assert Directory.objects.get().version == 1
    assert not SourceDay.objects.exists(), "names plan no usage"


def test_what_the_credential_may_not_read_is_told_and_harms_nothing_else(ona: Source, sandbox: SandboxServer) -> None:
    read(ona)
    vendors: Any = sandbox.upstream.vendors
    vendors["ona"].names.refused = frozenset({f"/api{MEMBERS}", f"/api{TEAM_MEMBERS}"})
    run = read(ona)
    directory = Directory.objects.get()
    assert run.error == directory.error == ""
    assert set(directory.refused) == {"User", "Members of teams"}
    assert all("403" in reason for reason in directory.refused.values())
    users = DirectoryEntry.objects.filter(kind=NameKind.USER)
    assert not users.filter(gone_at__isnull=False).exists(), "what cannot be read is not gone"
    assert any(user.team_ids for user in users)
    ona.refresh_from_db()
    assert (ona.halted_at, ona.failures) == (None, 0)
    page = sign_in_as("administrator").get(reverse("admin:usage_source_change", args=[ona.pk]))
    assert "does not give all names to this credential" in page.content.decode()
    fields = create_api_client("sync:read").get(f"{API}/sources/ona/").json()["directory"]
    assert set(fields["refused"]) == {"User", "Members of teams"}


def test_a_changed_name_replaces_the_old_one_and_a_vanished_one_stays_marked(source: Source, script: Script) -> None:
    script["listings"] = [build_projects(a="Alpha", b="Beta")]
    read(source)
    script["listings"] = [build_projects(a="Alpha 2", c="Gamma")]
    run = read(source)
    assert (run.inserted, run.changed, run.withdrawn) == (1, 1, 1)
    assert get_stored_names(source) == {"a": ("Alpha 2", False), "b": ("Beta", True), "c": ("Gamma", False)}
    script["listings"] = [build_projects(a="Alpha 2", b="Beta", c="Gamma")]
    assert read(source).returned == 1
    assert get_stored_names(source)["b"] == ("Beta", False)
    assert Directory.objects.get().version == 3


def test_a_project_that_the_vendor_lists_as_deleted_is_gone(source: Source, script: Script) -> None:
    script["listings"] = [NameListing(NameKind.PROJECT, [Name("1", "Old", is_gone=True)])]
    read(source)
    assert get_stored_names(source) == {"1": ("Old", True)}
    assert read(source).withdrawn == 0


@pytest.mark.parametrize("text", ["nul\0", "x" * 5000])
def test_a_name_that_cannot_be_stored_as_it_is_fails_nothing(source: Source, script: Script, text: str) -> None:
    script["listings"] = [NameListing(NameKind.PROJECT, [Name("1", text), Name(f"id{text}", "left out")])]
    run = read(source)
    assert run.error == ""
    assert len(get_stored_names(source)["1"][0].encode()) <= 1000
    assert len(get_stored_names(source)) == 1


def test_a_failed_read_is_told_beside_the_source_and_tried_again_later(source: Source, script: Script) -> None:
    script["listings"] = [build_projects(a="Alpha")]
    read(source)
    script["error"] = VendorUnavailable("scripted.example cannot answer now.")
    run = read(source)
    assert (run.days_failed, run.error) == (1, "scripted.example cannot answer now.")
    directory = Directory.objects.get()
    assert directory.error == run.error
    assert directory.due_at < datetime.now(UTC) + timedelta(minutes=5)
    assert get_stored_names(source) == {"a": ("Alpha", False)}
    script["error"] = CredentialError("refused")
    read(source)
    source.refresh_from_db()
    assert source.halted_at is None, "only a read of usage halts a source"
    script["error"] = ValueError("a mistake of ours")
    assert "Unexpected ValueError" in read(source).error
    script["error"] = None
    assert read(source).error == ""
    assert Directory.objects.get().error == ""


def test_names_are_read_once_a_day_and_at_once_on_demand(source: Source, script: Script) -> None:
    first = plan_names(source)
    assert first is not None
    assert first.trigger == Trigger.SCHEDULE
    assert plan_names(source) == request_names(source, Trigger.API, "ada") == first, "one run at a time"
    read_names(source.pk)
    assert plan_names(source) is None
    assert request_names(source, Trigger.API, "ada") != first
    read_names(source.pk)
    Directory.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert plan_names(source) is not None


def test_a_worker_whose_lease_was_taken_over_changes_nothing(source: Source, script: Script) -> None:
    def take_over() -> None:
        script["during"] = None
        assert read_names(source.pk) is None, "while the lease holds, nobody else reads"
        Directory.objects.update(lease_expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        script["listings"] = [build_projects(a="of the second")]
        assert read_names(source.pk) is not None
        script["listings"] = [build_projects(a="of the first")]

    script["during"] = take_over
    run = read(source)
    assert run.days_done == 1
    assert get_stored_names(source) == {"a": ("of the second", False)}


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_a_lease_is_renewed_once_a_third_of_it_has_passed(
    source: Source, script: Script, settings: Any, is_taken_over: bool
) -> None:
    request_names(source, Trigger.ADMIN)
    claim = claim_names(source.pk)
    assert claim is not None
    lease_end = Directory.objects.get().lease_expires_at
    claim.renew()
    assert Directory.objects.get().lease_expires_at == lease_end, "it was just taken"

    claim.renewed_at -= settings.PORTAL_LEASE_SECONDS
    Directory.objects.update(attempt=claim.attempt + is_taken_over, lease_expires_at=OLD)
    with pytest.raises(LeaseLost) if is_taken_over else nullcontext():
        claim.renew()
    assert (Directory.objects.get().lease_expires_at > OLD) is not is_taken_over


def test_the_failure_of_a_worker_whose_lease_was_taken_over_is_not_recorded(source: Source, script: Script) -> None:
    def take_over() -> None:
        Directory.objects.update(attempt=99)

    script["during"] = take_over
    script["error"] = VendorUnavailable("scripted.example cannot answer now.")
    assert read(source).finished_at is None
    directory = Directory.objects.get()
    assert (directory.error, directory.failures) == ("", 0)


def test_names_of_a_vendor_that_the_portal_does_not_know_are_not_asked_for(source: Source) -> None:
    with pytest.raises(SyncError, match="its vendor gives no names"):
        request_names(source, Trigger.API)
    assert not SyncRun.objects.exists()


def test_a_team_whose_id_cannot_be_stored_is_left_out_of_the_teams_of_its_users(source: Source, script: Script) -> None:
    teams = NameListing(NameKind.TEAM, [Name("t1", "One")], members={"t1": ["ada", "ada"], "x\0": ["ada"]})
    script["listings"] = [NameListing(NameKind.USER, [Name("ada", "Ada")]), teams]
    assert read(source).error == ""
    assert DirectoryEntry.objects.get(kind=NameKind.USER).team_ids == ["t1"]


@pytest.mark.parametrize(
    ("lease", "error", "reason"),
    [
        (OLD, VendorUnavailable("It cannot answer now."), "scripted: It cannot answer now."),
        (datetime(2999, 1, 1, tzinfo=UTC), None, "scripted: another worker reads its names, or the source is paused."),
    ],
)
def test_the_command_tells_of_each_source_whose_names_it_could_not_read(
    source: Source, script: Script, lease: datetime, error: SyncError | None, reason: str
) -> None:
    script["error"] = error
    Directory.objects.create(source=source, lease_expires_at=lease)
    with pytest.raises(CommandError) as refused:
        call_command("sync", "scripted", "--names")
    assert refused.value.returncode == 1
    assert str(refused.value) == reason


def test_a_source_that_is_deleted_or_a_run_that_is_cancelled_meanwhile_is_no_error(
    source: Source, script: Script
) -> None:
    request_names(source, Trigger.ADMIN)
    script["during"] = lambda: cancel(SyncRun.objects.get(), "ada")
    run = read_names(source.pk)
    assert run is not None
    assert (run.cancelled_at is not None, run.days_done) == (True, 0)
    script["during"] = lambda: delete_source(source)
    request_names(source, Trigger.ADMIN)
    assert read_names(source.pk) is None
    assert not DirectoryEntry.objects.exists()


def test_names_are_read_by_one_of_the_workers_that_a_source_allows(source: Source, script: Script) -> None:
    ensure_days(source, DAY, DAY + timedelta(days=3))
    SourceDay.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    request_names(source, Trigger.ADMIN)
    assert claim_day(source.pk, "first") is not None
    assert claim_day(source.pk, "second") is None, "one of two is left to the names that wait"
    script["during"] = lambda: script.update(meanwhile=claim_day(source.pk, "second"))
    assert read_names(source.pk) is not None
    assert script["meanwhile"] is None
    assert claim_day(source.pk, "second") is not None
    request_names(source, Trigger.ADMIN)
    assert read_names(source.pk) is None, "as many workers as are allowed read days"


def test_a_source_that_is_switched_off_is_not_asked_for_names(source: Source, script: Script) -> None:
    Source.objects.update(enabled=False)
    source.refresh_from_db()
    with pytest.raises(SyncError, match="switched off"):
        request_names(source, Trigger.API)
    assert read_names(source.pk) is None


def test_folders_are_named_by_the_latest_usage(sandbox: SandboxServer, settings: Any) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    url = build_sandbox_url("workato", sandbox.url)
    source = make_source("workato", vendor="workato", base_url=url, credential="sandbox-key")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for hours, name in ((3, "Orders"), (1, "Orders 2")):
        at = now - timedelta(hours=hours)
        RecipeUsageFactory(
            source=source, day=at.date(), starts_at=at, ends_at=at + timedelta(hours=1), folder_id=7, folder_name=name
        )
    read(source)
    assert DirectoryEntry.objects.get(kind=NameKind.FOLDER).name == "Orders 2"
    assert DirectoryEntry.objects.filter(kind=NameKind.RECIPE).exists()
    assert DirectoryEntry.objects.filter(kind=NameKind.WORKSPACE).count() == 12


def test_the_pages_the_api_and_the_command_ask_for_names(ona: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.tasks.read_names.apply_async", lambda *args, **kwargs: None)
    operator = sign_in_as("operator")
    page = reverse("admin:usage_source_do", args=[ona.pk, "read-names"])
    assert "The names of ona will be read" in operator.post(page, follow=True).content.decode()
    assert Client().post(page).status_code == 302
    assert sign_in_as().post(page).status_code == 403
    client = create_api_client("sync:run")
    response = client.post(f"{API}/sources/ona/sync-names/")
    assert (response.status_code, response.json()["subject"], response.json()["trigger"]) == (202, "names", "admin")
    assert create_api_client("sync:read").post(f"{API}/sources/ona/sync-names/").status_code == 403
    out = StringIO()
    call_command("sync", "ona", "--names", stdout=out)
    assert "new" in out.getvalue()
    runs = create_api_client("sync:read").get(f"{API}/sync-runs/", {"subject": "names"}).json()["results"]
    assert [run["days_done"] for run in runs] == [1]
    run_list = operator.get(reverse("admin:sync_syncrun_changelist"))
    assert "Names" in run_list.content.decode()
    with pytest.raises(CommandError, match="leave --from"):
        call_command("sync", "ona", "--names", "--from", "2026-11-01")
    Source.objects.update(enabled=False)
    assert client.post(f"{API}/sources/ona/sync-names/").status_code == 409


def test_a_tick_sends_for_names_that_are_due(source: Source, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Any] = []
    monkeypatch.setattr("sync.tasks.read_names.apply_async", lambda args, **kwargs: queued.append(args[0]))
    send_names(source)
    assert queued == [source.pk]
    read_names(source.pk)
    send_names(source)
    assert queued == [source.pk]


def test_a_pseudonym_is_a_short_word_that_stays() -> None:
    assert build_pseudonym("b14c8e5e") == build_pseudonym("b14c8e5e")
    pseudonyms = {build_pseudonym(str(number)) for number in range(1000)}
    assert len(pseudonyms) >= 998
    assert all(pseudonym.isalpha() and len(pseudonym) == 10 for pseudonym in pseudonyms)
