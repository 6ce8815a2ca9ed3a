"""Exports over archived days come from the lake, byte for byte what they were before the month was archived."""

import io
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse
from pyarrow import parquet
from pytest_django import DjangoDbBlocker

from portal.accounts.models import Scope
from tests.support.api_clients import API, READ, create_api_client, get, get_problem_details
from tests.support.archivable_days import MONTH, NEXT_MONTH, make_source, store_days
from tests.support.archived_month import find_file
from tests.support.database import commit_rows
from tests.support.exports import download
from tests.support.lake import open_folder
from tests.support.users import sign_in_as
from usage.data_quality import assess_intervals
from usage.data_quality.coverage import get_coverage
from usage.data_quality.messages import describe_quality
from usage.explore.charts import describe_days
from usage.explore.quality import describe_answer_quality
from usage.lake.archive import archive_month
from usage.models import (
    KINDS,
    DirectoryEntry,
    EnvironmentUsage,
    NameKind,
    RecipeUsage,
    ResourceUsage,
    Source,
    SourceDay,
)

pytestmark = pytest.mark.django_db
Request = tuple[str, dict[str, str]]
# Wholly archived, wholly not, across, and with a part of a day at either end.
RANGES = (
    {},
    {"from": "2025-06-28", "to": "2025-07-01"},
    {"from": "2025-07-02", "to": "2025-07-03"},
    {"from": "2025-06-30", "to": "2025-07-02", "tz": "Asia/Tokyo"},
    {"from": "2025-06-29T03:30:00Z", "to": "2025-07-02T05:00:00Z"},
)


# Pages of the lists that give files.
ADDRESSES = (
    ("environmentusage", "names=1&format=csv&from=2025-06-29&to=2025-07-03"),
    ("resourceusage", "format=ndjson&ordering=resource_type&from=2025-06-29&to=2025-07-03"),
)
MANIFESTS = [
    (kind, params) for kind in KINDS for params in RANGES if kind != "resource-usage" or "T" not in str(params)
]
DAYS = {"from_": "2025-06-28", "to": "2025-07-02"}


@dataclass
class Archived:
    """An archived month: its sources, the folder of the lake, and responses from before it was archived."""

    folder: Path
    sources: list[Source]
    exports: list[bytes]
    limited_exports: list[bytes]
    manifests: list[Any]
    files: list[bytes]
    totals: Any


@pytest.fixture(scope="module")
def stored(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Archived]:
    """A month that is archived once for all tests of this module."""
    with commit_rows(django_db_blocker), open_folder(tmp_path_factory) as folder:
        sources = make_sources()
        limited = create_api_client(sources=[sources[1], sources[3]])
        month = Archived(
            folder,
            sources,
            fetch_exports(),
            [fetch(limited, (kind, {"format": "csv"})) for kind in KINDS],
            [fetch_manifest(create_api_client(), *request) for request in MANIFESTS],
            fetch_files(),
            get(create_api_client(), "resource-usage/summary/", **DAYS, source="gcore-1")["totals"],
        )
        archive_month(MONTH)
        yield month


@pytest.fixture
def archived(stored: Archived, db: None) -> Archived:
    """The archived month."""
    return stored


@pytest.fixture
def sources(archived: Archived) -> list[Source]:
    """The sources of the archived month."""
    return [Source.objects.get(pk=source.pk) for source in archived.sources]


def make_sources() -> list[Source]:
    """Return sources of every kind, two of them in other zones than UTC, with days in June and July."""
    created = [
        make_source(EnvironmentUsage, "ona-1"),
        make_source(EnvironmentUsage, "ona-tokyo", time_zone="Asia/Tokyo"),
        make_source(ResourceUsage, "gcore-2"),
        make_source(ResourceUsage, "gcore-1"),
        make_source(RecipeUsage, "workato-1", time_zone="America/New_York"),
    ]
    for source in created:
        store_days(source)
    DirectoryEntry.objects.create(source=created[0], kind=NameKind.PROJECT, vendor_id="ab", name="Payments")
    DirectoryEntry.objects.create(
        source=created[0],
        kind=NameKind.USER,
        vendor_id="user-1",
        name="Ada",
        email="a@example.com",
        pseudonym="Kolibri",
    )
    return created


