"""Exports of the admin's lists: followed, cancelled, waiting for each other, and told when refused."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from tests.support.admin_exports import address, body, rows
from tests.support.admin_exports import filled as filled
from tests.support.exports import many_runs
from tests.support.factories import EnvironmentUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.filled_portal import Filled
from tests.support.source_days import hold_days
from tests.support.users import client_of, person
from usage import slots
from usage.admin.exporting.base import FAILED
from usage.exports import BROKEN, progress
from usage.exports.progress import StoppedByOwner
from usage.models import ResourceUsage

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def follow_export(client: Client, listed: str, ident: str) -> tuple[str, Any]:
    """Return what a page that follows an export is told, and the answer."""
    answer = client.get(address(listed, "export_follow", ident))
    return " ".join(answer.content.decode().split()), answer


def test_the_page_is_told_how_many_rows_were_sent(filled: Filled) -> None:
    client, ident = client_of("viewer"), uuid4().hex
    assert "Starting…" in follow_export(client, "usage_resourceusage", ident)[0]

    body(client.get(address("usage_resourceusage"), {"export": ident}))

    words, answer = follow_export(client, "usage_resourceusage", ident)
    assert "Done: 90 rows." in words
    assert answer.status_code == 286  # htmx asks no more
    assert answer["HX-Trigger"] == "export-ended"
    assert "progress" not in words.replace("export-progress", "")


def test_the_rows_are_counted_while_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    many_runs(8_000)
    client, ident = client_of("viewer"), uuid4().hex

    answer = client.get(address("usage_environmentusage"), {"export": ident})
    next(answer.streaming_content)  # type: ignore[attr-defined]
    words, followed = follow_export(client, "usage_environmentusage", ident)

    assert "rows sent." in words
    assert "<progress" in words
    assert followed.status_code == 200
    assert len(list(answer.streaming_content)) > 1  # type: ignore[attr-defined]
    assert "Done: 8,000 rows." in follow_export(client, "usage_environmentusage", ident)[0]


def test_nobody_is_told_of_the_export_of_someone_else(filled: Filled) -> None:
    mine, other, ident = client_of("viewer"), client_of("viewer"), uuid4().hex
    body(mine.get(address("usage_resourceusage"), {"export": ident}))

    assert "Starting…" in follow_export(other, "usage_resourceusage", ident)[0]


def test_an_export_is_cancelled_by_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    many_runs(8_000)
    client, ident = client_of("viewer"), uuid4().hex
    answer = client.get(address("usage_environmentusage"), {"export": ident})
    blocks = iter(answer.streaming_content)  # type: ignore[attr-defined]
    next(blocks)

    assert client.post(address("usage_environmentusage", "export_stop", ident)).status_code == 204
    sent: list[bytes] = []
    with pytest.raises(StoppedByOwner):
        sent.extend(blocks)

    assert sent[-1] == BROKEN
    assert "Cancelled after" in follow_export(client, "usage_environmentusage", ident)[0]


def test_an_export_that_nobody_takes_is_told_as_such() -> None:
    many_runs(8_000)
    client, ident = client_of("viewer"), uuid4().hex
    answer = client.get(address("usage_environmentusage"), {"export": ident})
    next(answer.streaming_content)  # type: ignore[attr-defined]
    answer.close()

    assert "The browser stopped the download" in follow_export(client, "usage_environmentusage", ident)[0]


def test_an_export_waits_for_the_one_under_way(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    client, ident = client_of("viewer"), uuid4().hex
    with monkeypatch.context() as busy:
        busy.setattr(slots.SlotsTaken, "wait", 0)
        assert slots.get_slots().acquire(blocking=False)
        try:
            assert client.get(address("usage_resourceusage"), {"export": ident}).status_code == 204
        finally:
            slots.get_slots().release()

    words, answer = follow_export(client, "usage_resourceusage", ident)
    assert "Another export is under way." in words
    assert answer["HX-Trigger"] == "export-again"
    assert "HX-Trigger" not in follow_export(client, "usage_resourceusage", ident)[1]  # the page is told once


def test_an_export_that_waits_can_be_cancelled(filled: Filled) -> None:
    client, ident = client_of("viewer"), uuid4().hex
    assert slots.get_slots().acquire(blocking=False)
    try:
        client.get(address("usage_resourceusage"), {"export": ident})
    finally:
        slots.get_slots().release()

    client.post(address("usage_resourceusage", "export_stop", ident))

    words, answer = follow_export(client, "usage_resourceusage", ident)
    assert "Cancelled." in words
    assert answer.status_code == 286


def test_an_id_that_is_none_cancels_nothing() -> None:
    assert client_of("viewer").post(address("usage_resourceusage", "export_stop", "no-id")).status_code == 204


def test_an_export_that_the_database_fails_is_told_as_such_or_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("The server closed the connection.")

    monkeypatch.setattr("usage.admin.exporting.base.export", fail)
    client, ident = client_of("viewer"), uuid4().hex

    assert client.get(address("usage_resourceusage"), {"export": ident}).status_code == 204

    words, answer = follow_export(client, "usage_resourceusage", ident)
    assert FAILED in words
    assert answer.status_code == 286
    with pytest.raises(OperationalError):
        client.get(address("usage_resourceusage"))


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

    words, answer = follow_export(client, "usage_resourceusage", ident)
    assert "An XLSX file may have 3 rows and these are more" in words
    assert "Export as CSV instead" in words
    assert answer.status_code == 286


def test_a_filter_that_is_not_understood_exports_nothing(filled: Filled) -> None:
    client, ident = client_of("viewer"), uuid4().hex

    assert client.get(address("usage_sourceday"), {"state": "lost", "export": ident}).status_code == 204

    assert "“lost” is no state" in follow_export(client, "usage_sourceday", ident)[0]


def test_who_is_signed_out_is_told_so(filled: Filled) -> None:
    words, answer = follow_export(Client(), "usage_resourceusage", uuid4().hex)

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
    many_runs(8_000)
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
