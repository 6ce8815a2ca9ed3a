"""Staff whose groups are limited to sources: what they see of others on pages and over the API, which is nothing."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal.accounts.authentication import get_source_scope
from portal.accounts.models import ApiToken, GroupScope, create_token
from tests.usage.api.test_access import fill
from usage.models import RejectedRecord, Restatement, Source, SourceDay

pytestmark = pytest.mark.django_db
LISTS = (
    "usage_environmentusage",
    "usage_resourceusage",
    "usage_recipeusage",
    "usage_source",
    "usage_sourceday",
    "usage_restatement",
    "usage_rejectedrecord",
    "sync_syncrun",
    "accounts_apitoken",
)


def create_limited_group(name: str, *sources: Source) -> Group:
    group = Group.objects.create(name=name)
    GroupScope.objects.create(group=group).sources.set(sources)
    return group


def person(*groups: Group) -> User:
    """Return a member of staff who may do everything, within the sources of these groups."""
    user = User.objects.create_user(f"sam-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    user.groups.set(groups)
    return user


@pytest.fixture
def hidden() -> dict[str, Any]:
    return fill("zebra")


@pytest.fixture
def sam(client: Client, hidden: dict[str, Any]) -> Client:
    """Someone who sees the source `seen`, beside which there is `zebra`."""
    fill("seen")
    create_token("token-of-zebra", sources=[Source.objects.get(slug="zebra")])
    create_token("token-of-all-zebras")
    client.force_login(person(create_limited_group("some", Source.objects.get(slug="seen"))))
    return client


def test_limits_add_up_and_a_group_without_one_lifts_none() -> None:
    first, second, _ = (Source.objects.get(slug=slug) for slug in ("a", "b", "c") if fill(slug))
    a, b, empty = create_limited_group("a", first), create_limited_group("b", second), create_limited_group("nothing")
    unlimited = Group.objects.create(name="free")
    assert get_source_scope(person(a, b)) == frozenset({first.pk, second.pk})
    assert get_source_scope(person(a, empty)) == frozenset({first.pk})
    assert get_source_scope(person(empty)) == frozenset()
    assert get_source_scope(person(a, unlimited)) == frozenset({first.pk})
    assert get_source_scope(person(unlimited)) is None
    assert get_source_scope(person()) is None
    chief = User.objects.create_superuser("chief")
    chief.groups.add(a)
    assert get_source_scope(chief) is None
    user = person(a, b)
    with CaptureQueriesContext(connection) as queries:
        get_source_scope(user)
    assert len(queries) == 1


@pytest.mark.parametrize("name", LISTS)
def test_no_page_of_the_admin_tells_of_another_source(sam: Client, name: str) -> None:
    page = sam.get(
        reverse(f"admin:{name}_changelist"),
        {"from": ""} if name.startswith("usage_") and name.endswith("usage") else {},
    )
    assert page.status_code == 200
    assert "zebra" not in page.content.decode()
    if name != "accounts_apitoken":
        assert "seen" in page.content.decode()


def test_the_overview_shows_only_sources_within_the_limit(sam: Client) -> None:
    vendors = sam.get(reverse("admin:index")).context["vendors"]
    assert [card.slug for vendor in vendors for card in vendor.cards] == ["seen"]


def test_details_and_buttons_of_another_source_do_not_exist(sam: Client, hidden: dict[str, Any]) -> None:
    source = Source.objects.get(slug="zebra")
    rows = {
        "usage_source": source.pk,
        "usage_sourceday": SourceDay.objects.get(source=source).pk,
        "usage_restatement": Restatement.objects.get(source_day__source=source).pk,
        "usage_rejectedrecord": RejectedRecord.objects.get(source_day__source=source).pk,
        "usage_environmentusage": hidden["environment-usage"],
        "usage_resourceusage": hidden["resource-usage"],
        "usage_recipeusage": hidden["recipe-usage"],
        "sync_syncrun": hidden["sync-runs"],
        "accounts_apitoken": ApiToken.objects.get(name="token-of-zebra").pk,
    }
    for name, pk in rows.items():
        missing_page = sam.get(reverse(f"admin:{name}_change", args=[987654]))
        hidden_page = sam.get(reverse(f"admin:{name}_change", args=[pk]))
        assert hidden_page.status_code == missing_page.status_code == 404
        assert b"zebra" not in hidden_page.content
    for name, button in (("usage_source", "sync-now"), ("usage_sourceday", "read-again")):
        assert sam.post(reverse(f"admin:{name}_do", args=[rows[name], button])).status_code == 404


def test_an_action_leaves_days_of_other_sources_alone(sam: Client) -> None:
    days = list(SourceDay.objects.values_list("pk", flat=True))
    sam.post(
        reverse("admin:usage_sourceday_changelist"), {"action": "read_again", "_selected_action": days}, follow=True
    )
    assert not Source.objects.get(slug="zebra").runs.filter(trigger="admin").exists()
    assert Source.objects.get(slug="seen").runs.filter(trigger="admin").exists()


def test_an_export_holds_only_sources_within_the_limit(sam: Client) -> None:
    response: Any = sam.get(reverse("admin:usage_environmentusage_export") + "?include_withdrawn=true")
    text = b"".join(response.streaming_content).decode()
    assert "seen" in text
    assert "zebra" not in text


def test_a_filter_by_another_source_says_the_same_as_by_none(sam: Client) -> None:
    pages = []
    for slug in ("zebra", "nothing"):
        response = sam.get(reverse("admin:usage_environmentusage_changelist"), {"source": slug})
        assert response.status_code == 400
        pages.append(re.sub(r'"X-CSRFToken": "[^"]*"|value="[^"]*"', "", response.content.decode()).replace(slug, "…"))
    assert pages[0] == pages[1]


def test_someone_limited_adds_no_source_and_renames_none(sam: Client) -> None:
    assert sam.get(reverse("admin:usage_source_add")).status_code == 403
    page = sam.get(reverse("admin:usage_source_change", args=[Source.objects.get(slug="seen").pk]))
    assert page.status_code == 200
    assert 'name="slug"' not in page.content.decode()


def test_someone_limited_makes_no_token_that_sees_more(sam: Client) -> None:
    address = reverse("admin:accounts_apitoken_add")
    assert b"zebra" not in sam.get(address).content
    form = {"name": "mine", "scopes": ["usage:read"], "lasts": "90"}
    source_id, hidden_id = (Source.objects.get(slug=slug).pk for slug in ("seen", "zebra"))
    for limit in ({}, {"limited": "on", "sources": [hidden_id]}):
        assert sam.post(address, {**form, **limit}).status_code == 200
        assert not ApiToken.objects.filter(name="mine").exists()
    sam.post(address, {**form, "limited": "on", "sources": [source_id]})
    assert list(ApiToken.objects.get(name="mine").sources.values_list("slug", flat=True)) == ["seen"]


def test_a_groups_limit_is_set_on_its_page(client: Client) -> None:
    fill("seen")
    client.force_login(User.objects.create_superuser("alex"))
    group = Group.objects.create(name="finance")
    address = reverse("admin:auth_group_change", args=[group.pk])
    assert client.get(address).status_code == 200
    rows = {"source_scope-TOTAL_FORMS": 1, "source_scope-INITIAL_FORMS": 0}
    limit = {"source_scope-0-sources": [Source.objects.get(slug="seen").pk], "source_scope-0-group": group.pk}
    assert client.post(address, {"name": "finance", **rows, **limit}).status_code == 302
    assert [source.slug for source in GroupScope.objects.get(group=group).sources.all()] == ["seen"]