def list_requests() -> Iterator[Request]:
    """Yield exports of the API."""
    for kind in KINDS:
        for params in RANGES if kind != "resource-usage" else RANGES[:3]:
            yield kind, {"format": "csv", **params}
        for extension in ("ndjson", "parquet", "xlsx"):
            yield kind, {"format": extension, "from": "2025-06-29", "to": "2025-07-03"}
    yield "environment-usage", {"format": "xlsx", **RANGES[3]}
    for ordering in ("stopped_at", "project_id", "-project_id", "-changed_at", "environment_id"):
        yield "environment-usage", {"format": "csv", "ordering": ordering, "fields": "record_id,runtime_seconds"}
    for ordering in ("day", "-resource_type", "changed_at"):
        yield "resource-usage", {"format": "ndjson", "ordering": ordering, "fields": "resource_name,consumed_quantity"}
    yield "recipe-usage", {"format": "csv", "ordering": "workspace_id", "fields": "id,source,folder_name"}
    yield "environment-usage", {"format": "csv", "source": "ona-tokyo", "fields": "day", "bom": "1"}
    yield "environment-usage", {"format": "csv", "vendor": "ona", "fields": "id,project_name,user_name"}
    yield "environment-usage", {"format": "csv", "include_withdrawn": "false", "fields": "id"}


def fetch(client: Client, request: Request) -> bytes:
    """Return the rows of an export: of a workbook its sheet, as another says when the file was made."""
    kind, params = request
    body = download(client, kind, **params)
    if params["format"] != "xlsx":
        return body
    with zipfile.ZipFile(io.BytesIO(body)) as book:
        return book.read("xl/worksheets/sheet1.xml")


def fetch_exports() -> list[bytes]:
    """Return the exports of the API that `list_requests` names."""
    client = create_api_client(*READ, Scope.PERSON_READ)
    with override_settings(PORTAL_PERSON_NAMES="pseudonym"):
        return [fetch(client, request) for request in list_requests()]


def test_every_export_is_the_same_before_and_after_a_month_is_archived(
    archived: Archived, sources: list[Source]
) -> None:
    assert min(map(len, archived.exports)) > 30
    assert not any(kind.objects.filter(day__lt=NEXT_MONTH).exists() for kind in KINDS.values())
    for request, export, expected in zip(list_requests(), fetch_exports(), archived.exports, strict=True):
        assert export == expected, request
    limited = create_api_client(sources=[sources[1], sources[3]])
    assert [fetch(limited, (kind, {"format": "csv"})) for kind in KINDS] == archived.limited_exports
    assert b"Payments" in archived.exports[-2]
    assert b"Kolibri" in archived.exports[-2]
    reason = get_problem_details(
        create_api_client().get(f"{API}/environment-usage/", {"format": "csv", "fields": "user_name"})
    )
    assert "person:read" in reason["fields"][0]


def test_manifests_are_the_same_too_and_say_what_comes_from_the_lake(archived: Archived) -> None:
    client = create_api_client()
    for request, old in zip(MANIFESTS, archived.manifests, strict=True):
        new = fetch_manifest(client, *request)
        archived_days = new["meta"].pop("archived_days")
        assert (archived_days["total"] > 0, archived_days["answered_from"]) == (request[1] != RANGES[2], "lake")
        for manifest in (old, new):
            manifest["meta"].pop("as_of")
            manifest["meta"].pop("archived_days", None)
        assert new == old, request
    headers = client.get(f"{API}/resource-usage/", {"format": "csv", **RANGES[1]})
    assert (headers["Portal-Complete"], headers["Portal-Archived-Days"]) == ("true", "6")
    refusal = client.get(f"{API}/environment-usage/export-manifest/", {"project_id": "ab"})
    assert "restore_archive" in get_problem_details(refusal)["project_id"][0]


def fetch_manifest(client: Client, kind: str, params: dict[str, str]) -> Any:
    """Return the manifest of an export."""
    return get(client, f"{kind}/export-manifest/", **{f"{name}_": value for name, value in params.items()})


