"""Export of every list of the admin: the filtered set in every format, followed, cancelled, and told when refused."""

import csv
import io
import json
from codecs import BOM_UTF8
from typing import Any
from uuid import uuid4

import openpyxl
import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pyarrow import parquet

from portal.accounts.models import create_token
from portal.accounts.roles import create_roles
from portal.incidents.models import Channel, Incident
from portal.reports.models import Report
from tests.support.database import store_or_restore
from tests.support.exports import many_runs
from tests.support.factories import EnvironmentUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.filled_portal import CREDENTIAL, Filled, fill, find_filled
from tests.support.source_days import hold_days
from tests.support.users import client_of, person
from usage import slots
from usage.admin.base import PortalAdmin
from usage.exports import BROKEN, progress
from usage.exports.progress import StoppedByOwner
from usage.models import DirectoryEntry, NameKind, Note, RejectedRecord, ResourceUsage, Source, SourceDay

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

LISTS = {
    "usage_environmentusage": 117,
    "usage_resourceusage": 90,
    "usage_recipeusage": 72,
    "usage_source": 3,
    "usage_sourceday": 90,
    "usage_restatement": 1,
    "usage_rejectedrecord": 1,
    "sync_syncrun": 1,
    "accounts_apitoken": 1,
    "auth_user": 2,
    "auth_group": 3,
    "accounts_auditentry": None,
    "incidents_incident": 1,
    "incidents_channel": 1,
    "reports_report": 1,
    "usage_directoryentry": 1,
    "usage_note": 1,
}


@pytest.fixture
def filled(transactional_db: None) -> Filled:
    """A month of three vendors, and a token."""

    def create() -> None:
        create_token("=warehouse")
        create_roles()
        fill()
        hook = {"kind": "webhook", "url": f"https://hooks.example.com/{CREDENTIAL}", "secret": CREDENTIAL}
        Channel.objects.create(name="operations", **hook)
        source = Source.objects.get(slug="gcore-main")
        Note.objects.create(day="2026-11-12", text="migration", source=source)
        DirectoryEntry.objects.create(source=source, kind=NameKind.PROJECT, vendor_id="1", name="Data platform")
        Report.objects.create(name="monthly", owner=person("viewer"), next_at="2030-01-01T07:00:00Z")
        Incident.objects.create(condition="source_failing", key="source:1", subject="gcore-main", severity="critical")

    store_or_restore("export", create)
    return find_filled()


def address(listed: str, view: str = "export", *further: str) -> str:
    """Return an address of a list's export."""
    return reverse(f"admin:{listed}_{view}", args=further)


def body(answer: Any) -> bytes:
    """Return a whole download."""
    assert answer.status_code == 200, answer
    return b"".join(answer.streaming_content)


