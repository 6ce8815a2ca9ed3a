"""The contract of every vendor's reader: it applies to each folder under sync/vendors/, without an entry here."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

import pytest
import stamina

from sync.errors import CredentialError, InvalidResponse, SyncError
from sync.http import VendorHTTP
from sync.sandbox.world import Edit, World
from sync.vendors import readers
from sync.vendors.base import VendorReader
from tests.support.made_up_vendor import NAME, install_vendor
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import build_sandbox_url, connect_reader, list_rows, read_pages
from usage.days import Day
from usage.models import KINDS, Verification

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
ZONE = "Europe/Berlin"
NUMBER = "12345678901234567890.1000000000000000001"

pytestmark = pytest.mark.parametrize("vendor", [*sorted(readers()), NAME])


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture(autouse=True)
def _made_up_vendor(vendor: str, tmp_path: Path) -> Iterator[None]:
    """Install the vendor of docs/adding-a-vendor.md, which reads by GET, as the contract applies to it too."""
    with install_vendor(tmp_path) if vendor == NAME else nullcontext():
        yield


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, zone=ZONE)) as server:
        yield server


@pytest.fixture
def reader(vendor: str, sandbox: SandboxServer) -> Iterator[VendorReader]:
    with connect_reader(vendor, build_sandbox_url(vendor, sandbox.url), zone=get_zone(vendor)) as connection:
        yield connection


def get_zone(vendor: str) -> str:
    return readers()[vendor].time_zone or ZONE


def get_day(vendor: str, month: int = 11, day: int = 3) -> Day:
    return Day.of(date(2026, month, day), get_zone(vendor))


def list_keys(reader: VendorReader, usage_rows: list[Any]) -> list[tuple[Any, ...]]:
    """Return what identifies each row within its day."""
    names = [name for name in reader.kind.key if name in reader.kind.row._fields]  # type: ignore[attr-defined]
    return [tuple(getattr(row, name) for name in names) for row in usage_rows]


class EveryResponse(VendorHTTP):
    """Changes the body of every response, however it is requested."""

    def change(self, body: bytes) -> bytes:
        """Return the changed body; each subclass has its own change."""
        raise NotImplementedError

    def get(self, path: str, params: Any = None) -> bytes:
        return self.change(super().get(path, params))

    def post(self, path: str, body: bytes) -> bytes:
        return self.change(super().post(path, body))

    def post_once(self, path: str, body: bytes) -> bytes:
        return self.change(super().post_once(path, body))

    def post_ahead(self, path: str, body: bytes) -> Callable[[], bytes]:
        get_body = super().post_ahead(path, body)
        return lambda: self.change(get_body())


class WithAnUnknownField(EveryResponse):
    """Adds an unknown field to every record of every response."""

    def change(self, body: bytes) -> bytes:
        content = json.loads(body, parse_float=Decimal)
        for records in content.values() if isinstance(content, dict) else [content]:
            for record in records if isinstance(records, list) else ():
                record["not_known_yet"] = NUMBER
        text = json.dumps(content, default=lambda number: f"<<{number}>>")
        return text.replace('"<<', "").replace('>>"', "").replace(f'"{NUMBER}"', NUMBER).encode()


class Nonsense(EveryResponse):
    """Responds with a body that is no page, whatever is requested."""

    body = b"[]"

    def change(self, body: bytes) -> bytes:
        return self.body


def test_a_reader_says_what_it_reads_and_where(vendor: str):
    reader = readers()[vendor]
    assert reader.kind in KINDS.values()
    assert reader.title
    assert reader.base_url.startswith("https://")
    assert urlsplit(reader.base_url).hostname in reader.hosts
    assert reader.build_authorization("the-key").endswith(" the-key")
    assert reader.time_zone is None or Day.of(NOW.date(), reader.time_zone)


def test_an_option_that_is_not_known_is_refused_by_name(vendor: str):
    with pytest.raises(SyncError, match=r"Options of .*not_an_option"):
        readers()[vendor].parse_options({"not_an_option": 1})


@pytest.mark.parametrize(("month", "day"), [(11, 3), (10, 25)])
def test_rows_are_of_the_kinds_type_with_the_right_values_in_every_column(
    vendor: str, reader: VendorReader, month: int, day: int
):
    usage_rows = list_rows(read_pages(reader, get_day(vendor, month, day))[0])
    assert {type(row) for row in usage_rows} == {reader.kind.row}
    hints = {name: get_args(hint) or (hint,) for name, hint in get_type_hints(reader.kind.row).items()}
    for row in usage_rows:
        for name, value in row._asdict().items():
            assert type(value) in hints[name], name
            if isinstance(value, datetime):
                assert value.utcoffset() is not None
            if isinstance(value, Decimal):
                assert value.is_finite()
        assert isinstance(json.loads(row.extra or "{}"), dict)
    assert NoneType in hints["extra"]


@pytest.mark.parametrize(("month", "day"), [(11, 3), (10, 25)])
def test_keys_are_unique_within_a_day_and_every_row_belongs_to_it(
    vendor: str, reader: VendorReader, month: int, day: int
):
    on = get_day(vendor, month, day)
    usage_rows = list_rows(read_pages(reader, on)[0])
    assert len(usage_rows) > 10
    assert len(set(list_keys(reader, usage_rows))) == len(usage_rows)
    instant = reader.kind.instant
    if instant in usage_rows[0]._fields:
        assert all(on.start <= getattr(row, instant) < on.end for row in usage_rows)


def test_reading_a_day_twice_gives_the_same_rows(vendor: str, reader: VendorReader, sandbox: SandboxServer):
    on = get_day(vendor)
    first = Counter(list_rows(read_pages(reader, on)[0]))
    assert Counter(list_rows(read_pages(reader, on)[0])) == first
    with connect_reader(vendor, build_sandbox_url(vendor, sandbox.url), zone=get_zone(vendor)) as second_reader:
        assert Counter(list_rows(read_pages(second_reader, on)[0])) == first


def test_a_whole_day_is_verified_where_there_is_a_checksum_and_never_unverified(vendor: str, reader: VendorReader):
    pages, comparison = read_pages(reader, get_day(vendor))
    assert not any(page.rejected for page in pages)
    assert comparison.verification in {Verification.VERIFIED, Verification.NONE}
    assert comparison.differences == []


def test_an_emptied_day_has_no_rows(vendor: str, reader: VendorReader, sandbox: SandboxServer):
    on = get_day(vendor)
    # The stand-in's days may be of another zone than the source's, so the days around are emptied as well.
    for around in (-1, 0, 1):
        sandbox.world.edits[vendor, on.date + timedelta(days=around)] = Edit(emptied=True)
    pages, comparison = read_pages(reader, on)
    assert list_rows(pages) == []
    assert comparison.verification != Verification.UNVERIFIED


def test_fields_that_are_not_known_are_kept_to_the_last_digit(
    vendor: str, reader: VendorReader, sandbox: SandboxServer
):
    on = get_day(vendor)
    plain = list_rows(read_pages(reader, on)[0])
    with connect_reader(
        vendor, build_sandbox_url(vendor, sandbox.url), zone=get_zone(vendor), http_type=WithAnUnknownField
    ) as changed_reader:
        usage_rows = list_rows(read_pages(changed_reader, on)[0])
    assert sorted(list_keys(reader, usage_rows), key=str) == sorted(list_keys(reader, plain), key=str)
    with_field = [
        row for row in usage_rows if f'"not_known_yet":{NUMBER}' in f"{row.extra}{getattr(row, 'details', '')}"
    ]
    derived = [row for row in usage_rows if row not in with_field]
    # A row that the reader works out itself, of sums, has no record of the vendor's to take a field from.
    assert len(with_field) > len(derived)
    assert set(derived) <= set(plain)


def test_one_bad_record_is_rejected_and_the_others_are_kept(vendor: str, reader: VendorReader, sandbox: SandboxServer):
    on = get_day(vendor)
    before = set(list_keys(reader, list_rows(read_pages(reader, on)[0])))
    sandbox.faults.next(f"{vendor}.bad_record")
    pages, comparison = read_pages(reader, on)
    rejected = [record for page in pages for record in page.rejected]
    assert len(rejected) == 1
    assert json.loads(rejected[0].payload)
    assert rejected[0].reason
    after = set(list_keys(reader, list_rows(pages)))
    assert after <= before
    assert len(before - after) <= 1
    assert comparison.verification != Verification.VERIFIED


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b"<!doctype html>", b'{"error": "moved"}'])
def test_an_answer_of_another_shape_fails_the_load_and_is_kept(
    vendor: str, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch, body: bytes
):
    monkeypatch.setattr(Nonsense, "body", body)
    with connect_reader(vendor, build_sandbox_url(vendor, sandbox.url), http_type=Nonsense) as reader:
        with pytest.raises(InvalidResponse) as exc_info:
            read_pages(reader, get_day(vendor))
        assert exc_info.value.payload == body.decode()
        with pytest.raises(InvalidResponse):
            reader.probe()


def test_a_refused_credential_ends_the_read_and_the_probe(vendor: str, sandbox: SandboxServer):
    with connect_reader(vendor, build_sandbox_url(vendor, sandbox.url), credential="wrong-key") as reader:
        with pytest.raises(CredentialError) as exc_info:
            read_pages(reader, get_day(vendor))
        assert "wrong-key" not in exc_info.value.reason
        with pytest.raises(CredentialError):
            reader.probe()


def test_a_read_survives_what_usually_goes_wrong_on_the_way(vendor: str, reader: VendorReader, sandbox: SandboxServer):
    on = get_day(vendor)
    plain = Counter(list_rows(read_pages(reader, on)[0]))
    for fault in ("rate_limited", "unavailable", "reset", "truncated"):
        sandbox.faults.next(f"{vendor}.{fault}")
        assert Counter(list_rows(read_pages(reader, on)[0])) == plain
    assert reader.http.stats.retries == 4


def test_listings_of_names_hold_an_id_once_and_name_what_usage_refers_to(vendor: str, reader: VendorReader):
    listings = {listing.kind: listing for listing in reader.directory()}
    assert listings
    for listing in listings.values():
        assert not listing.refused
        ids = [name.vendor_id for name in listing.names]
        assert ids
        assert all(ids)
        assert len(ids) == len(set(ids))
        assert all(isinstance(text, str) for name in listing.names for text in (name.vendor_id, name.name, name.email))
    for row in list_rows(read_pages(reader, get_day(vendor))[0]):
        for kind in listings:
            vendor_id = getattr(row, f"{kind}_id", None)
            if vendor_id not in (None, ""):
                assert str(vendor_id) in {name.vendor_id for name in listings[kind].names}


def test_a_credential_that_may_not_read_names_is_told_of_and_no_error(
    vendor: str, reader: VendorReader, sandbox: SandboxServer
):
    sandbox.faults.set(f"{vendor}.forbidden")
    listings = list(reader.directory())
    assert listings
    assert all(listing.refused and not listing.names for listing in listings)


def test_names_of_another_shape_and_a_refused_credential_are_errors(vendor: str, sandbox: SandboxServer):
    with (
        connect_reader(vendor, build_sandbox_url(vendor, sandbox.url), http_type=Nonsense) as reader,
        pytest.raises(InvalidResponse),
    ):
        list(reader.directory())
    with (
        connect_reader(vendor, build_sandbox_url(vendor, sandbox.url), credential="wrong-key") as reader,
        pytest.raises(CredentialError),
    ):
        list(reader.directory())


def test_a_probe_is_cheap_and_says_one_sentence(vendor: str, reader: VendorReader, sandbox: SandboxServer):
    sandbox.world.set_clock(datetime.now(UTC))
    message = reader.probe()
    assert message.endswith(".")
    assert reader.title in message
    assert reader.http.stats.requests <= 2
