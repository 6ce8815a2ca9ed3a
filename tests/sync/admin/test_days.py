"""Days, restatements and rejected records on the staff pages: read by all, acted on by who may."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sync.models import SyncRun
from tests.support.filled_portal import CREDENTIAL, VendorSources
from tests.support.source_pages import list_messages, sign_in
from tests.support.users import sign_in_as
from usage.admin.restatement_diff import SumChange
from usage.models import RejectedRecord, Restatement, SourceDay

pytestmark = pytest.mark.django_db
DAYS = "/admin/usage/sourceday/"
REJECTED = "/admin/usage/rejectedrecord/"
RUNS = "/admin/sync/syncrun/"
RESTATEMENTS = "/admin/usage/restatement/"


@pytest.fixture
def staff(client: Client, sources: VendorSources) -> Client:
    client.force_login(User.objects.create_superuser("alex"))
    return client


@pytest.mark.parametrize(
    ("address", "queries"),
    [
        # Who is asking (2), the sources of the filter, the page within its time limit (5); more than a page of
        # days is counted, within a limit of its own (5).
        (DAYS, 13),
        (RESTATEMENTS, 8),
    ],
)
def test_a_list_costs_the_same_few_queries(
    staff: Client, address: str, queries: int, django_assert_num_queries
) -> None:
    with django_assert_num_queries(queries):
        response = staff.get(address)

    assert response.status_code == 200
    assert CREDENTIAL not in response.content.decode()


@pytest.mark.parametrize("model", [SourceDay, SyncRun, RejectedRecord, Restatement])
def test_what_the_engine_writes_is_shown_and_never_edited(staff: Client, model: Any) -> None:
    meta = model._meta
    for record in model.objects.all():
        page = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[record.pk])
        response = staff.get(page)
        assert response.status_code == 200
        assert CREDENTIAL not in response.content.decode()
    assert staff.post(page, {}).status_code == 403
    assert staff.get(page.replace("change", "delete")).status_code == 403
    assert staff.get(reverse(f"admin:{meta.app_label}_{meta.model_name}_add")).status_code == 403


def test_days_are_filtered_by_source_state_verification_and_range(staff: Client) -> None:
    def count_results(query: str) -> int:
        return staff.get(f"{DAYS}?{query}").context["cl"].result_count

    assert count_results("source=gcore-main") == 30
    assert count_results("state=failed") == 1
    assert count_results("verification=verified") == 60
    assert count_results("source=ona-main&day__range__gte=2026-10-20&day__range__lte=2026-10-22") == 3


def test_a_days_sums_are_said_in_words_rounded_in_the_list_and_in_full_on_its_page(staff: Client) -> None:
    day = SourceDay.objects.get(source__slug="ona-main", day="2026-11-12")
    units = {"runtime_seconds": "53041.123456", "job_failed_count": "2", "GB": "0.3", "bytes": "98304111872"}
    SourceDay.objects.filter(pk=day.pk).update(sums=units)

    list_page = staff.get(f"{DAYS}?source=ona-main").content.decode()
    page = staff.get(f"{DAYS}{day.pk}/change/").content.decode()

    assert "14.7 h of runtime" in list_page
    assert ">+1</span>" in list_page
    for name, number in (
        ("runtime", "14.7 h (53,041.123456 s)"),
        ("jobs failed", "2 jobs"),
        ("GB", "300 MB (0.3 GB)"),
        ("bytes", "98.3 GB (98,304,111,872 bytes)"),
    ):
        assert f"<dt>{name}</dt><dd>{number}</dd>" in page


def test_chosen_days_are_read_again(staff: Client) -> None:
    days = SourceDay.objects.filter(day="2026-11-01")

    response = staff.post(DAYS, {"action": "read_again", "_selected_action": [day.pk for day in days]}, follow=True)

    assert sorted(list_messages(response)) == [
        f"1 day of {slug} will be synced, starting now." for slug in ("gcore-main", "ona-main", "workato-emea")
    ]
    assert set(days.values_list("state", flat=True)) == {"due"}
    assert SyncRun.objects.filter(requested_by="alex", days_total=1).count() == 3


def test_the_vendors_word_is_taken_for_suspect_days_only(staff: Client) -> None:
    suspect = SourceDay.objects.get(state="suspect")
    loaded_day = SourceDay.objects.filter(state="loaded").first()
    assert loaded_day is not None

    response = staff.post(DAYS, {"action": "accept", "_selected_action": [loaded_day.pk]}, follow=True)
    assert list_messages(response) == ["None of the chosen days is suspect; there is nothing to accept."]
    assert staff.post(reverse("admin:usage_sourceday_do", args=[loaded_day.pk, "accept"])).status_code == 403

    page = staff.get(f"{DAYS}{suspect.pk}/change/").content.decode()
    assert "Accept what the vendor reports" in page
    assert "&quot;would_withdraw&quot;: 2" in page
    staff.post(reverse("admin:usage_sourceday_do", args=[suspect.pk, "accept"]))
    suspect.refresh_from_db()
    assert (suspect.shrink_accepted, suspect.state) == (True, "due")


def test_the_suspect_days_among_those_chosen_are_accepted(staff: Client) -> None:
    suspect = SourceDay.objects.get(state="suspect")
    days = [suspect.pk, SourceDay.objects.filter(state="loaded").values_list("pk", flat=True)[0]]

    response = staff.post(DAYS, {"action": "accept", "_selected_action": days}, follow=True)

    assert list_messages(response) == ["1 day of gcore-main will be synced, starting now."]
    suspect.refresh_from_db()
    assert (suspect.shrink_accepted, suspect.state) == (True, "due")


@pytest.mark.parametrize(
    ("verification", "badge"),
    [("unverified", "Unverified, accepted"), ("verified", "Verified")],
)
def test_the_list_says_whose_difference_from_the_vendors_totals_was_accepted(
    staff: Client, verification: str, badge: str
) -> None:
    accepted = {"accepted_at": timezone.now(), "accepted_by": "ada", "accepted_reason": "Known.", "findings": "f" * 32}
    SourceDay.objects.filter(source__slug="gcore-main").update(verification=verification, final=False, **accepted)
    page = staff.get(f"{DAYS}?source=gcore-main").content.decode()
    assert f">{badge}</span>" in page


@pytest.mark.parametrize(("state", "count"), [("running", 1), ("failures", 1), ("cancelled", 1), ("done", 1)])
def test_runs_are_filtered_by_how_they_ended(staff: Client, sources: VendorSources, state: str, count: int) -> None:
    SyncRun.objects.all().delete()
    end_values = {"finished_at": timezone.now()}
    for values in ({}, end_values, end_values | {"days_failed": 1}, end_values | {"cancelled_at": timezone.now()}):
        SyncRun.objects.create(
            source=sources.resources, trigger="command", from_day="2026-11-01", to_day="2026-11-02", **values
        )
    assert staff.get(f"{RUNS}?progress={state}").context["cl"].result_count == count


def test_a_state_that_no_run_has_is_told_and_filters_nothing(staff: Client) -> None:
    response = staff.get(f"{RUNS}?progress=lost", follow=True)
    assert list_messages(response) == ["“lost” is not one of: running, failures, cancelled, done."]


def test_a_halted_source_is_named_instead_of_read(staff: Client, sources: VendorSources) -> None:
    source = sources.resources
    type(source).objects.filter(pk=source.pk).update(halted_at=timezone.now(), halt_reason="401.")
    day = SourceDay.objects.filter(source=source).first()
    assert day is not None

    response = staff.post(reverse("admin:usage_sourceday_do", args=[day.pk, "read-again"]), follow=True)

    assert list_messages(response) == ["gcore-main is halted: 401. Resolve that and resume it first."]


def test_a_viewer_is_offered_no_action(client: Client, sources: VendorSources) -> None:
    sign_in(client, "view_sourceday", "view_rejectedrecord")
    day = SourceDay.objects.get(state="suspect")
    record = RejectedRecord.objects.get()

    for address in (DAYS, REJECTED, f"{DAYS}{day.pk}/change/", f"{REJECTED}{record.pk}/change/"):
        page = client.get(address).content.decode()
        assert not re.search(r'/do/|name="action"', page), address
    assert client.post(reverse("admin:usage_sourceday_do", args=[day.pk, "read-again"])).status_code == 403
    client.post(DAYS, {"action": "read_again", "_selected_action": [day.pk]})
    day.refresh_from_db()
    assert day.state == "suspect"


def test_a_rejected_record_is_shown_as_it_came_and_escaped(staff: Client) -> None:
    record = RejectedRecord.objects.get()

    page = staff.get(f"{REJECTED}{record.pk}/change/").content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_rejected_records_are_told_apart_and_their_day_is_read_again(staff: Client) -> None:
    record = RejectedRecord.objects.get()
    assert staff.get(f"{REJECTED}?status=open").context["cl"].result_count == 1
    assert staff.get(f"{REJECTED}?status=resolved").context["cl"].result_count == 0

    staff.post(REJECTED, {"action": "read_again", "_selected_action": [record.pk]})

    record.source_day.refresh_from_db()
    assert record.source_day.state == "due"


def test_a_days_own_page_says_first_what_it_is_worth(staff: Client) -> None:
    page = staff.get(f"{DAYS}{SourceDay.objects.get(state='failed').pk}/change/").content.decode()

    texts = [
        "Saturday, 14 November 2026",
        "The last sync failed",
        "Gave up after 6 attempts.",
        "What to do:",
        "Sync again",
        "Details",
        "Attempts",
        "Technical details",
    ]
    positions = [page.index(text) for text in texts]
    assert positions == sorted(positions)
    assert "day=2026-11-14" in page
    assert staff.get("/admin/coverage/?source=gcore-main&day=2026-11-14").status_code == 200


@pytest.fixture
def restatement(sources: VendorSources) -> Restatement:
    """A restatement of two units, one of which is new, and of no record more or less."""
    return Restatement.objects.create(
        source_day=SourceDay.objects.get(source=sources.recipes, day="2026-10-25"),
        attempt=2,
        records_before=60,
        records_after=60,
        changed=5,
        returned=1,
        sums_before={"task_count": "2000", "GB": "0.30"},
        sums_after={"task_count": "1990", "GB": "0.30", "minutes": "7.5"},
    )


def test_what_a_restatement_changed_is_told_per_unit_with_sign_and_share(
    staff: Client, restatement: Restatement
) -> None:
    list_page = staff.get(f"{RESTATEMENTS}?source=workato-emea").content.decode()

    assert "−10 tasks (−0.5 %)" in list_page
    assert "2,000 tasks → 1,990 tasks" in list_page
    assert "+0.12 h (new)" in list_page
    assert " GB" not in list_page
    assert "5 changed, 1 returned" in list_page
    assert f"{DAYS}{restatement.source_day_id}/change/" in list_page


@pytest.mark.parametrize(
    ("key", "before", "after", "text", "both"),
    [
        ("task_count", "10000", "10001", "+1 tasks (+less than 0.1 %)", "10,000 tasks → 10,001 tasks"),
        ("bytes", "1000001", "1000000", "−1 bytes (−less than 0.1 %)", "1,000,001 bytes → 1,000,000 bytes"),
        ("bytes", "1000000", "2500000", "+1.5 MB (+150.0 %)", "1 MB → 2.5 MB"),
        ("bytes", None, "0", "±0 bytes", "– → 0 bytes"),
    ],
)
def test_a_change_too_small_to_see_is_told_with_all_its_digits(
    key: str, before: str | None, after: str, text: str, both: str
) -> None:
    change = SumChange(key, None if before is None else Decimal(before), Decimal(after))

    assert (change.text, change.before_and_after) == (text, both)


def test_restatements_are_the_newest_first_and_filtered_by_source_day_and_instant(
    staff: Client, restatement: Restatement
) -> None:
    def list_sources(query: str) -> list[str]:
        rows = staff.get(f"{RESTATEMENTS}?{query}").context["cl"].result_list
        return [str(row.source_day.source) for row in rows]

    today = f"{timezone.now():%Y-%m-%d}"
    assert list_sources("") == ["workato-emea", "gcore-main"]
    assert list_sources("source=gcore-main") == ["gcore-main"]
    day = "source_day__day__range__"
    assert list_sources(f"{day}gte=2026-10-25&{day}lte=2026-10-25") == ["workato-emea"]
    assert list_sources(f"at__range__gte={today}&at__range__lte={today}") == ["workato-emea", "gcore-main"]
    assert list_sources("at__range__lte=2020-01-01") == []


@pytest.mark.parametrize("query", ["range__lte=9999-12-31", "range__gte=0001-01-01"])
def test_a_date_at_the_end_of_the_calendar_is_refused_as_any_wrong_one(
    staff: Client, sources: VendorSources, query: str
) -> None:
    for address in (f"{DAYS}?day__{query}", f"{RESTATEMENTS}?at__{query}"):
        response = staff.get(address, follow=True)

        assert response.status_code == 200
        assert "takes dates such as" in response.content.decode()


def test_a_character_that_no_database_holds_is_refused_by_every_filter() -> None:
    client = sign_in_as("admin")
    for path in (
        "usage/sourceday/?source=a%00b",
        "sync/syncrun/?source=%00",
        "usage/rejectedrecord/?reason=abc%00",
        "accounts/auditentry/?who=%00",
        "accounts/auditentry/export/?object_name=%00",
    ):
        response = client.get(f"/admin/{path}", follow=True)

        assert response.status_code == 200, path
        assert "does not take the character NUL" in response.content.decode(), path


def test_keys_that_are_none_are_refused(staff: Client) -> None:
    assert staff.post(DAYS, {"action": "read_again", "_selected_action": "1 OR 2"}).status_code == 400


def test_a_restatements_page_has_every_number_before_and_after(staff: Client, restatement: Restatement) -> None:
    page = staff.get(f"{RESTATEMENTS}{restatement.pk}/change/").content.decode()

    assert "The vendor corrected this day" in page
    for cell in ("2,000", "1,990", "−10", "−0.5 %", "±0", "new"):
        assert f">{cell}<" in page, cell


def test_someone_limited_to_a_source_sees_its_days_and_restatements_alone(
    sources: VendorSources, restatement: Restatement
) -> None:
    someone = sign_in_as("viewer", sources=[sources.environments])

    assert someone.get(f"{DAYS}?source=gcore-main", follow=True).content.decode().count("gcore-main</td>") == 0
    assert someone.get(RESTATEMENTS).context["cl"].result_count == 0
    assert someone.get(f"{RESTATEMENTS}{restatement.pk}/change/").status_code == 404
    assert someone.get(f"{DAYS}{restatement.source_day_id}/change/").status_code == 404
