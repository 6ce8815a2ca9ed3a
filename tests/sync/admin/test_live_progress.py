"""The progress of a run: days, records, pace and time left, in a fragment that a page polls until the run ends."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from sync.engine.load import load_next
from sync.engine.plan import request_sync
from sync.models import LoadAttempt, Subject, SyncRun, Trigger
from sync.progress import measure_progress
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source
from tests.support.source_pages import sign_in
from tests.support.users import sign_in_as
from usage.days import Day
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
DAYS = 4


@pytest.fixture
def run(source: Source, listing: Listing) -> SyncRun:
    """A run of four days, of which the vendor reports 30 records each."""
    for number in range(DAYS):
        on = DAY + timedelta(days=number)
        listing.records[on] = [build_run(100 * number + at, on=on) for at in range(30)]
    listing.page_size = 10
    return request_sync(source, DAY, DAY + timedelta(days=DAYS), Trigger.ADMIN, "alex")


def get_source_url(run: SyncRun) -> str:
    return f"/admin/usage/source/{run.source_id}/progress/?runs={run.pk}&said={run.pk}-0"


def get_run_url(run: SyncRun) -> str:
    return f"/admin/sync/syncrun/{run.pk}/progress/?said={run.pk}-0"


def get_text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def get_run_numbers(run: SyncRun) -> str:
    match = re.search(
        r'run-numbers">([^<]*)<', sign_in_as("viewer").get(get_run_url(run), headers=HTMX).content.decode()
    )
    assert match
    return match[1]


@pytest.mark.parametrize("outcome", [LoadAttempt.Outcome.REPAIRED, LoadAttempt.Outcome.UNVERIFIED])
def test_days_that_were_repaired_or_kept_tell_how_long_the_rest_takes(
    run: SyncRun, outcome: LoadAttempt.Outcome
) -> None:
    load_next(run.source_id)
    LoadAttempt.objects.update(outcome=outcome)

    assert get_run_numbers(run).endswith("less than a minute left")


def test_it_counts_days_and_records_and_says_how_long_the_rest_takes(run: SyncRun) -> None:
    assert get_run_numbers(run) == "0 of 4 days · 0 records"

    load_next(run.source_id)
    load_next(run.source_id)

    assert re.fullmatch(r"2 of 4 days · 60 records · [\d.,]+ a second · less than a minute left", get_run_numbers(run))
    load_next(run.source_id)
    load_next(run.source_id)
    assert re.fullmatch(r"4 of 4 days · 120 records · [\d.,]+ a second · took less than a minute", get_run_numbers(run))


def test_records_of_a_day_that_is_being_read_are_counted_as_they_come(
    run: SyncRun, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.engine.claim.PROGRESS_SECONDS", 0.0)
    counts: list[tuple[int, int]] = []

    def record_progress(day: Day, at: int) -> None:
        progress = measure_progress(SyncRun.objects.select_related("source").get(pk=run.pk))
        counts.append((progress.records, progress.reading))

    listing.before_page = record_progress
    load_next(run.source_id)

    assert counts == [(0, 1), (10, 1), (20, 1)]
    assert measure_progress(SyncRun.objects.get(pk=run.pk)).records == 30


def test_the_page_asks_every_other_second_while_it_goes_and_no_more_when_it_has_ended(run: SyncRun) -> None:
    client = sign_in_as("viewer")
    for address in (get_source_url(run), get_run_url(run)):
        SyncRun.objects.update(finished_at=None)
        going = client.get(address, headers=HTMX).content.decode()
        assert 'hx-trigger="every 2s"' in going
        assert "#page-facts" not in going

        SyncRun.objects.update(finished_at=timezone.now())
        page = client.get(address, headers=HTMX).content.decode()
        assert "every 2s" not in page
        assert 'hx-select="#page-facts"' in page  # the rest of the page is fetched once more
        assert "Done" in page


def test_what_is_said_aloud_is_said_once_for_every_quarter(run: SyncRun) -> None:
    client = sign_in_as("viewer")
    assert "progress-announcement" not in client.get(get_run_url(run), headers=HTMX).content.decode()

    load_next(run.source_id)
    page = client.get(get_run_url(run), headers=HTMX).content.decode()
    assert "Syncing 2026-11-03 – 2026-11-06: 1 of 4 days" in page
    match = re.search(r'hx-get="([^"]+)"', page)
    assert match

    assert "progress-announcement" not in client.get(match[1].replace("&amp;", "&"), headers=HTMX).content.decode()


def test_failures_so_far_are_told_with_what_to_do(run: SyncRun) -> None:
    error = "api.example.com cannot answer now (HTTP 503). Gave up."
    SyncRun.objects.update(days_failed=2, error=error, error_code="vendor_unavailable")

    text = get_text(sign_in_as("viewer").get(get_source_url(run), headers=HTMX))

    assert "2 days failed. api.example.com cannot answer now (HTTP 503)." in text
    assert "The vendor has a problem of its own" in text


def test_names_that_could_not_be_read_are_told_with_the_reason(run: SyncRun) -> None:
    SyncRun.objects.update(subject=Subject.NAMES, days_failed=1, days_total=1, error="The vendor refused.")

    text = get_text(sign_in_as("viewer").get(get_run_url(run), headers=HTMX))

    assert "The names could not be read. The vendor refused." in text
    assert "day failed" not in text


def test_the_progress_is_shown_to_nobody_who_may_not_see_runs(run: SyncRun, client: Client) -> None:
    sign_in(client, "view_sourceday")

    assert client.get(get_run_url(run), headers=HTMX).status_code == 403


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"enabled": False}, "The source is switched off"),
        ({"paused_until": timezone.now() + timedelta(hours=1)}, "it is left alone until"),
    ],
)
def test_it_says_why_nothing_moves(run: SyncRun, values: dict[str, object], message: str) -> None:
    Source.objects.update(**values)

    assert message in get_text(sign_in_as("viewer").get(get_run_url(run), headers=HTMX))


def test_a_run_that_no_worker_begins_says_so(run: SyncRun) -> None:
    SyncRun.objects.update(created_at=timezone.now() - timedelta(minutes=10))

    assert "No worker has begun it yet." in get_text(sign_in_as("viewer").get(get_run_url(run), headers=HTMX))


@pytest.mark.parametrize("address", [get_source_url, get_run_url])
def test_one_question_costs_a_few_queries_however_long_the_run(
    run: SyncRun, address: Any, django_assert_max_num_queries
) -> None:
    load_next(run.source_id)
    client = sign_in_as("viewer")
    client.get(address(run), headers=HTMX)

    # Who is asking and what they may (5), the source or the run, its runs, what is being read, what was read.
    with django_assert_max_num_queries(9):
        client.get(address(run), headers=HTMX)


def test_nobody_sees_a_run_of_a_source_that_they_may_not_know_of(run: SyncRun) -> None:
    other_source = make_source("other")
    client = sign_in_as("operator", sources=[other_source])

    assert client.get(get_source_url(run), headers=HTMX).status_code == 404
    assert client.get(get_run_url(run), headers=HTMX).status_code == 404
    assert client.post(f"/admin/sync/syncrun/{run.pk}/do/cancel/").status_code == 404
    response = client.get(f"/admin/usage/source/{other_source.pk}/progress/?runs={run.pk}&said=", headers=HTMX)
    assert "run-progress" not in response.content.decode()


def test_a_page_of_someone_signed_out_loads_anew(run: SyncRun) -> None:
    response = Client().get(get_run_url(run), headers=HTMX)

    assert response.headers["HX-Refresh"] == "true"
    assert b"run-progress" not in response.content


def test_an_operator_cancels_and_a_viewer_is_not_offered_it(run: SyncRun) -> None:
    cancel = f"/admin/sync/syncrun/{run.pk}/do/cancel/"
    viewer = sign_in_as("viewer")
    assert cancel not in viewer.get(get_run_url(run), headers=HTMX).content.decode()
    assert viewer.post(cancel).status_code == 403

    operator = sign_in_as("operator")
    assert cancel in operator.get(get_run_url(run), headers=HTMX).content.decode()
    response = operator.post(cancel, follow=True)

    assert [str(message) for message in response.context["messages"]] == [
        "The run is cancelled: 4 days will not be synced."
    ]
    assert "Cancelled by operator; 4 days went back unread." in get_text(response)
    assert operator.post(cancel).status_code == 403


def test_the_page_of_a_run_shows_every_day_with_what_reading_it_took(run: SyncRun, listing: Listing) -> None:
    load_next(run.source_id)
    SourceDay.objects.filter(state=DayState.DUE).update(due_at=timezone.now() + timedelta(hours=1))

    page = sign_in_as("viewer").get(f"/admin/sync/syncrun/{run.pk}/change/")

    rows = page.context["days_table"].rows
    assert [re.sub(r"<[^>]+>", "", str(row[1])) for row in rows] == ["Waiting"] * 3 + ["Done"]
    assert [re.sub(r"<[^>]+>", "", str(cell)) for cell in rows[3][:4]] == ["2026-11-06", "Done", "1", "30"]


def test_the_days_of_a_long_run_come_page_by_page(source: Source) -> None:
    run = request_sync(source, DAY - timedelta(days=150), DAY, Trigger.API)
    client = sign_in_as("viewer")

    first = client.get(f"/admin/sync/syncrun/{run.pk}/change/")
    second = client.get(f"/admin/sync/syncrun/{run.pk}/change/?p=2")

    assert (len(first.context["days_table"].rows), len(second.context["days_table"].rows)) == (100, 50)
    assert "1–100 of 150 days" in get_text(first)


@pytest.mark.parametrize(
    ("params", "expected"),
    [({"progress": "running"}, 1), ({"progress": "done"}, 0), ({"trigger": "admin"}, 1), ({"source": "scripted"}, 1)],
)
def test_runs_are_filtered(run: SyncRun, params: dict[str, str], expected: int) -> None:
    response = sign_in_as("viewer").get("/admin/sync/syncrun/", params)

    assert len(response.context["cl"].result_list) == expected


def test_the_list_of_runs_reads_no_more_than_it_shows(source: Source) -> None:
    day = {"from_day": DAY, "to_day": DAY + timedelta(days=1), "days_total": 1, "finished_at": timezone.now()}
    SyncRun.objects.bulk_create(
        SyncRun(source=source, trigger=Trigger.SCHEDULE, days_done=1, **day) for _ in range(3000)
    )
    client = sign_in_as("viewer")

    for params in ({}, {"source": "scripted"}, {"trigger": "schedule"}, {"progress": "failures"}):
        change_list = client.get("/admin/sync/syncrun/", params).context["cl"]
        plan = change_list.queryset[:51].explain()
        assert "Seq Scan on sync_syncrun" not in plan, (params, plan)
        assert len(change_list.result_list) == (0 if "progress" in params else 50)


def test_an_attempt_of_another_run_is_not_counted(run: SyncRun, source: Source) -> None:
    SourceDay.objects.exclude(day=DAY).update(due_at=timezone.now() + timedelta(hours=1))
    other_source = make_source("other")
    day = SourceDay.objects.create(
        source=other_source, day=DAY, starts_at=timezone.now(), ends_at=timezone.now() + timedelta(1)
    )
    LoadAttempt.objects.create(source_day=day, number=1, worker="w", fetched=99, finished_at=timezone.now())

    assert measure_progress(SyncRun.objects.select_related("source").get(pk=run.pk)).records == 0
