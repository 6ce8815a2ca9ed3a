"""What an administrator cannot do: give themselves or others more than they have, or change who has more."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from portal.accounts.authentication import get_source_scope
from portal.accounts.models import GroupScope
from tests.support.factories import SourceFactory
from tests.support.users import PASSWORD, create_person, sign_in
from usage.models import Source

pytestmark = pytest.mark.django_db
NO_LIMIT = {"source_scope-TOTAL_FORMS": 0, "source_scope-INITIAL_FORMS": 0}


def get_page_url(user_or_group: User | Group) -> str:
    return reverse(f"admin:auth_{user_or_group._meta.model_name}_change", args=[user_or_group.pk])


def build_user_form(user: User, **changes: Any) -> dict[str, Any]:
    """Return what the form of a person posts, and whatever an attacker adds to it."""
    groups = list(user.groups.values_list("pk", flat=True))
    return {"username": user.username, "email": user.email, "is_active": "on", "groups": groups, **changes}


def role(name: str) -> int:
    return Group.objects.get(name=name).pk


@pytest.fixture
def anna() -> User:
    """An administrator."""
    return create_person("administrator")


def test_nobody_raises_themselves_to_superuser_or_gives_themselves_a_right(anna: User) -> None:
    client = sign_in(anna)
    page = client.get(get_page_url(anna)).content.decode()
    assert "superuser" not in page.lower()
    assert "user_permissions" not in page
    rights = {"is_superuser": "on", "user_permissions": list(Permission.objects.values_list("pk", flat=True))}
    powerful_group = Group.objects.create(name="everything")
    powerful_group.permissions.set(Permission.objects.all())
    client.post(get_page_url(anna), build_user_form(anna, **rights, groups=[powerful_group.pk]))
    anna = User.objects.get(pk=anna.pk)
    assert not anna.is_superuser
    assert not anna.user_permissions.exists()
    assert [group.name for group in anna.groups.all()] == ["administrator"]


def test_nobody_makes_another_a_superuser_but_superusers(anna: User) -> None:
    pat = create_person("viewer")
    sign_in(anna).post(get_page_url(pat), build_user_form(pat, is_superuser="on"))
    assert not User.objects.get(pk=pat.pk).is_superuser
    sign_in(create_person("admin")).post(get_page_url(pat), build_user_form(pat, is_superuser="on"))
    assert User.objects.get(pk=pat.pk).is_superuser


def test_an_administrator_changes_nothing_of_a_superuser(anna: User) -> None:
    chief = create_person("admin")
    client = sign_in(anna)
    assert client.post(get_page_url(chief), build_user_form(chief, email="anna@example.com")).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[chief.pk])
    assert client.get(password).status_code == 403
    new = {"usable_password": "true", "password1": "another-phrase-1", "password2": "another-phrase-1"}
    assert client.post(password, new).status_code == 403
    assert User.objects.get(pk=chief.pk).check_password(PASSWORD)
    page = client.get(get_page_url(chief)).content.decode()
    assert 'name="_save"' not in page
    assert "/password/" not in page


@pytest.mark.parametrize("role", ["administrator", "admin"])
def test_nobody_sets_their_own_password_without_the_old_one(role: str) -> None:
    user = create_person(role)
    client: Any = sign_in(user)
    new = {"usable_password": "true", "password1": "another-phrase-1", "password2": "another-phrase-1"}
    for key in (str(user.pk), f"0{user.pk}"):
        address = reverse("admin:auth_user_password_change", args=[key])
        for response in (client.get(address), client.post(address, new)):
            assert (response.status_code, response.url) == (302, "/accounts/password/change/")
    assert User.objects.get(pk=user.pk).check_password(PASSWORD)


@pytest.mark.parametrize("role", ["administrator", "admin"])
def test_who_signs_in_through_the_provider_gives_themselves_no_password(role: str) -> None:
    user, viewer = create_person(role), create_person("viewer")
    for account in (user, viewer):
        account.set_unusable_password()
        account.save()
    client = sign_in(user)
    assert "/password/" not in client.get(get_page_url(user)).content.decode().split('id="content"')[1]
    new = {"usable_password": "true", "password1": "another-phrase-1", "password2": "another-phrase-1"}
    assert client.post(reverse("admin:auth_user_password_change", args=[user.pk]), new).status_code == 403
    assert not User.objects.get(pk=user.pk).has_usable_password()
    assert client.post(get_page_url(user), build_user_form(user, first_name="Pat")).status_code == 302
    assert not User.objects.get(pk=user.pk).has_usable_password()
    assert "/password/" in client.get(get_page_url(viewer)).content.decode().split('id="content"')[1]
    assert client.post(reverse("admin:auth_user_password_change", args=[viewer.pk]), new).status_code == 302
    assert User.objects.get(pk=viewer.pk).check_password("another-phrase-1")


@pytest.mark.parametrize("active", [True, False])
def test_nobody_changes_who_may_do_more_not_even_while_they_are_switched_off(active: bool) -> None:
    administrator = create_person("administrator")
    User.objects.filter(pk=administrator.pk).update(is_active=active)
    manager = create_person("viewer")
    manager.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user", "add_user"]))
    client = sign_in(manager)
    assert (
        client.post(get_page_url(administrator), build_user_form(administrator, email="keeper@example.com")).status_code
        == 403
    )
    assert client.get(reverse("admin:auth_user_password_change", args=[administrator.pk])).status_code == 403
    viewer = create_person("viewer")
    assert client.post(get_page_url(viewer), build_user_form(viewer, first_name="Pat")).status_code == 302


def test_nobody_puts_others_into_a_group_that_may_do_more() -> None:
    manager, viewer = create_person("viewer"), create_person("viewer")
    manager.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    response = sign_in(manager).post(get_page_url(viewer), build_user_form(viewer, groups=[role("administrator")]))
    assert response.status_code == 200
    assert "not one of the available choices" in response.content.decode()
    assert not viewer.groups.filter(name="administrator").exists()


def test_an_administrator_makes_a_group_only_of_rights_that_they_have(anna: User) -> None:
    client = sign_in(anna)
    page = client.get(reverse("admin:auth_group_add")).content.decode()
    assert "Can change source day (sync days again, retry, accept suspect days)" in page
    for forbidden in ("Can delete user", "Can add permission", "Can change session", "authenticator"):
        assert forbidden not in page
    permission = Permission.objects.get(codename="delete_user").pk
    group = {"name": "more", "permissions": [permission], **NO_LIMIT}
    assert client.post(reverse("admin:auth_group_add"), group).status_code == 200
    assert not Group.objects.filter(name="more").exists()
    allowed = Permission.objects.get(codename="view_source").pk
    assert client.post(reverse("admin:auth_group_add"), {**group, "permissions": [allowed]}).status_code == 302


def test_a_superuser_too_is_offered_only_rights_that_open_or_do_something() -> None:
    page = sign_in(create_person("admin")).get(reverse("admin:auth_group_add")).content.decode()
    assert "Can change source day" in page
    for useless in ("Can delete user", "Can add permission", "Can change environment day", "Can delete load attempt"):
        assert useless not in page


@pytest.mark.parametrize("username", ["administrator", "admin"])
def test_roles_stay_as_they_are(username: str) -> None:
    client = sign_in(create_person(username))
    viewers = Group.objects.get(name="viewer")
    page = client.get(get_page_url(viewers))
    assert page.status_code == 200
    assert 'name="_save"' not in page.content.decode()
    assert client.post(get_page_url(viewers), {"name": "viewer", **NO_LIMIT}).status_code == 403
    assert client.post(reverse("admin:auth_group_delete", args=[viewers.pk]), {"post": "yes"}).status_code == 403


def test_nobody_changes_a_group_that_they_are_in(anna: User) -> None:
    group = Group.objects.create(name="own")
    anna.groups.add(group)
    assert sign_in(anna).post(get_page_url(group), {"name": "own", **NO_LIMIT}).status_code == 403


@pytest.fixture
def limited_client() -> Any:
    """An administrator who sees one source, `seen`, beside which there is `zebra`."""
    visible, zebra = SourceFactory.create(slug="seen"), SourceFactory.create(slug="zebra")
    group = Group.objects.create(name="sees both")
    GroupScope.objects.create(group=group).sources.set([visible, zebra])
    return sign_in(create_person("administrator", sources=[visible]))


def test_someone_limited_knows_of_no_people_and_groups_that_see_more(limited_client: Any) -> None:
    unlimited, operator = create_person("viewer"), create_person("operator", sources=Source.objects.all())
    colleague = create_person("viewer", sources=[Source.objects.get(slug="seen")])
    people = limited_client.get(reverse("admin:auth_user_changelist")).content.decode()
    assert colleague.username in people
    for text in (operator.username, "zebra", f">{unlimited.username}<"):
        assert text not in people
    assert "sees both" not in limited_client.get(reverse("admin:auth_group_changelist")).content.decode()
    for user_or_group in (unlimited, operator, Group.objects.get(name="sees both")):
        assert limited_client.get(get_page_url(user_or_group)).status_code == 404  # as for one that does not exist


def test_someone_limited_makes_nobody_who_sees_more(limited_client: Any) -> None:
    visible_id, zebra_id = (Source.objects.get(slug=slug).pk for slug in ("seen", "zebra"))
    new = {"username": "pat", "role": role("viewer")}
    address = reverse("admin:auth_user_add")
    for values in (
        {},
        {"role": ""},
        {"groups": [Group.objects.get(name="sees both").pk]},
        {"limited": "on", "sources": [visible_id, zebra_id]},
        {"limited": "on", "sources": [visible_id], "groups": [Group.objects.get(name="sees both").pk]},
    ):
        assert limited_client.post(address, {**new, **values}).status_code == 200, values
        assert not User.objects.filter(username="pat").exists()
    assert limited_client.post(address, {**new, "limited": "on", "sources": [visible_id]}).status_code == 302
    pat = User.objects.get(username="pat")
    assert get_source_scope(pat) == frozenset({visible_id})
    assert limited_client.post(get_page_url(pat), build_user_form(pat, groups=[role("viewer")])).status_code == 200
    assert get_source_scope(pat) == frozenset({visible_id})


def test_someone_limited_lifts_no_limit(limited_client: Any) -> None:
    visible_id, zebra_id = (Source.objects.get(slug=slug).pk for slug in ("seen", "zebra"))
    group = Group.objects.get(name="sources of administrator")
    assert limited_client.post(get_page_url(group), {"name": "mine", **NO_LIMIT}).status_code == 403
    assert limited_client.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"}).status_code == 403
    add = reverse("admin:auth_group_add")
    assert "zebra" not in limited_client.get(add).content.decode()
    limit = {"source_scope-TOTAL_FORMS": 1, "source_scope-INITIAL_FORMS": 0, "name": "new"}
    for values in ({"name": "new", **NO_LIMIT}, {**limit, "source_scope-0-sources": [zebra_id]}):
        assert limited_client.post(add, values).status_code == 200
        assert not Group.objects.filter(name="new").exists()
    assert limited_client.post(add, {**limit, "source_scope-0-sources": [visible_id]}).status_code == 302


def test_someone_limited_is_told_of_as_many_people_as_they_may_know_of(limited_client: Any) -> None:
    visible = Source.objects.get(slug="seen")
    for sources in ([visible], None, Source.objects.all()):
        create_person("viewer", sources=sources)
    create_person("admin").groups.add(Group.objects.get(name="viewer"))
    url = reverse("admin:auth_group_changelist")
    for client, people in ((limited_client, 1), (sign_in(create_person("administrator")), 4)):
        members = {group.name: group.members for group in client.get(url).context["cl"].result_list}
        assert members["viewer"] == people


def create_limited_group(name: str, *slugs: str) -> Group:
    """Make a group whose members see only these sources."""
    group = Group.objects.create(name=name)
    GroupScope.objects.create(group=group).sources.set(Source.objects.filter(slug__in=slugs))
    return group


def build_group_form(group: Group, **changes: Any) -> dict[str, Any]:
    """Return what the form of a group posts: with the limit to `seen`, new or as it is."""
    scope = GroupScope.objects.filter(group=group).first()
    limit = {
        "source_scope-TOTAL_FORMS": 1,
        "source_scope-INITIAL_FORMS": 1 if scope else 0,
        "source_scope-0-id": scope.pk if scope else "",
        "source_scope-0-group": group.pk,
        "source_scope-0-sources": [Source.objects.get(slug="seen").pk],
    }
    return {"name": group.name, **limit, **changes}


def is_locked(client: Any, group: Group) -> bool:
    """Return whether a group is not offered for change, and a change or deletion of it is refused and does nothing."""
    changes = build_group_form(group, permissions=[Permission.objects.get(codename="change_sourceday").pk])
    page = client.get(get_page_url(group))
    responses = (
        client.post(get_page_url(group), changes),
        client.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"}),
    )
    return (
        'name="_save"' not in page.content.decode()
        and all(response.status_code == 403 for response in responses)
        and not Group.objects.get(pk=group.pk).permissions.exists()
    )


@pytest.mark.parametrize("empty", [True, False])
def test_someone_limited_changes_no_group_without_a_limit(limited_client: Any, empty: bool) -> None:
    """A limit or a right given to it would be given to people who see other sources."""
    group = Group.objects.create(name="finance")
    if not empty:
        create_person("viewer").groups.add(group)
    assert is_locked(limited_client, group)
    assert not GroupScope.objects.filter(group=group).exists()


def test_someone_limited_changes_no_group_that_somebody_is_in_who_sees_more(limited_client: Any) -> None:
    group = create_limited_group("sees one", "seen")
    viewer = create_person("viewer", sources=Source.objects.all())
    viewer.groups.add(group)
    assert is_locked(limited_client, group)
    viewer.groups.remove(group)
    create_person("admin").groups.add(group)
    assert is_locked(limited_client, group)


def test_someone_limited_changes_a_group_whose_members_see_what_they_see(limited_client: Any) -> None:
    group = create_limited_group("sees one", "seen")
    create_person("viewer").groups.add(group)
    assert 'name="_save"' in limited_client.get(get_page_url(group)).content.decode()
    day_permission = Permission.objects.get(codename="change_sourceday")
    assert (
        limited_client.post(get_page_url(group), build_group_form(group, permissions=[day_permission.pk])).status_code
        == 302
    )
    assert list(group.permissions.all()) == [day_permission]
    assert GroupScope.objects.get(group=group).sources.get().slug == "seen"


@pytest.mark.parametrize("by_group", [True, False])
def test_nobody_changes_a_group_that_somebody_is_in_who_may_do_more(anna: User, by_group: bool) -> None:
    SourceFactory.create(slug="seen")
    group, client = Group.objects.create(name="finance"), sign_in(anna)
    member, permission = create_person("viewer"), Permission.objects.get(codename="delete_user")
    member.groups.add(group)
    assert client.post(get_page_url(group), {"name": "money", **NO_LIMIT}).status_code == 302
    if by_group:
        powerful_group = Group.objects.create(name="able")
        powerful_group.permissions.add(permission)
        member.groups.add(powerful_group)
    else:
        member.user_permissions.add(permission)
    assert is_locked(client, group)


def test_nobody_changes_a_group_that_a_superuser_is_in_but_superusers(anna: User) -> None:
    SourceFactory.create(slug="seen")
    group, chief = Group.objects.create(name="chiefs"), create_person("admin")
    chief.groups.add(group)
    assert is_locked(sign_in(anna), group)
    assert sign_in(chief).post(get_page_url(group), {"name": "heads", **NO_LIMIT}).status_code == 302


def test_a_lost_second_factor_is_taken_away_by_who_may_change_the_person(anna: User) -> None:
    pat = create_person("viewer")
    Authenticator.objects.create(user=pat, type="totp", data={"secret": "x"})
    client = sign_in(anna)
    assert "A second factor is required too" in client.get(get_page_url(pat)).content.decode()
    remove = reverse("admin:auth_user_do", args=[pat.pk, "forget-factor"])
    assert client.post(remove).status_code == 302
    assert not Authenticator.objects.exists()
    Authenticator.objects.create(user=(chief := create_person("admin")), type="totp", data={"secret": "x"})
    assert client.post(reverse("admin:auth_user_do", args=[chief.pk, "forget-factor"])).status_code == 403
    assert Authenticator.objects.exists()


def test_people_are_switched_off_and_not_deleted(anna: User) -> None:
    pat = create_person("viewer")
    client = sign_in(anna)
    assert client.post(reverse("admin:auth_user_delete", args=[pat.pk]), {"post": "yes"}).status_code == 403
    form = build_user_form(pat)
    del form["is_active"]
    assert client.post(get_page_url(pat), form).status_code == 302
    assert not User.objects.get(pk=pat.pk).is_active
    assert client.post(get_page_url(anna), {**build_user_form(anna), "is_active": ""}).status_code == 302
    assert User.objects.get(pk=anna.pk).is_active  # nobody locks themselves out
