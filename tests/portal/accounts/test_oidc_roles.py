"""The roles that the OpenID provider's groups give and take."""

# ruff: noqa: F811 (the fixture that comes from test_oidc is asked for by its name)
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client, override_settings

from tests.portal.accounts.test_oidc import identity, sign_in  # noqa: F401
from tests.support.openid_provider import Identity

pytestmark = pytest.mark.django_db
MAPPED = {"PORTAL_OIDC_GROUPS_CLAIM": "groups", "PORTAL_OIDC_GROUPS": ["usage staff=viewer", "usage ops=operator"]}


def test_the_providers_groups_give_roles_and_take_them_again(identity: Identity) -> None:
    identity.person["groups"] = ["usage ops", "everybody", "administrator"]
    with override_settings(**MAPPED):
        sign_in(Client())
        user = User.objects.get()
        finance = Group.objects.create(name="finance")
        user.groups.add(finance)
        assert get_roles(user) == {"operator", "finance"}
        identity.person["groups"] = "usage staff"
        sign_in(Client())
        assert get_roles(user) == {"viewer", "finance"}
        del identity.person["groups"]
        sign_in(Client())
        assert get_roles(user) == {"finance"}


OVERAGES = [
    ("token", {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x.example"}}}),
    ("token", {"hasgroups": True}),
    ("info", {"hasgroups": "true"}),
]


@pytest.mark.parametrize(("part", "claims"), OVERAGES)
def test_groups_that_are_too_many_for_a_token_take_no_role_away(
    identity: Identity, caplog: pytest.LogCaptureFixture, part: str, claims: dict[str, Any]
) -> None:
    identity.person["groups"] = ["usage ops"]
    with override_settings(**MAPPED):
        sign_in(Client())
        del identity.person["groups"]
        setattr(identity, part, claims)
        assert sign_in(Client()).status_code == 302
    assert get_roles(User.objects.get()) == {"operator"}
    assert "the roles stay as they are" in caplog.text
    assert "left out the claim groups" in caplog.text
    assert "x.example" not in caplog.text


@pytest.mark.parametrize(
    "claims", [{"_claim_names": {"other": "src1"}}, {"_claim_names": ["groups"]}, {"hasgroups": False}, {}]
)
def test_groups_that_are_simply_absent_take_the_roles_away(identity: Identity, claims: dict[str, Any]) -> None:
    identity.person["groups"] = ["usage ops"]
    with override_settings(**MAPPED):
        sign_in(Client())
        del identity.person["groups"]
        identity.token = claims
        sign_in(Client())
    assert get_roles(User.objects.get()) == set()


@pytest.mark.parametrize("claim", [5, True, {"usage staff": 1}])
def test_a_claim_that_is_no_list_changes_no_role(
    identity: Identity, caplog: pytest.LogCaptureFixture, claim: Any
) -> None:
    identity.person["groups"] = ["usage ops"]
    with override_settings(**MAPPED):
        sign_in(Client())
        identity.person["groups"] = claim
        assert sign_in(Client()).status_code == 302
    assert get_roles(User.objects.get()) == {"operator"}
    assert "neither a text nor a list" in caplog.text


def test_without_a_mapping_groups_are_roles_by_their_own_names(identity: Identity) -> None:
    identity.person["groups"] = ["viewer", "superuser", "finance"]
    Group.objects.create(name="finance")
    with override_settings(PORTAL_OIDC_GROUPS_CLAIM="groups"):
        sign_in(Client())
    assert get_roles(User.objects.get()) == {"viewer"}


def test_without_a_claim_the_roles_are_what_administrators_gave(identity: Identity) -> None:
    identity.person["groups"] = ["administrator"]
    sign_in(Client())
    user = User.objects.get()
    user.groups.add(Group.objects.get(name="viewer"))
    sign_in(Client())
    assert get_roles(user) == {"viewer"}


def get_roles(user: User) -> set[str]:
    return set(User.objects.get(pk=user.pk).groups.values_list("name", flat=True))