def test_lists_and_sums_say_which_days_are_archived_and_where_to_ask(archived: Archived) -> None:
    client, params = create_api_client(), {**DAYS, "source": "gcore-1"}
    page = get(client, "resource-usage/", **params)
    assert page["archived_days"]["total"] == 3
    assert page["archived_days"]["days"][0] == {"source": "gcore-1", "day": "2025-06-28"}
    assert "archived_days" not in get(client, "resource-usage/", **params, page_size="5")
    assert "archived_days" not in get(client, "resource-usage/", from_="2025-07-01", source="gcore-1")
    rolled_up = get(client, "resource-usage/summary/", **params)
    assert (rolled_up["totals"], rolled_up["meta"]["complete"]) == (archived.totals, True)
    assert rolled_up["meta"]["archived_days"]["answered_from"] == "roll-ups"
    assert rolled_up["meta"]["pruned_days"]["total"] == 0
    days = "gcore-1 28 Jun 2025 – 30 Jun 2025"
    assert f"The records of 3 days are archived, so their sums come from roll-ups: {days}." in list(
        describe_quality(rolled_up["meta"])
    )
    meta = get(client, "resource-usage/summary/", **params, group_by="resource_id")["meta"]
    assert (meta["complete"], meta["archived_days"]["answered_from"]) == (False, None)
    quality = describe_answer_quality(meta)
    assert quality.tone == "warn"
    assert quality.sentences[0].startswith(f"Not complete: 3 days archived ({days}).")
    assert quality.sentences[-1] == "Archived days are not in these numbers; an export has them, or the lake."
    assert quality.days[0][0] == "Days whose records are archived (3)"
    tokyo_meta = get(client, "environment-usage/summary/", **DAYS, source="ona-tokyo")["meta"]
    assert "the lake; roll-ups have their sums, by days of Asia/Tokyo." in describe_answer_quality(tokyo_meta).text


def test_of_an_archived_day_that_differs_no_answer_says_that_it_is_read_again(sources: list[Source]) -> None:
    SourceDay.objects.filter(source=sources[3], day=date(2025, 6, 28)).update(mismatch=[{"code": "archive"}])
    meta = get(create_api_client(), "resource-usage/summary/", **DAYS, source=sources[3].slug)["meta"]
    assert "found 1 day different; those that are not archived are being read again" in " ".join(describe_quality(meta))


def test_charts_coverage_and_totals_of_lists_say_archived(sources: list[Source]) -> None:
    bounds = [datetime(2025, month, 1, tzinfo=UTC) for month in (6, 7)]

    (june,) = assess_intervals([sources[2]], bounds)

    assert (june.archived, june.pruned) == (3, 0)
    assert "3 of 3 without records, which are archived" in describe_days(june)
    assert assess_intervals([sources[2]], bounds, rolled_up=True)[0].archived == 0
    coverage = get_coverage([sources[2]])[sources[2].pk]
    assert (coverage.archived, coverage.pruned) == (3, 0)
    assert "3 days whose records are archived" in coverage.description
    address = reverse("admin:usage_resourceusage_totals")
    page = sign_in_as("administrator").get(address, {"from": "2025-06-28", "to": "2025-07-02", "source": "gcore-2"})
    assert "are archived, so their sums come from roll-ups" in page.content.decode()


def fetch_files() -> list[bytes]:
    """Return the files that the pages of ADDRESSES give."""
    client, files = sign_in_as("administrator"), []
    for model, query in ADDRESSES:
        response: Any = client.get(f"{reverse(f'admin:usage_{model}_export')}?{query}")
        assert response.status_code == 200
        files.append(b"".join(response.streaming_content))
    return files


def test_files_of_the_lists_are_the_same_too(archived: Archived) -> None:
    assert fetch_files() == archived.files
    model, query = ADDRESSES[0]
    address = f"{reverse(f'admin:usage_{model}_export')}?{query}&project_id=ab"
    refusal = sign_in_as("administrator").get(address, follow=True)
    assert "restore_archive 2025-06" in refusal.content.decode()


