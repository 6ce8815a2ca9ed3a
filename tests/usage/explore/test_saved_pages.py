"""The page of saved views, their permalinks, and the one on the overview."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission, User

from tests.support.factories import ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from tests.support.users import create_person, sign_in, sign_in_as
from usage.models import PinnedView, SavedView, Source

pytestmark = pytest.mark.django_db
PAGE = "/admin/explore/views/"


def save(owner: User, name: str = "Spend", **values: Any) -> SavedView:
    """Save a view of resources by project."""
    values = {"kind": "resource-usage", "question": "from=2026-01-01&to=2026-02-01&group_by=project_id", **values}
    return SavedView.objects.create(owner=owner, name=name, **values)


@pytest.fixture
def source() -> Source:
    """A source with usage of two projects in January."""
    created: Source = SourceFactory(slug="gcore-main", vendor="gcore")
    for project, minutes in ((5, 600), (6, 60)):
        ResourceUsageFactory(source=created, project_id=project, consumed_quantity=Decimal(minutes))
    create_source_days(rolled=True)
    return created


def test_the_page_lists_ones_own_and_shared_views_with_their_question_in_words() -> None:
    viewer = create_person("viewer")
    save(viewer, "Mine", question="group_by=project_id,day&source=gcore-main", moving_range="last-month")
    save(create_person("operator"), "Theirs", shared=True)
    save(User.objects.get(username="operator"), "Hidden")

    page: Any = sign_in(viewer).get(PAGE)

    assert [link.view.name for link in page.context["own"]] == ["Mine"]
    assert [link.view.name for link in page.context["shared"]] == ["Theirs"]
    text = page.content.decode()
    assert "By project and day; source: gcore-main" in text
    assert "last month" in text
    assert "Hidden" not in text


def test_a_permalink_of_a_relative_range_shows_the_range_of_today(source: Source) -> None:
    viewer = create_person("viewer")
    view = save(viewer, moving_range="last-month")
    client = sign_in(viewer)
    for now, expected in (
        (datetime(2026, 2, 10, tzinfo=UTC), "2026-01-01"),
        (datetime(2026, 6, 3, tzinfo=UTC), "2026-05-01"),
    ):
        with time_machine.travel(now, tick=False):
            viewer.last_login = now
            page: Any = sign_in(viewer).get(f"{PAGE}{view.pk}/")
        assert page.status_code == 200
        assert (page.context["title"], dict(page.context["form"].filters.common[0].form.data.items())["from"]) == (
            "Spend",
            expected,
        )
    assert client.get(f"{PAGE}{view.pk}/").status_code == 200


def test_every_link_of_a_permalinks_page_leads_on(source: Source) -> None:
    viewer = create_person("viewer")
    client, permalink = sign_in(viewer), f"{PAGE}{save(viewer).pk}/"
    page: Any = client.get(permalink)
    (by_type,) = [link.url for link in page.context["by_dimension"] if "resource_type" in link.url]

    response = client.get(f"{permalink}{by_type}", follow=True)

    assert response.redirect_chain[0][0].startswith("/admin/explore/?kind=resource-usage&")
    assert "group_by=resource_type" in response.redirect_chain[0][0].replace("%2C", ",")
    assert response.context["question_title"] == "Resources by resource type"


def test_a_permalink_opens_for_others_only_where_it_is_shared_and_tells_of_nothing_hidden(source: Source) -> None:
    hidden_source = SourceFactory(slug="zebra", vendor="gcore")
    owner = create_person("operator")
    view, hidden_view = save(owner), save(owner, "Zebra", question="source=zebra", shared=True)
    colleague, limited_client = sign_in_as("viewer"), sign_in_as("viewer", sources=[source])
    assert colleague.get(f"{PAGE}{view.pk}/").status_code == 404

    SavedView.objects.filter(pk=view.pk).update(shared=True)

    assert colleague.get(f"{PAGE}{view.pk}/").status_code == 200
    assert limited_client.get(f"{PAGE}{view.pk}/").status_code == 200
    for address in (f"{PAGE}{hidden_view.pk}/", f"{PAGE}{hidden_view.pk}/preview/"):
        assert limited_client.get(address).status_code == 404
    assert limited_client.post(f"{PAGE}{hidden_view.pk}/pin/").status_code == 404
    assert hidden_source.slug not in limited_client.get(PAGE).content.decode()


def test_a_permalink_to_usage_that_one_may_not_see_is_as_if_it_did_not_exist(source: Source) -> None:
    view, user = save(create_person("operator"), shared=True), create_person("viewer")
    user.groups.clear()
    codenames = ("view_savedview", "view_recipeusage")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))

    for address in (f"{PAGE}{view.pk}/", f"{PAGE}{view.pk}/preview/"):
        assert sign_in(User.objects.get(pk=user.pk)).get(address).status_code == 404


def test_one_view_is_pinned_to_the_overview_in_the_place_of_another(source: Source) -> None:
    viewer = create_person("viewer")
    first, second = save(viewer, "First"), save(viewer, "Second")
    client = sign_in(viewer)

    for view in (first, second):
        assert "is on your overview" in client.post(f"{PAGE}{view.pk}/pin/", follow=True).content.decode()

    assert PinnedView.objects.get(user=viewer).view == second
    overview = client.get("/admin/").content.decode()
    assert f"{PAGE}{second.pk}/preview/" in overview
    assert f"{PAGE}{first.pk}/" not in overview
    client.post(f"{PAGE}{second.pk}/pin/", {"unpin": "1"})
    assert not PinnedView.objects.exists()


def test_a_pinned_view_that_is_shared_no_more_leaves_the_overview() -> None:
    owner, viewer = create_person("operator"), create_person("viewer")
    view = save(owner, shared=True)
    PinnedView.objects.create(user=viewer, view=view)
    client = sign_in(viewer)
    assert "Spend" in client.get("/admin/").content.decode()

    SavedView.objects.filter(pk=view.pk).update(shared=False)

    assert "Spend" not in client.get("/admin/").content.decode()


def test_the_preview_has_the_totals_the_largest_and_how_far_to_trust_them(source: Source) -> None:
    viewer = create_person("viewer")
    view = save(viewer)

    page = sign_in(viewer).get(f"{PAGE}{view.pk}/preview/").content.decode()

    assert 'title="660 minutes"' in page
    assert "90.9 %" in page
    assert page.index(">5 ") < page.index(">6 ")


def test_the_preview_of_days_is_a_chart_and_a_broken_view_says_so(source: Source) -> None:
    viewer = create_person("viewer")
    ResourceUsageFactory(source=source, project_id=5, day=date(2026, 1, 3))
    # Another unit, which the chart of minutes leaves out.
    ResourceUsageFactory(source=source, day=date(2026, 1, 2), billing_metric="traffic", consumed_unit="bytes")
    create_source_days(rolled=True)
    days_view = save(viewer, "Days", question="from=2026-01-01&to=2026-01-04&group_by=day")
    broken_view = save(viewer, "Broken", question="from=never")
    client = sign_in(viewer)

    chart = client.get(f"{PAGE}{days_view.pk}/preview/").content.decode()
    assert chart.count("<rect") == 2
    assert 'x="16"' in chart  # the third day, though the second has no usage
    assert "has a mistake" in client.get(f"{PAGE}{broken_view.pk}/preview/").content.decode()
    assert client.get(f"{PAGE}{broken_view.pk}/").status_code == 400
    assert client.get(f"{PAGE}999999/").status_code == 404
    assert client.get(f"{PAGE}{days_view.pk}/pin/").status_code == 405


def test_a_view_is_shared_and_deleted_from_its_page() -> None:
    viewer = create_person("viewer")
    view = save(viewer)
    client = sign_in(viewer)

    response = client.post(f"{PAGE}{view.pk}/", {"name": "Spend", "shared": "on"})
    assert (response.status_code, response["Location"]) == (302, PAGE)
    assert SavedView.objects.get(pk=view.pk).shared

    client.post(f"{PAGE}{view.pk}/", {"delete": "1"})
    assert not SavedView.objects.exists()
