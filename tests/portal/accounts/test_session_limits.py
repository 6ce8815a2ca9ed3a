"""How long somebody stays signed in: without using the pages, and altogether."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client

from tests.support.users import PASSWORD, create_person

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 2, 8, tzinfo=UTC)


@pytest.fixture
def clock() -> Iterator[Any]:
    cache.clear()
    with time_machine.travel(START, tick=False) as clock:
        yield clock


@pytest.fixture
def client(clock: Any, settings: Any) -> Client:
    settings.PORTAL_SESSION_IDLE_MINUTES, settings.PORTAL_SESSION_HOURS = 60, 12
    settings.SESSION_COOKIE_AGE = 12 * 3600
    create_person("viewer")
    client = Client()
    client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD, "remember": "on"})
    assert is_signed_in(client)
    return client


def is_signed_in(client: Client, **headers: str) -> bool:
    status = client.get("/admin/password_change/done/", headers=headers).status_code  # the cheapest page
    assert status in {200, 302}
    return status == 200


def test_who_does_not_use_the_pages_is_signed_out(client: Client, clock: Any) -> None:
    clock.shift(timedelta(minutes=59))
    assert is_signed_in(client)
    clock.shift(timedelta(minutes=59))
    assert is_signed_in(client)
    clock.shift(timedelta(minutes=61))
    assert not is_signed_in(client)


def test_after_some_hours_everybody_signs_in_again(client: Client, clock: Any) -> None:
    for _ in range(23):
        clock.shift(timedelta(minutes=30))
        assert is_signed_in(client)
    clock.shift(timedelta(minutes=31))
    assert not is_signed_in(client)
    client.post("/accounts/login/", {"login": "viewer", "password": PASSWORD})
    assert is_signed_in(client)


def test_a_page_that_reloads_a_part_of_itself_keeps_nobody_signed_in(client: Client, clock: Any) -> None:
    for _ in range(6):
        clock.shift(timedelta(minutes=9))
        assert is_signed_in(client, **{"HX-Request": "true"})
    clock.shift(timedelta(minutes=9))
    assert not is_signed_in(client)


def test_a_session_is_prolonged_without_writing_what_it_holds(client: Client, clock: Any) -> None:
    """Another request may have changed the data since this one read them."""
    before = Session.objects.get()
    clock.shift(timedelta(minutes=30))
    assert is_signed_in(client)
    after = Session.objects.get()
    assert after.expire_date - before.expire_date == timedelta(minutes=30)
    assert after.session_data == before.session_data


def test_the_programs_of_a_page_are_signed_out_too(client: Client, clock: Any) -> None:
    assert client.get("/api/v1/sources/").status_code == 200
    clock.shift(timedelta(minutes=61))
    assert client.get("/api/v1/sources/").status_code == 401


def test_a_changed_password_does_not_begin_the_hours_anew(client: Client, clock: Any) -> None:
    for _ in range(12):
        clock.shift(timedelta(minutes=55))
        assert is_signed_in(client)
    new = {"oldpassword": PASSWORD, "password1": "another-good-phrase", "password2": "another-good-phrase"}
    assert client.post("/accounts/password/change/", new).status_code == 302
    clock.shift(timedelta(minutes=55))
    assert is_signed_in(client)
    clock.shift(timedelta(minutes=10))
    assert not is_signed_in(client)
