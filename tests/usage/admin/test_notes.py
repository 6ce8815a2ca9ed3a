"""Notes about days: who writes them, who reads them, and the charts that show them."""

from datetime import date
from typing import Any

import pytest

from portal.accounts.audit.models import AuditEntry
from tests.support.dashboard_data import create_synced_source, get_today
from tests.support.factories import ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as
from usage.models import Note, Source
from usage.notes import fetch_notes

pytestmark = pytest.mark.django_db
PAGE = "/admin/usage/note/"


@pytest.fixture
def source() -> Source:
    """A source with usage in January."""
    created: Source = SourceFactory(slug="gcore-main", vendor="gcore")
    ResourceUsageFactory(source=created)
    create_source_days(rolled=True)
    return created


def test_an_operator_writes_a_note_a_viewer_reads_it_and_the_log_has_it(source: Source) -> None:
    data = {"day": "2026-01-12", "text": "migration on 12 Jan", "source": ""}
    assert sign_in_as("operator").post(f"{PAGE}add/", data).status_code == 302

    viewer = sign_in_as("viewer")
    assert "migration on 12 Jan" in viewer.get(PAGE).content.decode()
    assert viewer.post(f"{PAGE}add/", data).status_code == 403
    assert Note.objects.get().written_by == "operator"
    assert AuditEntry.objects.filter(kind="note", object_name="migration on 12 Jan", who="operator").exists()


def test_a_note_that_another_person_corrects_keeps_its_author(source: Source) -> None:
    note = Note.objects.create(day=date(2026, 1, 12), text="migrtion", written_by="sam")
    sent = {"day": "2026-01-12", "text": "migration", "source": ""}

    assert sign_in_as("operator").post(f"{PAGE}{note.pk}/change/", sent).status_code == 302

    note.refresh_from_db()
    assert (note.text, note.written_by) == ("migration", "sam")


def test_explore_shows_a_note_over_its_day_and_in_the_interval_that_has_it(source: Source) -> None:
    Note.objects.create(day=date(2026, 1, 12), text="migration", source=source)
    Note.objects.create(day=date(2026, 3, 1), text="later")
    client = sign_in_as("viewer")
    for interval, position in (("day", 11), ("month", 0)):
        query = f"kind=resource-usage&from=2026-01-01&to=2026-02-01&group_by={interval}"
        page: Any = client.get(f"/admin/explore/?{query}")
        notes = page.context["charts"]["notes"]
        assert notes[position] == ["12 Jan 2026: migration (gcore-main)"]
        assert sum(map(len, notes)) == 1
        assert page.context["notes"] == [("12 Jan 2026", "migration (gcore-main)")]


def test_a_note_about_another_source_is_not_shown(source: Source) -> None:
    other_source = SourceFactory(slug="zebra", vendor="gcore")
    Note.objects.create(day=date(2026, 1, 12), text="of zebra", source=other_source)
    Note.objects.create(day=date(2026, 1, 12), text="of all")
    client = sign_in_as("operator", sources=[source])

    query = "kind=resource-usage&from=2026-01-01&to=2026-02-01&group_by=day"
    for address in (f"/admin/explore/?{query}", PAGE, "/admin/"):
        page = client.get(address).content.decode()
        assert "of zebra" not in page
    page = client.get(PAGE).content.decode()
    assert "of all" in page


def test_someone_limited_to_a_source_writes_about_it_alone(source: Source) -> None:
    other_source = SourceFactory(slug="zebra", vendor="gcore")
    general_note = Note.objects.create(day=date(2026, 1, 12), text="of all")
    client = sign_in_as("operator", sources=[source])
    for source_id in ("", str(other_source.pk)):
        response = client.post(f"{PAGE}add/", {"day": "2026-01-12", "text": "x", "source": source_id})
        assert response.status_code == 200  # refused beside the input
    assert (
        client.post(f"{PAGE}{general_note.pk}/change/", {"day": "2026-01-12", "text": "y", "source": ""}).status_code
        == 403
    )
    assert client.post(f"{PAGE}{general_note.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(f"{PAGE}add/", {"day": "2026-01-12", "text": "mine", "source": str(source.pk)})
    assert set(Note.objects.values_list("text", flat=True)) == {"of all", "mine"}


def test_the_overview_marks_the_day_of_a_note() -> None:
    source = create_synced_source("gcore-main", "gcore", days=30)
    day = get_today(source)
    Note.objects.create(day=day, text="new region", source=source)

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert "Note: new region" in page
    assert 'class="bar-note"' in page


def test_a_chart_of_too_many_notes_shows_the_latest(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.notes.MOST", 2)
    for day in (3, 1, 2):
        Note.objects.create(day=date(2026, 1, day), text=f"note {day}")
    assert [note.day.day for note in fetch_notes(date(2026, 1, 1), date(2026, 2, 1), [source.pk])] == [2, 3]