@pytest.mark.usefixtures("archived")
def test_a_filter_that_the_lake_does_not_answer_is_refused_and_named(subtests: pytest.Subtests) -> None:
    client = create_api_client()
    for filters in (
        {"project_id": "ab"},
        {"user_id": "~none"},
        {"include_withdrawn": "true"},
        {"runtime_seconds__gt": "1"},
    ):
        (name,) = filters
        with subtests.test(name):
            reason = get_problem_details(client.get(f"{API}/environment-usage/", {"format": "csv", **filters}))[name][0]
            assert "2025-06-28 to 2025-06-30" in reason
            assert "restore_archive 2025-06" in reason
            assert download(client, "environment-usage", format="csv", **{"from": "2025-07-02"}, **filters)


@pytest.mark.usefixtures("archived")
def test_followers_go_on_where_what_they_ask_for_is_later_than_what_is_archived() -> None:
    client = create_api_client()

    assert download(client, "environment-usage", format="csv", updated_since="2025-08-01").count(b"\n") > 1
    assert "updated_since" in get_problem_details(
        client.get(f"{API}/environment-usage/", {"format": "csv", "updated_since": "2025-06-30"})
    )


def test_without_the_lake_an_export_is_refused_in_words_before_its_first_byte(
    archived: Archived, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, address = create_api_client(), f"{API}/environment-usage/?format=csv"
    url = settings.PORTAL_LAKE_URL

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "usage.lake.query", None)
        assert "the extra `lake` is not installed" in get_problem_details(client.get(address), 503)[""][0]
    settings.PORTAL_LAKE_URL = ""
    assert "PORTAL_LAKE_URL is not set" in get_problem_details(client.get(address), 503)[""][0]
    settings.PORTAL_LAKE_URL = url
    moved_folder = archived.folder.rename(archived.folder.with_name("away"))
    try:
        response = client.get(address)
        assert response["Retry-After"]
        assert "does not answer" in get_problem_details(response, 503)[""][0]
        assert download(client, "environment-usage", format="csv", **{"from": "2025-07-02"})
    finally:
        moved_folder.rename(archived.folder)


def test_an_export_breaks_off_where_the_lake_lacks_records(sources: list[Source]) -> None:
    with commit_more_records(sources[0], date(2025, 6, 29)):
        response = create_api_client().get(f"{API}/environment-usage/?format=csv&ordering=stopped_at&to=2025-06-30")

    assert "ona-1 2025-06-29" in get_problem_details(response, 503)[""][0]


@contextmanager
def commit_more_records(source: Source, day: date) -> Iterator[None]:
    """Add one to the record count of a day for the time of the block, committed: an export has its own connection."""
    with closing(connection.copy()) as other_connection, other_connection.cursor() as cursor:
        statement = "UPDATE usage_sourceday SET records = records + %s WHERE source_id = %s AND day = %s"
        cursor.execute(statement, [1, source.pk, day])
        try:
            yield
        finally:
            cursor.execute(statement, [-1, source.pk, day])


@pytest.mark.usefixtures("archived")
def test_an_export_breaks_off_where_a_file_was_damaged_and_can_still_be_unpacked() -> None:
    path = find_file("environment_usage", "ona-1", date(2025, 6, 29))
    original = path.read_bytes()
    try:
        change_a_page(path)
        assert parquet.read_table(path)["id"].to_pylist(), "without the checksums it reads as before"

        response = create_api_client().get(f"{API}/environment-usage/?format=csv&source=ona-1")
    finally:
        path.write_bytes(original)

    assert "cannot be read from the lake" in get_problem_details(response, 503)[""][0]


def change_a_page(path: Path) -> None:
    """Change a bit of a file such that its page can still be unpacked."""
    original = path.read_bytes()
    expected = parquet.read_table(path)
    for position in range(4, len(original)):
        path.write_bytes(original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :])
        try:
            changed = not parquet.read_table(path).equals(expected)
        except (OSError, ValueError):
            continue
        if changed:
            return
    raise AssertionError


@pytest.mark.usefixtures("archived")
def test_nothing_of_a_sort_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = create_api_client()

    download(client, "environment-usage", format="csv")
    response: Any = client.get(f"{API}/environment-usage/?format=csv&ordering=project_id")
    next(response.streaming_content)
    response.close()

    assert list(tmp_path.glob("portal-lake-*")) == []
