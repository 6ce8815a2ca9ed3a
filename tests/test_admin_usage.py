"""The usage tables of the staff admin: fast however long, filtered by what is indexed, exported as filtered."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from tests.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
    many_environments,
)
from usage.admin import display, paging
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

pytestmark = pytest.mark.django_db
KINDS: list[tuple[type[UsageRecord], Any]] = [
    (EnvironmentUsage, EnvironmentUsageFactory),
    (ResourceUsage, ResourceUsageFactory),
    (RecipeUsage, RecipeUsageFactory),
]
CREDENTIAL = "secret-that-no-page-may-show"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("alex"))
    return client


def viewer(client: Client, *permissions: str) -> Client:
    """Sign someone in who has these permissions and no others."""
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def listing(kind: type[UsageRecord]) -> str:
    return reverse(f"admin:usage_{kind._meta.model_name}_changelist")


def shown(answer: Any) -> list[Any]:
    return list(answer.context["cl"].result_list)


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_a_list_costs_the_same_few_queries_however_long_it_is(
    staff: Client, kind, factory, django_assert_num_queries
) -> None:
    factory.create_batch(3, source=SourceFactory(credential=CREDENTIAL, credential_env=""))
    # Who is asking (2), the sources of the filter, the bounded count, the page.
    with django_assert_num_queries(5):
        answer = staff.get(listing(kind))

    assert answer.status_code == 200
    factory.create_batch(60, source=SourceFactory())
    with django_assert_num_queries(5):
        answer = staff.get(listing(kind))
    assert len(shown(answer)) == 50
    assert CREDENTIAL not in answer.content.decode()


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_a_record_shows_every_field_and_how_far_its_day_can_be_trusted(staff: Client, kind, factory) -> None:
    source = SourceFactory(credential=CREDENTIAL, credential_env="")
    record = factory(source=source, extra={"said": "<b>more</b>"})
    SourceDayFactory(source=source, day=record.day, complete=True, loaded_at=datetime.now(UTC), final=True)

    page = staff.get(f"{listing(kind)}{record.pk}/change/").content.decode()

    assert "Complete; final." in page
    assert "&lt;b&gt;more&lt;/b&gt;" in page
    assert CREDENTIAL not in page
    for field in kind._meta.concrete_fields:
        if field.name != "id":
            assert f'class="form-row field-{field.name}' in page, field.name


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_nobody_adds_changes_or_deletes_usage(staff: Client, kind, factory) -> None:
    record = factory()
    address = listing(kind)

    assert staff.get(f"{address}add/").status_code == 403
    assert staff.post(f"{address}{record.pk}/change/", {"day": "2020-01-01"}).status_code == 403
    assert staff.get(f"{address}{record.pk}/delete/").status_code == 403
    assert staff.post(address, {"action": "delete_selected", "_selected_action": [record.pk]}).status_code in {200, 302}
    assert kind.objects.count() == 1


@pytest.mark.django_db(transaction=True)  # an export is read over a connection of its own
@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_the_export_is_the_filtered_set_and_not_the_page(staff: Client, kind, factory) -> None:
    mine = SourceFactory(slug="mine")
    factory.create_batch(70, source=mine)
    factory.create_batch(2)
    factory(source=mine, withdrawn_at=datetime.now(UTC))

    answer = staff.get(f"{listing(kind)}export/?source=mine")
    rows = list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))  # type: ignore[attr-defined]

    assert len(rows) == 70
    assert {row["source"] for row in rows} == {"mine"}
    assert answer["Content-Disposition"].startswith(
        f'attachment; filename="{kind._meta.verbose_name_plural}'.replace(" usage", "-usage")
    )
    assert "_mine_as-of-" in answer["Content-Disposition"]


def test_a_range_takes_in_the_whole_of_its_last_day(staff: Client) -> None:
    source = SourceFactory()
    instants = [
        "2026-01-01T23:59:59.999999",
        "2026-01-02T00:00:00",
        "2026-01-02T23:59:59.999999",
        "2026-01-03T00:00:00",
    ]
    for instant in instants:
        EnvironmentUsageFactory(source=source, stopped_at=datetime.fromisoformat(instant).replace(tzinfo=UTC))

    answer = staff.get(
        f"{listing(EnvironmentUsage)}?stopped_at__range__gte=2026-01-02&stopped_at__range__lte=2026-01-02"
    )

    assert [record.stopped_at.strftime("%dT%H:%M") for record in shown(answer)] == ["02T23:59", "02T00:00"]


def test_ids_are_compared_exactly(staff: Client) -> None:
    RecipeUsageFactory(workspace_id=501)
    RecipeUsageFactory(workspace_id=5010)

    assert len(shown(staff.get(f"{listing(RecipeUsage)}?workspace_id=501"))) == 1
    assert len(shown(staff.get(f"{listing(RecipeUsage)}?workspace_id="))) == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("workspace_id=abc", "“abc” is not a whole number, as workspace id is."),
        ("starts_at__range__gte=2026-13-40", "The range of “starts at” takes dates such as 2026-11-20."),
        ("source=nowhere", "There is no source “nowhere”."),
        ("withdrawn=perhaps", "“perhaps” is no choice of withdrawn records: shown and only are."),
    ],
)
@pytest.mark.parametrize("path", ["", "export/"])
def test_a_filter_that_is_not_understood_is_told_and_never_exported(
    staff: Client, asked: str, said: str, path: str
) -> None:
    RecipeUsageFactory()

    answer = staff.get(f"{listing(RecipeUsage)}{path}?{quote(asked, safe='=')}", follow=True)

    assert answer.redirect_chain
    assert [str(message) for message in answer.context["messages"]] == [said]


@pytest.mark.parametrize(
    "asked", ["runner_id=runner-1", "extra__said=1", "source__credential__startswith=a", "record_id__contains=1"]
)
def test_nothing_is_asked_by_that_the_page_does_not_offer(staff: Client, asked: str) -> None:
    assert staff.get(f"{listing(EnvironmentUsage)}?{asked}").status_code == 400
    assert staff.get(f"{listing(EnvironmentUsage)}export/?{asked}").status_code == 400


def test_no_column_of_a_usage_table_can_be_sorted_or_searched_by(staff: Client) -> None:
    for kind, _ in KINDS:
        model_admin = admin.site._registry[kind]
        assert model_admin.sortable_by == ()
        assert model_admin.search_fields == ()


def test_a_long_list_says_that_its_count_is_estimated(staff: Client, monkeypatch) -> None:
    monkeypatch.setattr(paging, "MOST_ROWS", 100)
    many_environments(SourceFactory.create(), 1500)

    answer = staff.get(listing(EnvironmentUsage))
    page = answer.content.decode()

    assert "(estimated). Narrow the filter" in page
    assert answer.context["cl"].paginator.num_pages == 2
    assert staff.get(f"{listing(EnvironmentUsage)}?p=3").status_code == 302  # deep pages are bounded


@pytest.mark.parametrize(
    ("asked", "index"), [("", "environmentusage_stopped"), ("?withdrawn=only", "environmentusage_gone")]
)
def test_the_newest_page_is_read_off_an_index(staff: Client, asked: str, index: str) -> None:
    source = SourceFactory.create()
    many_environments(source, 3000)
    many_environments(source, 100, withdrawn_at=datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE usage_environmentusage")
    plan = staff.get(listing(EnvironmentUsage) + asked).context["cl"].queryset[:50].explain()

    assert index in plan
    assert "Sort" not in plan


def test_what_may_not_be_viewed_may_not_be_exported(client: Client) -> None:
    viewer(client, "view_recipeusage")

    assert client.get(f"{listing(RecipeUsage)}export/").status_code == 200
    assert client.get(f"{listing(EnvironmentUsage)}export/").status_code == 403
    assert client.get(listing(EnvironmentUsage)).status_code == 403


def test_anonymous_people_are_sent_to_the_sign_in_page(client: Client) -> None:
    answer = client.get(f"{listing(RecipeUsage)}export/")

    assert answer.status_code == 302
    assert "/login/" in answer["Location"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ("5.25", "5.2 s"),
        ("60", "1 min 0 s"),
        ("725", "12 min 5 s"),
        ("15120", "4 h 12 min"),
        ("273600", "3 d 4 h"),
    ],
)
def test_durations_are_told_in_two_units(seconds: str, words: str) -> None:
    assert display.duration(Decimal(seconds)) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1234567.890100"), "1,234,567.8901"),
        (Decimal("12345678901234567890.12"), "12,345,678,901,234,567,890.12"),
        (Decimal("1E+3"), "1,000"),
        (1000, "1,000"),
        (None, "–"),
    ],
)
def test_numbers_are_shown_to_their_last_digit(value: Decimal | int | None, text: str) -> None:
    assert display.exact(value) == text
