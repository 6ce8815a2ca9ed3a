"""Guessing passwords: slowed down by account and address, and nobody locks somebody else out."""

from typing import Any

import pytest
from django.test import Client

from portal.accounts import guessing
from portal.accounts.guessing import COOKIE, get_network
from portal.accounts.throttling import Rate
from tests.support.users import PASSWORD, create_person

pytestmark = pytest.mark.django_db
SIGN_IN = "/accounts/login/"
ATTACKER, OWNER = "203.0.113.5", "198.51.100.7"
REFUSED = "Too many failed login attempts"


def sign_in(login: str, password: str = PASSWORD, *, address: str = OWNER, client: Client | None = None) -> Any:
    return (client or Client()).post(SIGN_IN, {"login": login, "password": password}, REMOTE_ADDR=address)


def guess(login: str, times: int, address: str = ATTACKER) -> None:
    for number in range(times):
        assert sign_in(login, f"wrong-{number}", address=address).status_code == 200


def is_refused(response: Any) -> bool:
    return response.status_code == 200 and REFUSED in response.content.decode()


def test_who_guesses_locks_out_their_own_address_and_nobody_else() -> None:
    create_person("viewer")
    guess("viewer", 5)

    assert is_refused(sign_in("viewer", address=ATTACKER))
    assert sign_in("viewer", address=OWNER).status_code == 302


def test_the_name_and_the_address_of_one_account_are_counted_together() -> None:
    create_person("viewer")
    guess("viewer", 3)
    guess("VIEWER@example.com", 2)

    assert is_refused(sign_in("viewer", address=ATTACKER))


def test_a_right_password_counts_as_no_guess() -> None:
    create_person("viewer")
    for _ in range(8):
        assert sign_in("viewer").status_code == 302
    guess("viewer", 4, OWNER)
    assert sign_in("viewer").status_code == 302


def test_many_addresses_together_meet_a_higher_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FROM_ANYWHERE", Rate(12, 3600))
    create_person("viewer")
    create_person("operator")
    for number in range(3):
        guess("viewer", 4, f"203.0.113.{number}")

    assert is_refused(sign_in("viewer", address="192.0.2.1"))
    assert sign_in("operator", address="192.0.2.1").status_code == 302


def test_one_address_alone_does_not_use_up_the_bound_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FROM_ANYWHERE", Rate(12, 3600))
    create_person("viewer")
    guess("viewer", 25)

    assert sign_in("viewer", address=OWNER).status_code == 302


def test_a_browser_that_signed_in_before_is_never_locked_out_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "FROM_ANYWHERE", Rate(6, 3600))
    create_person("viewer")
    known = Client()
    assert sign_in("viewer", client=known).status_code == 302
    known.post("/accounts/logout/")
    guess("viewer", 4, "203.0.113.1")
    guess("viewer", 5, OWNER)  # behind the same address

    assert is_refused(sign_in("viewer", address="192.0.2.1"))
    assert sign_in("viewer", client=known).status_code == 302


def test_requests_of_others_behind_one_address_keep_no_known_browser_out() -> None:
    create_person("viewer")
    known = Client()
    sign_in("viewer", client=known)
    known.post("/accounts/logout/")
    for _ in range(40):
        sign_in("viewer", "wrong")

    assert sign_in("viewer", client=known).status_code == 302


def test_a_known_browser_is_slowed_down_by_its_own_guesses() -> None:
    create_person("viewer")
    known = Client()
    sign_in("viewer", client=known)
    known.post("/accounts/logout/")
    for _ in range(5):
        sign_in("viewer", "wrong", client=known)

    assert is_refused(sign_in("viewer", client=known))


def test_a_browser_is_known_for_its_own_account_alone_and_by_no_forged_cookie() -> None:
    create_person("viewer")
    create_person("operator")
    client = Client()
    sign_in("operator", client=client)
    client.post("/accounts/logout/")
    guess("viewer", 5, OWNER)
    assert is_refused(sign_in("viewer", client=client))
    client.cookies[COOKIE] = "forged"
    assert is_refused(sign_in("viewer", client=client))


def test_one_address_is_slowed_down_over_all_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "AT_ANY_ACCOUNT", Rate(6, 300))
    create_person("viewer")
    for number in range(6):
        sign_in(f"name-{number}", "wrong", address=ATTACKER)

    assert is_refused(sign_in("viewer", address=ATTACKER))
    assert sign_in("viewer", address=OWNER).status_code == 302


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "", True),
    ],
)
def test_the_addresses_of_one_ipv6_network_are_one(first: str, second: str, is_same: bool) -> None:
    assert (get_network(first) == get_network(second)) is is_same
