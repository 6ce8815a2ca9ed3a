"""The three roles: what each may do, how they are made, and that nothing a deployment has is taken away."""

from http import HTTPStatus
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, Permission

from portal.accounts.authentication import get_source_scope
from portal.accounts.roles import (
    ADMINISTRATOR,
    INTERNAL_MODELS,
    MODELS_WITH_PAGES,
    OPERATOR,
    ROLE_DESCRIPTIONS,
    ROLES,
    VIEWER,
    create_roles,
)
from tests.support.factories import SourceFactory
from tests.support.users import create_person, sign_in_as

pytestmark = pytest.mark.django_db


def list_permissions(group: str) -> set[str]:
    """Return the permissions of a group."""
    permissions = Permission.objects.filter(group__name=group).values_list("content_type__app_label", "codename")
    return {f"{app}.{code}" for app, code in permissions}


def test_migrations_make_the_roles_with_every_right_that_is_theirs() -> None:
    """Fails where a right was added to a role and no migration gives it: write one that calls `create_roles`."""
    permissions = {role: list_permissions(role) for role in ROLES}
    assert permissions == {role: set(rights) for role, rights in ROLES.items()}
    assert set(ROLE_DESCRIPTIONS) == set(ROLES)


def test_every_model_of_usage_is_seen_by_viewers_or_named_as_without_a_page() -> None:
    """Fails for a new model: name it in portal/accounts/roles.py, and write a migration that calls `create_roles`."""
    models = {model._meta.label_lower for app in ("usage", "sync") for model in apps.get_app_config(app).get_models()}
    automatic = {model._meta.label_lower for model in apps.get_models(include_auto_created=True)} - models
    named_models = {right.replace("view_", "") for right in ROLES[VIEWER] if ".view_" in right} | set(INTERNAL_MODELS)
    assert models - automatic - named_models == set()
    assert set(MODELS_WITH_PAGES) & set(INTERNAL_MODELS) == set()


def test_each_role_may_do_what_the_one_before_it_may() -> None:
    assert set(ROLES[VIEWER]) < set(ROLES[OPERATOR]) < set(ROLES[ADMINISTRATOR])
    own = ("_savedview", "_report")  # the pages change only one's own
    assert {right for right in ROLES[VIEWER] if ".view_" not in right and not right.endswith(own)} == set()
    assert {role for role in ROLES if "reports.manage_report" in ROLES[role]} == {ADMINISTRATOR}


def test_making_roles_again_changes_nothing_and_takes_nothing() -> None:
    viewers, finance = Group.objects.get(name=VIEWER), Group.objects.create(name="finance")
    permission = Permission.objects.get(codename="add_source")
    viewers.permissions.add(permission)
    finance.permissions.add(permission)
    before = {name: list_permissions(name) for name in (*ROLES, "finance")}
    create_roles()
    assert {name: list_permissions(name) for name in (*ROLES, "finance")} == before
    assert Group.objects.count() == len(ROLES) + 1


def test_a_group_that_a_deployment_already_calls_viewer_becomes_the_role() -> None:
    Group.objects.all().delete()
    Group.objects.create(name=VIEWER)
    create_roles()
    assert list_permissions(VIEWER) == set(ROLES[VIEWER])


def test_the_roles_are_made_where_no_permission_exists_yet() -> None:
    """As on a new database, where Django makes permissions only when all migrations have run."""
    Group.objects.all().delete()
    Permission.objects.all().delete()
    import_module("portal.accounts.migrations.0001_initial").create_roles(apps)
    assert list_permissions(ADMINISTRATOR) == set(ROLES[ADMINISTRATOR])


def test_who_has_no_account_sees_no_source() -> None:
    SourceFactory.create()
    assert get_source_scope(AnonymousUser()) == frozenset()


def test_a_person_of_a_role_sees_all_sources_unless_they_are_limited() -> None:
    source, _ = SourceFactory.create_batch(2)
    assert get_source_scope(create_person("operator")) is None
    assert get_source_scope(create_person("operator", sources=[source])) == frozenset({source.pk})
    assert get_source_scope(create_person("viewer", sources=[])) == frozenset()


@pytest.mark.parametrize(("role", "pages"), [("viewer", 18), ("operator", 18), ("administrator", 23), ("admin", 23)])
def test_a_person_of_a_role_opens_what_the_navigation_offers(role: str, pages: int) -> None:
    client = sign_in_as(role)
    navigation: Any = client.get("/admin/").context["navigation"]
    urls = [link.url for menu in navigation for link in menu.links]
    assert len(urls) == pages, urls
    assert {client.get(url, follow=True).status_code for url in urls} == {HTTPStatus.OK}
