"""Saved views: stored under a name, listed, shared or not, and hidden from people who may not see their sources."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.support.factories import SourceFactory
from tests.support.users import create_person, sign_in, sign_in_as
from usage.models import SavedView

pytestmark = pytest.mark.django_db
PAGE = "/admin/explore/"
QUESTION = "from=2026-01-01&to=2026-02-01&group_by=project_id,day"


def save(client: Client, name: str, **values: str) -> list[str]:
    """Save a view and return the messages of the page."""
    data = {"kind": "resource-usage", "question": QUESTION, "name": name, **values}
    response = client.post(f"{PAGE}views/", data, follow=True)
    return [str(message) for message in response.context["messages"]]


def get_urls(client: Client) -> dict[str, str]:
    """Return the URL of each listed view by its name."""
    page = client.get(f"{PAGE}?kind=resource-usage")
    return {link.view.name: link.url for link in page.context["views"]}


def test_a_view_is_saved_found_again_and_opened() -> None:
    client = sign_in_as("viewer")
    assert save(client, "January") == ["“January” is saved; you find it under Saved views."]
    assert get_urls(client) == {"January": f"{PAGE}?kind=resource-usage&{QUESTION}"}
    page = client.get(get_urls(client)["January"])
    assert page.status_code == 200
    assert [(link.view.name, link.is_current) for link in page.context["views"]] == [("January", True)]


def test_a_view_of_everything_is_saved_and_one_of_an_unknown_kind_is_not() -> None:
    client = sign_in_as("viewer")

    saved = save(client, "All", kind="usage", question="from=2026-01-01&to=2026-02-01&interval=day")

    assert saved == ["“All” is saved; you find it under Saved views."]
    assert client.post(f"{PAGE}views/", {"kind": "euros", "question": "", "name": "x"}).status_code == 403
    assert [view.kind for view in SavedView.objects.all()] == ["usage"]


def test_a_view_of_last_month_moves_with_the_calendar() -> None:
    client = sign_in_as("viewer")
    with time_machine.travel(datetime(2026, 2, 10, tzinfo=UTC), tick=False):
        save(client, "Last month", moving="last-month")
        save(client, "That month")
        assert client.get(get_urls(client)["Last month"]).context["moving"] == {"last-month": "last month"}
    with time_machine.travel(datetime(2026, 6, 10, tzinfo=UTC), tick=False):
        views = get_urls(sign_in(User.objects.get(username="viewer")))
    assert views["Last month"] == f"{PAGE}?kind=resource-usage&from=2026-05-01&to=2026-06-01&group_by=project_id,day"
    assert views["That month"].endswith(QUESTION)


def test_a_range_of_two_names_moves_by_the_one_that_is_chosen() -> None:
    client = sign_in_as("viewer")
    question = {"from": "2026-11-01", "to": "2026-12-01", "group_by": "day"}
    with time_machine.travel(datetime(2026, 12, 1, 12, tzinfo=UTC), tick=False):
        page = client.get(PAGE, {"kind": "resource-usage", **question})
        assert page.context["moving"] == {"last-month": "last month", "last-30-days": "the last 30 days"}
        for moving in ("last-month", "last-30-days", "last-7-days"):
            save(client, moving, question=urlencode(question), moving=moving)
    ranges = dict(SavedView.objects.values_list("name", "moving_range"))
    assert ranges == {"last-month": "last-month", "last-30-days": "last-30-days", "last-7-days": ""}


def test_a_view_is_its_owners_unless_it_is_shared() -> None:
    owner, other_client = sign_in_as("viewer"), sign_in_as("viewer")
    save(owner, "Mine")
    save(owner, "Ours", shared="on")
    assert set(get_urls(other_client)) == {"Ours"}
    view = SavedView.objects.get(name="Ours")
    for data in ({"name": "Theirs"}, {"delete": "1"}):
        assert other_client.post(f"{PAGE}views/{view.pk}/", data).status_code == 404
    assert set(get_urls(owner)) == {"Mine", "Ours"}
    assert b"by viewer" in other_client.get(f"{PAGE}?kind=resource-usage").content


def test_views_that_others_share_push_ones_own_away_no_more_than_hidden_ones_push_shared_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("usage.explore.saved.MAX_VIEWS", 2)
    visible_source, other_client = SourceFactory(slug="mine"), sign_in_as("viewer")
    SourceFactory(slug="zebra")
    for name, question in [("a", "source=zebra&source=mine"), ("b", "source=zebra"), ("c", ""), ("d", ""), ("e", "")]:
        save(other_client, name, question=question, shared="on")
    client = sign_in_as("viewer", sources=[visible_source])
    save(client, "z")

    assert list(get_urls(client)) == ["z", "c", "d"]


@pytest.mark.parametrize(("verb", "data"), [("change", {"name": "Another"}), ("delete", {"delete": "1"})])
def test_who_may_not_keep_views_is_offered_no_button_that_would_refuse(verb: str, data: dict[str, str]) -> None:
    user = create_person("viewer")
    view = SavedView.objects.create(owner=user, name="Mine", kind="resource-usage")
    user.groups.clear()
    user.user_permissions.add(Permission.objects.get(codename="view_resourceusage"))
    client, address = sign_in(User.objects.get(pk=user.pk)), f"{PAGE}views/{view.pk}/"

    page = client.get(f"{PAGE}?kind=resource-usage").content.decode()
    assert "Mine" in page
    assert f"{PAGE}views/" not in page
    assert client.post(f"{PAGE}views/", {"kind": "resource-usage", "question": "", "name": "x"}).status_code == 403
    assert client.post(address, data).status_code == 403

    user.user_permissions.add(Permission.objects.get(codename=f"{verb}_savedview"))
    client = sign_in(User.objects.get(pk=user.pk))
    assert address in client.get(f"{PAGE}?kind=resource-usage").content.decode()
    assert client.post(address, data).status_code == 302


def test_a_view_is_renamed_unshared_and_deleted_by_its_owner() -> None:
    owner, other_client = sign_in_as("viewer"), sign_in_as("viewer")
    save(owner, "Ours", shared="on")
    view = SavedView.objects.get()
    response = owner.post(f"{PAGE}views/{view.pk}/", {"name": "Only mine", "back": f"kind=resource-usage&{QUESTION}"})
    assert response["Location"] == f"{PAGE}?kind=resource-usage&{QUESTION}"
    assert (set(get_urls(owner)), get_urls(other_client)) == ({"Only mine"}, {})
    owner.post(f"{PAGE}views/{view.pk}/", {"delete": "1"})
    assert get_urls(owner) == {}


def test_two_views_of_one_person_have_two_names() -> None:
    client, other_client = sign_in_as("viewer"), sign_in_as("viewer")
    save(client, "January")
    assert save(client, " January ") == ["You have a view “January” already; give another name."]
    assert save(client, "  ") == ["Give the view a name."]
    save(other_client, "January")
    save(client, "February")
    february = SavedView.objects.get(name="February")
    client.post(f"{PAGE}views/{february.pk}/", {"name": "January"})
    assert set(get_urls(client)) == {"January", "February"}


@pytest.mark.parametrize("question", ["group_by=colour", "from=2026-02-30", "colour=red", "source=nobody"])
def test_only_a_question_that_can_be_asked_is_saved(question: str) -> None:
    assert save(sign_in_as("viewer"), "Wrong", question=question) == [
        "This view has invalid parameters, so it was not saved. Correct them first."
    ]
    assert not SavedView.objects.exists()


def test_a_shared_view_tells_a_limited_person_of_no_other_source() -> None:
    own_source, other_source = SourceFactory(slug="mine", vendor="gcore"), SourceFactory(slug="zebra", vendor="gcore")
    client = sign_in_as("viewer")
    questions = {
        "open": QUESTION,
        "of mine": f"{QUESTION}&source=mine&project_id=7",
        "of zebra": f"{QUESTION}&source=zebra",
        "of both": f"{QUESTION}&source=mine,zebra",
        "of a project": f"{QUESTION}&project_id=7",
    }
    for name, question in questions.items():
        assert save(client, name, question=question, shared="on") != []
    assert set(get_urls(sign_in_as("viewer", sources=[own_source]))) == {"open", "of mine"}
    assert set(get_urls(sign_in_as("viewer", sources=[other_source]))) == {"open", "of zebra"}
    assert set(get_urls(sign_in_as("viewer"))) == set(questions)


def test_a_shared_view_of_a_kind_that_one_may_not_see_is_not_listed() -> None:
    save(sign_in_as("viewer"), "Resources", shared="on")
    user = create_person("viewer")
    user.groups.clear()
    user.user_permissions.add(Permission.objects.get(codename="view_recipeusage"))
    client = sign_in(User.objects.get(pk=user.pk))
    assert client.get(f"{PAGE}?kind=recipe-usage").context["views"] == []
    assert client.post(f"{PAGE}views/", {"kind": "resource-usage", "question": "", "name": "x"}).status_code == 403


def test_a_view_is_changed_by_a_form_of_the_portal_only() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(create_person("viewer"))
    data = {"kind": "resource-usage", "question": "", "name": "x"}
    assert client.post(f"{PAGE}views/", data).status_code == 403
    assert client.put(f"{PAGE}views/").status_code in {403, 405}
