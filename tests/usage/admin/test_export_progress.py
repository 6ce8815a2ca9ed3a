"""Exports of the admin's lists: progress, cancellation, waiting for another export, and refusals."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from tests.support.admin_exports import build_export_url, export_rows, read_body
from tests.support.admin_exports import sources as sources
from tests.support.exports import create_many_runs
from tests.support.factories import EnvironmentUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.filled_portal import VendorSources
from tests.support.source_days import create_source_days
from tests.support.users import create_person, sign_in_as
from usage import slots
from usage.admin.exporting.base import FAILED
from usage.exports import BROKEN, progress
from usage.exports.progress import StoppedByOwner
from usage.models import ResourceUsage

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def follow_export(client: Client, list_name: str, export_id: str) -> tuple[str, Any]:
    """Return the text of the progress of an export, and the response."""
    response = client.get(build_export_url(list_name, "export_follow", export_id))
    return " ".join(response.content.decode().split()), response


def test_the_page_is_told_how_many_rows_were_sent(sources: VendorSources) -> None:
    client, export_id = sign_in_as("viewer"), uuid4().hex
    assert "Starting…" in follow_export(client, "usage_resourceusage", export_id)[0]

    read_body(client.get(build_export_url("usage_resourceusage"), {"export": export_id}))

    text, response = follow_export(client, "usage_resourceusage", export_id)
    assert "Done: 90 rows." in text
    assert response.status_code == 286  # htmx asks no more
    assert response["HX-Trigger"] == "export-ended"
    assert "progress" not in text.replace("export-progress", "")


def test_the_rows_are_counted_while_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    create_many_runs(8_000)
    client, export_id = sign_in_as("viewer"), uuid4().hex

    response = client.get(build_export_url("usage_environmentusage"), {"export": export_id})
    next(response.streaming_content)  # type: ignore[attr-defined]
    text, follow_response = follow_export(client, "usage_environmentusage", export_id)

    assert "rows sent." in text
    assert "<progress" in text
    assert follow_response.status_code == 200
    assert len(list(response.streaming_content)) > 1  # type: ignore[attr-defined]
    assert "Done: 8,000 rows." in follow_export(client, "usage_environmentusage", export_id)[0]


def test_nobody_is_told_of_the_export_of_someone_else(sources: VendorSources) -> None:
    client, other_client, export_id = sign_in_as("viewer"), sign_in_as("viewer"), uuid4().hex
    read_body(client.get(build_export_url("usage_resourceusage"), {"export": export_id}))

    assert "Starting…" in follow_export(other_client, "usage_resourceusage", export_id)[0]


def test_an_export_is_cancelled_by_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    create_many_runs(8_000)
    client, export_id = sign_in_as("viewer"), uuid4().hex
    response = client.get(build_export_url("usage_environmentusage"), {"export": export_id})
    blocks = iter(response.streaming_content)  # type: ignore[attr-defined]
    next(blocks)

    assert client.post(build_export_url("usage_environmentusage", "export_stop", export_id)).status_code == 204
    chunks: list[bytes] = []
    with pytest.raises(StoppedByOwner):
        chunks.extend(blocks)

    assert chunks[-1] == BROKEN
    assert "Cancelled after" in follow_export(client, "usage_environmentusage", export_id)[0]


def test_an_export_that_nobody_takes_is_told_as_such() -> None:
    create_many_runs(8_000)
    client, export_id = sign_in_as("viewer"), uuid4().hex
    response = client.get(build_export_url("usage_environmentusage"), {"export": export_id})
    next(response.streaming_content)  # type: ignore[attr-defined]
    response.close()

    assert "The browser stopped the download" in follow_export(client, "usage_environmentusage", export_id)[0]


def test_an_export_waits_for_the_one_under_way(sources: VendorSources, monkeypatch: pytest.MonkeyPatch) -> None:
    client, export_id = sign_in_as("viewer"), uuid4().hex
    with monkeypatch.context() as patch:
        patch.setattr(slots.SlotsTaken, "wait", 0)
        with slots.hold_slot():
            assert client.get(build_export_url("usage_resourceusage"), {"export": export_id}).status_code == 204

    text, response = follow_export(client, "usage_resourceusage", export_id)
    assert "Another export is under way." in text
    assert response["HX-Trigger"] == "export-again"
    assert "HX-Trigger" not in follow_export(client, "usage_resourceusage", export_id)[1]  # the page is told once


def test_an_export_that_waits_can_be_cancelled(sources: VendorSources) -> None:
    client, export_id = sign_in_as("viewer"), uuid4().hex
    with slots.hold_slot():
        client.get(build_export_url("usage_resourceusage"), {"export": export_id})

    client.post(build_export_url("usage_resourceusage", "export_stop", export_id))

    text, response = follow_export(client, "usage_resourceusage", export_id)
    assert "Cancelled." in text
    assert response.status_code == 286


def test_an_id_that_is_none_cancels_nothing() -> None:
    assert sign_in_as("viewer").post(build_export_url("usage_resourceusage", "export_stop", "no-id")).status_code == 204


def test_an_export_that_the_database_fails_is_told_as_such_or_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("The server closed the connection.")

    monkeypatch.setattr("usage.admin.exporting.base.export", fail)
    client, ident = sign_in_as("viewer"), uuid4().hex

    assert client.get(build_export_url("usage_resourceusage"), {"export": ident}).status_code == 204

    words, response = follow_export(client, "usage_resourceusage", ident)
    assert FAILED in words
    assert response.status_code == 286
    with pytest.raises(OperationalError):
        client.get(build_export_url("usage_resourceusage"))


def test_without_a_page_that_follows_a_busy_portal_says_so_above_the_list(sources: VendorSources) -> None:
    with slots.hold_slot():
        response = sign_in_as("viewer").get(build_export_url("usage_sourceday"), {"source": "ona-main"}, follow=True)

    assert response.redirect_chain[0][0].endswith("?source=ona-main")
    assert "try again later" in str(next(iter(response.context["messages"])))


def test_more_rows_than_a_workbook_may_have_are_offered_as_csv(sources: VendorSources, settings: Any) -> None:
    settings.PORTAL_XLSX_MAX_ROWS = 3
    client, export_id = sign_in_as("viewer"), uuid4().hex

    assert (
        client.get(build_export_url("usage_resourceusage"), {"format": "xlsx", "export": export_id}).status_code == 204
    )

    text, response = follow_export(client, "usage_resourceusage", export_id)
    assert "An XLSX file may have 3 rows and these are more" in text
    assert "Export as CSV instead" in text
    assert response.status_code == 286


def test_a_filter_that_is_not_understood_exports_nothing(sources: VendorSources) -> None:
    client, export_id = sign_in_as("viewer"), uuid4().hex

    assert client.get(build_export_url("usage_sourceday"), {"state": "lost", "export": export_id}).status_code == 204

    assert "“lost” is not one of" in follow_export(client, "usage_sourceday", export_id)[0]


def test_who_is_signed_out_is_told_so(sources: VendorSources) -> None:
    text, response = follow_export(Client(), "usage_resourceusage", uuid4().hex)

    assert "You are signed out." in text
    assert response.status_code == 286


def test_cancelling_takes_a_post_with_a_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(create_person("viewer"))

    assert client.get(build_export_url("usage_sourceday", "export_stop", uuid4().hex)).status_code == 405
    assert client.post(build_export_url("usage_sourceday", "export_stop", uuid4().hex)).status_code == 403


def test_an_export_goes_on_where_the_notes_are_lost(sources: VendorSources, settings: Any) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    client = Client()
    client.force_login(User.objects.create_superuser("alex"))

    content = read_body(client.get(build_export_url("usage_resourceusage"), {"export": uuid4().hex}))

    assert len(content.splitlines()) == 91


def test_the_page_about_an_export_adds_up_what_it_holds() -> None:
    source = SourceFactory.create(slug="mine")
    ResourceUsageFactory.create_batch(3, source=source, consumed_quantity="0.5", consumed_unit="GB")
    ResourceUsageFactory(source=source, consumed_quantity="7", consumed_unit="minutes")
    ResourceUsageFactory(consumed_quantity="100", consumed_unit="GB")
    create_source_days(rolled=True)
    client = sign_in_as("viewer")
    params = {"source": "mine"}

    page = client.get(build_export_url("usage_resourceusage", "export_about"), params)
    response = client.get(build_export_url("usage_resourceusage", "export_about"), params | {"format": "json"})
    manifest = json.loads(response.content)

    assert manifest["rows"] == 4 == len(export_rows(client, "usage_resourceusage", **params))
    assert {line["unit"]: line["sum"] for line in manifest["sums"]} == {"GB": "1.5", "minutes": "7"}
    assert manifest["filters"] == {"source": "mine"}
    assert manifest["columns"] == list(export_rows(client, "usage_resourceusage", **params)[0])
    assert manifest["meta"]["complete"] is False
    assert response["Content-Disposition"].startswith('attachment; filename="resource-usage_mine_as-of-')
    content = page.content.decode()
    assert manifest["digest"] in content
    assert "1.5" in content
    assert "Not complete" in content


def test_a_list_that_takes_too_long_to_add_up_can_still_be_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.admin.exporting.base.ABOUT_SECONDS", 0.001)
    create_many_runs(8_000)
    create_source_days(rolled=False)

    page = sign_in_as("viewer").get(build_export_url("usage_environmentusage", "export_about"))

    assert "took too long to add up" in page.content.decode()


def test_the_menu_offers_what_the_list_is_filtered_to(sources: VendorSources) -> None:
    EnvironmentUsageFactory()
    page = sign_in_as("viewer").get("/admin/usage/sourceday/?state=failed&p=1")

    menu = page.context["export_menu"]
    assert [export_format.name for export_format, _ in menu.downloads] == ["csv", "xlsx", "ndjson", "parquet"]
    assert menu.downloads[0][1] == "/admin/usage/sourceday/export/?state=failed&format=csv"
    assert menu.about_url == "/admin/usage/sourceday/export/about/?state=failed"


def test_without_pyarrow_parquet_is_not_on_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.exports.formats.parquet.find_spec", lambda name: None)

    menu = sign_in_as("viewer").get("/admin/usage/sourceday/").context["export_menu"]

    assert [export_format.name for export_format, _ in menu.downloads] == ["csv", "xlsx", "ndjson"]
    assert ResourceUsage.objects.count() == 0
