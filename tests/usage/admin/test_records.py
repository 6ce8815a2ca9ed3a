"""The usage lists of the admin: fast at any length, with every field of a record, exported as filtered."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse

from tests.support.factories import (
    FIRST,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.users import sign_in_as
from usage.admin.display import render_full_quantity, render_number
from usage.admin.lists.details import format_value
from usage.models import KIND_NAMES, EnvironmentUsage, RecipeUsage, RecordRevision, ResourceUsage, UsageRecord

pytestmark = pytest.mark.django_db
KINDS: list[tuple[type[UsageRecord], Any]] = [
    (EnvironmentUsage, EnvironmentUsageFactory),
    (ResourceUsage, ResourceUsageFactory),
    (RecipeUsage, RecipeUsageFactory),
]
CREDENTIAL = "secret-that-no-page-may-show"


def sign_in_viewer(*permissions: str) -> Client:
    """Sign someone in who has these permissions and no others."""
    user = User.objects.create_user("sam", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def get_list_url(kind: type[UsageRecord]) -> str:
    return reverse(f"admin:usage_{kind._meta.model_name}_changelist")


def list_records(response: Any) -> list[Any]:
    return list(response.context["cl"].result_list)


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_a_list_costs_the_same_few_queries_however_long_it_is(kind, factory, django_assert_num_queries) -> None:
    staff = sign_in_as("admin")
    factory.create_batch(3, source=SourceFactory(credential=CREDENTIAL, credential_env=""))
    # Who is asking (2), the sources to choose from (2: what is wrong is judged before the list is made), and the
    # page within its time (5: a savepoint and the limit around it), and names where the records have only ids.
    name_queries = int(kind is not RecipeUsage)
    with django_assert_num_queries(9 + name_queries):
        response = staff.get(f"{get_list_url(kind)}?from=")

    assert response.status_code == 200
    factory.create_batch(60, source=SourceFactory())
    # A longer list is counted as well, up to a bound and within a time of its own (5).
    with django_assert_num_queries(14 + name_queries):
        response = staff.get(f"{get_list_url(kind)}?from=")
    assert len(list_records(response)) == 50
    assert CREDENTIAL not in response.content.decode()


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_a_record_shows_every_field_and_how_far_its_day_can_be_trusted(kind, factory) -> None:
    source = SourceFactory(credential=CREDENTIAL, credential_env="")
    record = factory(source=source, extra={"said": "<b>more</b>"})
    day = {"complete": True, "loaded_at": datetime.now(UTC), "final": True, "records": 1}
    SourceDayFactory(source=source, day=record.day, **day)
    if kind is ResourceUsage:
        ResourceUsage.objects.update(details={"flavor": "<i>g2</i>"}, tags={"team": ["data", "<u>web</u>"]})

    page = sign_in_as("viewer").get(f"{get_list_url(kind)}{record.pk}/change/").content.decode()

    assert "Complete, final" in page
    assert "&lt;b&gt;more&lt;/b&gt;" in page
    assert CREDENTIAL not in page
    for field in kind._meta.concrete_fields:
        if field.name != "details":
            assert f'data-field="{field.name}"' in page or field.name == "tags", field.name
    assert quote(reverse(f"api:{KIND_NAMES[kind]}-detail", args=[record.pk]), safe="") in page
    if kind is ResourceUsage:
        assert 'data-field="flavor"' in page
        assert "&lt;i&gt;g2&lt;/i&gt;" in page
        assert "team: &lt;u&gt;web&lt;/u&gt;" in page
        assert "tag=team%3Adata" in page


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_a_record_its_totals_and_suggestions_cost_the_same_few_queries(
    kind, factory, django_assert_num_queries
) -> None:
    staff = sign_in_as("admin")
    record = factory()
    factory.create_batch(30)
    ContentType.objects.get_for_model(kind)  # which is asked for once in the life of a process
    # Who is asking (2), the record, its day, the record's image, its revisions, and names where it has only ids.
    with django_assert_num_queries(6 + int(kind is not RecipeUsage)):
        staff.get(f"{get_list_url(kind)}{record.pk}/change/")
    # Who is asking (2), the sources (3), a limit of time around it (4), the trust, whether it is rolled up, the sums.
    with django_assert_num_queries(12):
        staff.get(f"{get_list_url(kind)}totals/", headers={"HX-Request": "true"})
    # Who is asking (2), the sources (2), a limit of time around it (4), the values.
    with django_assert_num_queries(9):
        staff.get(f"{get_list_url(kind)}suggest/{'recipe_id' if kind is RecipeUsage else 'project_id'}/")


def test_a_record_tells_what_it_said_before_it_was_restated() -> None:
    record = RecipeUsageFactory(task_count=12, recipe_name="Sync orders", revision=2)
    extra = {"rates": [1.5, None, True], "plan": {"fée": "x"}}
    old_values = {"task_count": 7, "recipe_name": "Sync <b>orders</b>", "extra": extra}
    RecordRevision.objects.create(
        kind="recipeusage",
        record=record.pk,
        source=record.source,
        day=record.day,
        revision=1,
        replaced_at=FIRST,
        was=old_values,
    )

    page = sign_in_as("viewer").get(f"{get_list_url(RecipeUsage)}{record.pk}/change/").content.decode()

    assert "Restated 1 time" in page
    assert "Revision 1, replaced 2026-01-01 00:00:00 UTC" in page
    assert "Sync &lt;b&gt;orders&lt;/b&gt;" in page
    assert "{&quot;plan&quot;: {&quot;fée&quot;: &quot;x&quot;}, &quot;rates&quot;: [1.5, null, true]}" in page
    assert "Task count" in page
    limited_page = (
        sign_in_viewer("view_recipeusage").get(f"{get_list_url(RecipeUsage)}{record.pk}/change/").content.decode()
    )
    assert "This is revision 2." in limited_page
    assert "Sync &lt;b&gt;orders&lt;/b&gt;" not in limited_page


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_a_record_leads_to_those_it_has_something_in_common_with(kind, factory) -> None:
    record = factory()
    factory(source=record.source)
    staff = sign_in_as("viewer")
    page = staff.get(f"{get_list_url(kind)}{record.pk}/change/").context["page"]

    assert page["related"]
    for link in page["related"]:
        response = staff.get(link.url)
        assert response.status_code == 200, link
        assert record.pk in [row.pk for row in list_records(response)], link


def test_links_of_a_record_take_commas_and_backslashes_as_they_are() -> None:
    source = SourceFactory()
    record = EnvironmentUsageFactory(source=source, project_id="a,b", user_id="back\\", environment_id=" x ")
    EnvironmentUsageFactory(source=source, project_id="a", user_id="b", environment_id="x")
    tagged = ResourceUsageFactory(source=source, tags={"k,1": ["a,b", "~none"]})
    ResourceUsageFactory(source=source, tags={"k": "1"})
    staff = sign_in_as("viewer")
    page = staff.get(f"{get_list_url(EnvironmentUsage)}{record.pk}/change/").context["page"]
    links = {link.label: link.url for link in page["related"]}
    for label in ("Runs of this environment", "Runs of this user", "Runs of this project"):
        assert [row.pk for row in list_records(staff.get(links[label]))] == [record.pk], label
    tags = staff.get(f"{get_list_url(ResourceUsage)}{tagged.pk}/change/").context["page"]["tags"]
    assert [link.label for link in tags] == ["k,1: a,b", "k,1: ~none"]
    for link in tags:
        assert [row.pk for row in list_records(staff.get(link.url))] == [tagged.pk], link


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ({}, "–"),
        (Decimal("1234.50"), "1,234.5"),
        ({"team": "<b>é</b>"}, "<code>{&quot;team&quot;: &quot;&lt;b&gt;é&lt;/b&gt;&quot;}</code>"),
        (["a", 1], "<code>[&quot;a&quot;, 1]</code>"),
        (7, "7"),
    ],
)
def test_a_changed_value_of_any_type_is_shown_with_all_its_digits(value: Any, text: str) -> None:
    assert format_value(value) == text


def test_a_value_and_its_unit_are_one_cell_and_an_unknown_value_has_no_unit() -> None:
    assert render_number(Decimal(5), "tasks") == '<span class="number">5 <span class="unit">tasks</span></span>'
    assert render_number(None, "tasks") == render_full_quantity(None, "tasks") == '<span class="number">–</span>'


def test_a_resource_without_a_name_is_listed_by_its_id_alone() -> None:
    ResourceUsageFactory(resource_name="", resource_id="volume-1")

    page = sign_in_as("viewer").get(f"{get_list_url(ResourceUsage)}?from=").content.decode()

    assert '<span class="code" title="volume-1">volume-1</span>' in page
    assert '<span class="named"><span class="code" title="volume-1">' not in page


def test_a_record_that_was_withdrawn_says_so_and_since_when() -> None:
    record = EnvironmentUsageFactory(withdrawn_at=datetime(2026, 11, 20, 9, 30, tzinfo=UTC))
    staff = sign_in_as("viewer")

    assert (
        "Withdrawn on 20 Nov 2026, 09:30 UTC"
        in staff.get(f"{get_list_url(EnvironmentUsage)}{record.pk}/change/").content.decode()
    )
    page = staff.get(f"{get_list_url(EnvironmentUsage)}?include_withdrawn=true").content.decode()
    assert '<s class="withdrawn">' in page
    assert "withdrawn 20 Nov 2026" in page
    assert list_records(staff.get(f"{get_list_url(EnvironmentUsage)}?from=")) == []


def test_a_record_of_another_source_is_not_there() -> None:
    own_record, other_record = EnvironmentUsageFactory(), EnvironmentUsageFactory()
    staff = sign_in_as("viewer", sources=[own_record.source])

    assert staff.get(f"{get_list_url(EnvironmentUsage)}{own_record.pk}/change/").status_code == 200
    assert staff.get(f"{get_list_url(EnvironmentUsage)}{other_record.pk}/change/").status_code == 404
    assert [row.pk for row in list_records(staff.get(f"{get_list_url(EnvironmentUsage)}?from="))] == [own_record.pk]


def test_a_link_to_its_day_is_for_who_may_see_days() -> None:
    record = EnvironmentUsageFactory()
    day = SourceDayFactory(source=record.source, day=record.day)
    address = reverse("admin:usage_sourceday_change", args=[day.pk])
    record_page = f"{get_list_url(EnvironmentUsage)}{record.pk}/change/"

    assert address in sign_in_as("viewer").get(record_page).content.decode()
    assert address not in sign_in_viewer("view_environmentusage").get(record_page).content.decode()


@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_nobody_adds_changes_or_deletes_usage(kind, factory) -> None:
    staff = sign_in_as("admin")
    record = factory()
    address = get_list_url(kind)

    assert staff.get(f"{address}add/").status_code == 403
    assert staff.post(f"{address}{record.pk}/change/", {"day": "2020-01-01"}).status_code == 403
    assert staff.get(f"{address}{record.pk}/delete/").status_code == 403
    assert staff.post(address, {"action": "delete_selected", "_selected_action": [record.pk]}).status_code in {200, 302}
    assert kind.objects.count() == 1


@pytest.mark.django_db(transaction=True)  # an export is read over a connection of its own
@pytest.mark.parametrize(("kind", "factory"), KINDS)
def test_the_export_is_the_filtered_set_and_not_the_page(kind, factory) -> None:
    staff = sign_in_as("viewer")
    own_source = SourceFactory(slug="mine")
    factory.create_batch(70, source=own_source)
    factory.create_batch(2)
    factory(source=own_source, withdrawn_at=datetime.now(UTC))

    response = staff.get(f"{get_list_url(kind)}export/?source=mine")
    rows = list(csv.DictReader(b"".join(response.streaming_content).decode("utf-8-sig").splitlines()))  # type: ignore[attr-defined]

    assert len(rows) == 70
    assert {row["source"] for row in rows} == {"mine"}
    assert response["Content-Disposition"].startswith(
        f'attachment; filename="{kind._meta.verbose_name_plural}'.replace(" usage", "-usage")
    )
    assert "_mine_as-of-" in response["Content-Disposition"]


@pytest.mark.parametrize("query", ["source=nowhere", "workspace_id=abc", "colour=red"])
def test_a_filter_that_is_not_understood_is_never_exported(query: str) -> None:
    RecipeUsageFactory()
    staff = sign_in_as("viewer")

    response = staff.get(f"{get_list_url(RecipeUsage)}export/?{query}", follow=True)

    assert response.redirect_chain
    (message,) = [str(text) for text in response.context["messages"]]
    assert query.partition("=")[2] in message or "Unknown parameter" in message


def test_no_column_of_a_usage_table_can_be_sorted_or_searched_by() -> None:
    for kind, _ in KINDS:
        model_admin = admin.site._registry[kind]
        assert model_admin.sortable_by == ()
        assert model_admin.search_fields == ()


def test_what_may_not_be_viewed_may_not_be_exported() -> None:
    client = sign_in_viewer("view_recipeusage")

    assert client.get(f"{get_list_url(RecipeUsage)}export/").status_code == 200
    assert client.get(f"{get_list_url(EnvironmentUsage)}export/").status_code == 403
    for path in ("", "totals/", "suggest/user_id/", "find/?id=run-1"):
        assert client.get(get_list_url(EnvironmentUsage) + path).status_code == 403


def test_anonymous_people_are_sent_to_the_sign_in_page(client: Client) -> None:
    response = client.get(f"{get_list_url(RecipeUsage)}export/")

    assert response.status_code == 302
    assert "/login/" in response["Location"]