def rows(client: Client, listed: str, **query: str) -> list[dict[str, str]]:
    """Return a list as its CSV has it, read as strictly as Python can."""
    text = body(client.get(address(listed), query)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def told(client: Client, listed: str, ident: str) -> tuple[str, Any]:
    """Return what a page that follows an export is told, and the answer."""
    answer = client.get(address(listed, "export_follow", ident))
    return " ".join(answer.content.decode().split()), answer


@pytest.mark.parametrize("listed", LISTS)
def test_every_list_is_exported_in_every_format(filled: Filled, listed: str) -> None:
    client = client_of("admin")

    said = rows(client, listed)
    lines = [json.loads(line) for line in body(client.get(address(listed), {"format": "ndjson"})).splitlines()]
    book = openpyxl.load_workbook(io.BytesIO(body(client.get(address(listed), {"format": "xlsx"}))))
    table = parquet.read_table(io.BytesIO(body(client.get(address(listed), {"format": "parquet"}))))

    assert len(said) == len(lines) == table.num_rows == book["usage"].max_row - 1
    assert len(said) == LISTS[listed] or (LISTS[listed] is None and said)
    header = list(said[0])
    columns = [name for name in table.column_names if not name.endswith("_exact")]
    assert header == list(lines[0]) == columns == [cell.value for cell in next(book["usage"].iter_rows())]
    assert book["About"]["B1"].value == str(apps.get_model(listed.replace("_", ".", 1))._meta.verbose_name_plural)


def test_a_browser_s_csv_begins_with_a_byte_order_mark_unless_told_otherwise(filled: Filled) -> None:
    client = client_of("admin")
    marked = body(client.get(address("usage_sourceday"), {"format": "csv"}))
    assert marked.startswith(BOM_UTF8)
    assert body(client.get(address("usage_sourceday"), {"format": "csv", "bom": "0"})) == marked[len(BOM_UTF8) :]
    refused = client.get(address("usage_sourceday"), {"format": "csv", "bom": "yes"}, follow=True)
    assert "“yes” is not one of: 0, 1." in refused.content.decode()


@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_no_secret_is_ever_in_a_file(filled: Filled, listed: str, form: str) -> None:
    exported = body(client_of("admin").get(address(listed), {"format": form})).decode()

    assert CREDENTIAL not in exported
    assert "digest" not in exported.splitlines()[0]
    assert "credential" not in exported.splitlines()[0]


def test_every_list_of_the_portals_own_can_be_exported() -> None:
    own = [one for one in admin.site._registry.values() if isinstance(one, PortalAdmin)]
    assert [one.opts.label for one in own if not one.get_export_columns()] == []
    assert set(LISTS) == {f"{one.opts.app_label}_{one.opts.model_name}" for one in own}


def test_what_is_exported_is_the_filtered_set_and_not_the_page(filled: Filled) -> None:
    found = rows(client_of("viewer"), "usage_sourceday", source="gcore-main", state="failed", p="1")

    assert [(row["source"], row["state"]) for row in found] == [("gcore-main", "failed")]
    assert found[0]["complete"] == "false"
    assert len(rows(client_of("viewer"), "usage_sourceday", source="ona-main")) == 30


def test_text_that_a_spreadsheet_would_run_is_neutralised(filled: Filled) -> None:
    day = SourceDay.objects.latest("day")
    RejectedRecord.objects.create(source_day=day, payload="=1+1", payload_digest="2" * 32, reason="@SUM(A1)", attempt=1)
    client = client_of("admin")

    assert rows(client, "accounts_apitoken")[0]["name"] == "'=warehouse"
    assert ("'=1+1", "'@SUM(A1)") in {(row["payload"], row["reason"]) for row in rows(client, "usage_rejectedrecord")}


def test_the_file_is_named_after_what_it_holds(filled: Filled) -> None:
    asked = {"source": "gcore-main", "from": "2026-11-01", "to": "2026-11-11", "format": "ndjson"}

    answer = client_of("viewer").get(address("usage_resourceusage"), asked)
    body(answer)

    named = answer["Content-Disposition"]
    assert named.startswith('attachment; filename="resource-usage_gcore-main_2026-11-01_2026-11-11_as-of-20')
    assert named.endswith('Z.ndjson"')
    assert answer["Portal-Complete"] == "true"


@pytest.mark.parametrize("view", ["export", "export_about"])
def test_who_may_not_see_a_list_may_not_have_it_as_a_file(filled: Filled, view: str) -> None:
    assert client_of("viewer").get(address("accounts_apitoken", view)).status_code == 403
    assert Client().get(address("usage_resourceusage", view)).status_code == 302


@pytest.mark.parametrize("listed", [name for name in LISTS if name[:5] in {"usage", "sync_"}])
def test_whoever_sees_some_sources_exports_those_and_no_other(filled: Filled, listed: str) -> None:
    client = client_of("viewer", sources=[filled.environments])

    found = rows(client, listed)
    about = client.get(address(listed, "export_about")).content.decode()

    assert {row.get("source", row.get("slug")) for row in found} <= {"ona-main"}
    assert "gcore-main" not in about
    assert "workato-emea" not in about


def test_a_source_that_one_may_not_know_of_is_no_source(filled: Filled) -> None:
    client = client_of("viewer", sources=[filled.environments])

    known = client.get(address("usage_sourceday"), {"source": "gcore-main"}, follow=True)
    unknown = client.get(address("usage_sourceday"), {"source": "nowhere"}, follow=True)

    said = [[str(message) for message in answer.context["messages"]] for answer in (known, unknown)]
    assert said[0][0].replace("gcore-main", "nowhere") == said[1][0]


def test_an_unknown_format_is_told_with_those_there_are(filled: Filled) -> None:
    answer = client_of("viewer").get(address("usage_sourceday"), {"format": "pdf"}, follow=True)

    assert [str(message) for message in answer.context["messages"]] == [
        "“pdf” is not one of: csv, xlsx, ndjson, parquet."
    ]


def test_the_page_is_told_how_many_rows_were_sent(filled: Filled) -> None:
    client, ident = client_of("viewer"), uuid4().hex
    assert "Starting…" in told(client, "usage_resourceusage", ident)[0]

    body(client.get(address("usage_resourceusage"), {"export": ident}))

    words, answer = told(client, "usage_resourceusage", ident)
    assert "Done: 90 rows." in words
    assert answer.status_code == 286  # htmx asks no more
    assert answer["HX-Trigger"] == "export-ended"
    assert "progress" not in words.replace("export-progress", "")


def test_the_rows_are_counted_while_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    many_runs(20_000)
    client, ident = client_of("viewer"), uuid4().hex

    answer = client.get(address("usage_environmentusage"), {"export": ident})
    next(answer.streaming_content)  # type: ignore[attr-defined]
    words, followed = told(client, "usage_environmentusage", ident)

    assert "rows sent." in words
    assert "<progress" in words
    assert followed.status_code == 200
    assert len(list(answer.streaming_content)) > 1  # type: ignore[attr-defined]
    assert "Done: 20,000 rows." in told(client, "usage_environmentusage", ident)[0]


def test_nobody_is_told_of_the_export_of_someone_else(filled: Filled) -> None:
    mine, other, ident = client_of("viewer"), client_of("viewer"), uuid4().hex
    body(mine.get(address("usage_resourceusage"), {"export": ident}))

    assert "Starting…" in told(other, "usage_resourceusage", ident)[0]


def test_an_export_is_cancelled_by_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    many_runs(20_000)
    client, ident = client_of("viewer"), uuid4().hex
    answer = client.get(address("usage_environmentusage"), {"export": ident})
    blocks = iter(answer.streaming_content)  # type: ignore[attr-defined]
    next(blocks)

    assert client.post(address("usage_environmentusage", "export_stop", ident)).status_code == 204
    sent: list[bytes] = []
    with pytest.raises(StoppedByOwner):
        sent.extend(blocks)

    assert sent[-1] == BROKEN
    assert "Cancelled after" in told(client, "usage_environmentusage", ident)[0]


def test_an_export_that_nobody_takes_is_told_as_such() -> None:
    many_runs(20_000)
    client, ident = client_of("viewer"), uuid4().hex
    answer = client.get(address("usage_environmentusage"), {"export": ident})
    next(answer.streaming_content)  # type: ignore[attr-defined]
    answer.close()

    assert "The browser stopped the download" in told(client, "usage_environmentusage", ident)[0]


def test_an_export_waits_for_the_one_under_way(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    client, ident = client_of("viewer"), uuid4().hex
    with monkeypatch.context() as busy:
        busy.setattr(slots.SlotsTaken, "wait", 0)
        assert slots.get_slots().acquire(blocking=False)
        try:
            assert client.get(address("usage_resourceusage"), {"export": ident}).status_code == 204
        finally:
            slots.get_slots().release()

    words, answer = told(client, "usage_resourceusage", ident)
    assert "Another export is under way." in words
    assert answer["HX-Trigger"] == "export-again"
    assert "HX-Trigger" not in told(client, "usage_resourceusage", ident)[1]  # the page is told once


def test_an_export_that_waits_can_be_cancelled(filled: Filled) -> None:
    client, ident = client_of("viewer"), uuid4().hex
    assert slots.get_slots().acquire(blocking=False)
    try:
        client.get(address("usage_resourceusage"), {"export": ident})
    finally:
        slots.get_slots().release()

    client.post(address("usage_resourceusage", "export_stop", ident))

    words, answer = told(client, "usage_resourceusage", ident)
    assert "Cancelled." in words
    assert answer.status_code == 286


def test_without_a_page_that_follows_a_busy_portal_says_so_above_the_list(filled: Filled) -> None:
    assert slots.get_slots().acquire(blocking=False)
    try:
        answer = client_of("viewer").get(address("usage_sourceday"), {"source": "ona-main"}, follow=True)
    finally:
        slots.get_slots().release()

    assert answer.redirect_chain[0][0].endswith("?source=ona-main")
    assert "try again later" in str(next(iter(answer.context["messages"])))


def test_more_rows_than_a_workbook_may_have_are_offered_as_csv(filled: Filled, settings: Any) -> None:
    settings.PORTAL_XLSX_MAX_ROWS = 3
    client, ident = client_of("viewer"), uuid4().hex

    assert client.get(address("usage_resourceusage"), {"format": "xlsx", "export": ident}).status_code == 204

    words, answer = told(client, "usage_resourceusage", ident)
    assert "An XLSX file may have 3 rows and these are more" in words
    assert "Export as CSV instead" in words
    assert answer.status_code == 286


def test_a_filter_that_is_not_understood_exports_nothing(filled: Filled) -> None:
    client, ident = client_of("viewer"), uuid4().hex

    assert client.get(address("usage_sourceday"), {"state": "lost", "export": ident}).status_code == 204

    assert "“lost” is no state" in told(client, "usage_sourceday", ident)[0]


def test_who_is_signed_out_is_told_so(filled: Filled) -> None:
    words, answer = told(Client(), "usage_resourceusage", uuid4().hex)

    assert "You are signed out." in words
    assert answer.status_code == 286


def test_cancelling_takes_a_post_with_a_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("viewer"))

    assert client.get(address("usage_sourceday", "export_stop", uuid4().hex)).status_code == 405
    assert client.post(address("usage_sourceday", "export_stop", uuid4().hex)).status_code == 403


def test_an_export_goes_on_where_the_notes_are_lost(filled: Filled, settings: Any) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    client = Client()
    client.force_login(User.objects.create_superuser("alex"))

    said = body(client.get(address("usage_resourceusage"), {"export": uuid4().hex}))

    assert len(said.splitlines()) == 91


def test_the_page_about_an_export_adds_up_what_it_holds() -> None:
    source = SourceFactory.create(slug="mine")
    ResourceUsageFactory.create_batch(3, source=source, consumed_quantity="0.5", consumed_unit="GB")
    ResourceUsageFactory(source=source, consumed_quantity="7", consumed_unit="minutes")
    ResourceUsageFactory(consumed_quantity="100", consumed_unit="GB")
    hold_days(rolled=True)
    client = client_of("viewer")
    asked = {"source": "mine"}

    page = client.get(address("usage_resourceusage", "export_about"), asked)
    answer = client.get(address("usage_resourceusage", "export_about"), asked | {"format": "json"})
    manifest = json.loads(answer.content)

    assert manifest["rows"] == 4 == len(rows(client, "usage_resourceusage", **asked))
    assert {line["unit"]: line["sum"] for line in manifest["sums"]} == {"GB": "1.5", "minutes": "7"}
    assert manifest["filters"] == {"source": "mine"}
    assert manifest["columns"] == list(rows(client, "usage_resourceusage", **asked)[0])
    assert manifest["meta"]["complete"] is False
    assert answer["Content-Disposition"].startswith('attachment; filename="resource-usage_mine_as-of-')
    content = page.content.decode()
    assert manifest["digest"] in content
    assert "1.5" in content
    assert "Not complete" in content


def test_a_list_that_takes_too_long_to_add_up_can_still_be_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.admin.exporting.base.ABOUT_SECONDS", 0.001)
    many_runs(20_000)
    hold_days(rolled=False)

    page = client_of("viewer").get(address("usage_environmentusage", "export_about"))

    assert "took too long to add up" in page.content.decode()


def test_the_menu_offers_what_the_list_is_filtered_to(filled: Filled) -> None:
    EnvironmentUsageFactory()
    page = client_of("viewer").get("/admin/usage/sourceday/?state=failed&p=1")

    menu = page.context["export_menu"]
    assert [link.format_name for link in menu.links] == ["csv", "xlsx", "ndjson", "parquet"]
    assert menu.links[0].url == "/admin/usage/sourceday/export/?state=failed&format=csv"
    assert menu.about_url == "/admin/usage/sourceday/export/about/?state=failed"


def test_without_pyarrow_parquet_is_not_on_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.exports.formats.parquet.find_spec", lambda name: None)

    menu = client_of("viewer").get("/admin/usage/sourceday/").context["export_menu"]

    assert [link.format_name for link in menu.links] == ["csv", "xlsx", "ndjson"]
    assert ResourceUsage.objects.count() == 0
