"""Which database a request reads from, rule by rule; tests/end_to_end/test_standby.py has a real standby."""

import re
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import structlog
from django.contrib.auth.models import AnonymousUser, User
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import DjangoDbBlocker, Settings

from portal import standby as portal_standby
from portal.standby import Sample, Standby, StandbyMiddleware, Unusable, choose_database, read_written, record_written
from tests.support.processes import wait_for
from tests.support.users import create_person
from usage.snapshot import Snapshot, open_snapshot
from usage.standby import STANDBY, get_data_time, get_replica_lag, get_standby_state, leave_standby, require_settled

pytestmark = pytest.mark.django_db
# The statement of a server that is one: the run's server has never been a standby.
REPLAYED = f"SELECT true, {portal_standby.POSITION.format('pg_current_wal_insert_lsn()')}"
LONG_AGO = 1_000  # seconds


@pytest.fixture
def standby(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Standby]:
    """A second connection to the run's database in the place of a standby that has replayed everything."""
    monkeypatch.setitem(settings.DATABASES, STANDBY, connection.settings_dict)
    connections[STANDBY] = connection.copy()
    monkeypatch.setattr(portal_standby, "REPLAYED", REPLAYED)
    state = Standby()
    monkeypatch.setattr(portal_standby, "standby", state)
    monkeypatch.setattr(state, "ensure_sampler", state.sample)
    yield state
    leave_standby()
    connections[STANDBY].close()
    del connections[STANDBY]


def build_request(method: str = "GET", path: str = "/admin/", user: Any = None) -> HttpRequest:
    """Return a request of a signed-in person, as the middlewares before this one leave it."""
    request = getattr(RequestFactory(), method.lower())(path)
    request.user = user or create_person("viewer")
    return request


def choose(request: HttpRequest) -> str:
    """Return why a request reads from the primary, "" where it reads from the standby."""
    choose_database(request)
    is_standby = get_standby_state() is not None
    leave_standby()
    return "" if is_standby else getattr(request, "standby_reason", "not asked")


def get_response_database(request: Any, name: str = "index") -> tuple[bool, str]:
    """Send a request through the middleware; returns whether it read from the standby, and the database that the response names."""
    primary = connections[DEFAULT_DB_ALIAS]
    is_standby = []

    def view(request: Any) -> HttpResponse:
        request.resolver_match = SimpleNamespace(url_name=name)
        middleware.process_view(request)
        is_standby.append(connections[DEFAULT_DB_ALIAS] is not primary)
        return HttpResponse()

    middleware = StandbyMiddleware(view)
    response = middleware(request)
    assert connections[DEFAULT_DB_ALIAS] is primary
    return is_standby[0], response.headers.get("Portal-Database", "")


def test_without_a_standby_nothing_is_chosen_and_no_answer_names_a_database(settings: Settings) -> None:
    request = build_request()
    assert STANDBY not in settings.DATABASES
    assert choose(request) == "not asked"
    assert get_response_database(request) == (False, "")


def test_a_page_that_reads_comes_from_the_standby_and_says_how_old_it_is(standby: Standby) -> None:
    is_standby, database = get_response_database(build_request())
    assert is_standby
    assert re.fullmatch(r"standby; lag=\d+\.\d", database)
    assert (get_standby_state(), get_replica_lag()) == (None, None)


@pytest.mark.parametrize(
    ("request_values", "name"),
    [
        ({"method": "POST"}, "index"),
        ({"path": "/health/ready"}, "health"),
        ({"user": AnonymousUser()}, "index"),
        ({}, "usage_source_change"),
        ({}, "usage_source_add"),
    ],
)
def test_what_writes_a_form_and_what_nobody_signed_in_for_reads_from_the_primary(
    standby: Standby, request_values: Any, name: str
) -> None:
    assert get_response_database(build_request(**request_values), name) == (False, "")


def test_permissions_are_those_of_the_primary(standby: Standby) -> None:
    user = User.objects.get(pk=create_person("viewer").pk)
    request = build_request(user=user)
    choose_database(request)
    assert get_standby_state() is not None
    assert "_perm_cache" in vars(user)
    leave_standby()
    # A superuser has all of them, which is not asked of a database.
    admin = User.objects.get(pk=create_person("admin").pk)
    admin.is_superuser = True
    assert choose(build_request(user=admin)) == ""
    assert "_perm_cache" not in vars(admin)


def test_who_has_made_a_change_reads_from_the_primary_until_the_standby_has_replayed_it(standby: Standby) -> None:
    user, second_user = create_person("viewer"), create_person("operator")
    get_response_database(build_request("POST", user=user))
    request = build_request(user=user)
    written = read_written(request)
    assert written > 0
    assert choose(build_request(user=user)) == ""  # all is replayed
    standby.read_position = lambda: written - 1  # type: ignore[method-assign]
    standby.needed = 1
    assert get_response_database(request) == (False, "primary; standby=unreplayed")
    assert read_written(build_request(user=second_user)) == 0


def test_a_request_that_leaves_the_standby_midway_says_so(standby: Standby) -> None:
    request = build_request()
    choose_database(request)
    as_of = get_data_time()
    state = get_standby_state()
    assert state is not None
    assert as_of == state.as_of
    require_settled(state.settled_until)
    assert get_standby_state() == state
    require_settled(as_of.replace(year=as_of.year + 1))
    assert get_standby_state() is None
    assert getattr(request, "standby_reason", "") == "unreplayed"


def test_a_change_of_nobody_and_one_that_the_primary_cannot_place_are_not_recorded(
    standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    anonymous = build_request("POST", user=AnonymousUser())
    record_written(anonymous)
    assert read_written(anonymous) == 0
    request = build_request("POST")
    monkeypatch.setattr(portal_standby, "CURRENT", "SELECT 1 FROM no_such_table")
    monkeypatch.setattr(portal_standby, "connection", connections[STANDBY])  # the test's own goes on
    record_written(request)
    assert read_written(request) == 0


def test_without_redis_nobody_knows_what_a_caller_has_changed(standby: Standby, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert choose(build_request()) == "unknown"


def test_a_standby_that_is_too_far_behind_is_logged_once_and_once_that_it_is_used_again(
    standby: Standby, settings: Settings
) -> None:
    settings.PORTAL_REPLICA_LAG_SECONDS = 5
    standby.sample()
    position = standby.needed
    standby.read_position = lambda: position  # type: ignore[method-assign]
    with structlog.testing.capture_logs() as lines:
        assert choose(build_request()) == ""
        standby.samples[0] = age(standby.samples[0], seconds=6)
        assert (choose(build_request()), choose(build_request())) == ("behind", "behind")
        standby.read_position = lambda: position * 2  # type: ignore[method-assign]
        assert choose(build_request()) == ""
    assert [line["event"] for line in lines] == ["standby not used", "standby used again"]
    assert lines[0]["reason"] == "behind"


def age(sample: Sample, seconds: float) -> Sample:
    """Return a sample as if it had been taken earlier."""
    return Sample(sample.sampled_at - seconds, sample.as_of, sample.settled_until, sample.position)


def test_a_sample_that_has_become_too_old_tells_nothing(standby: Standby, settings: Settings) -> None:
    settings.PORTAL_REPLICA_LAG_SECONDS = 5
    standby.sample()
    assert standby.find_state(0).lag < 5
    standby.samples[0] = age(standby.samples[0], seconds=6)  # the primary did not answer since
    with pytest.raises(Unusable, match="behind"):
        standby.find_state(0)


def test_samples_older_than_the_allowed_lag_are_dropped(standby: Standby, settings: Settings) -> None:
    settings.PORTAL_REPLICA_LAG_SECONDS = 5
    standby.sample()
    standby.samples.extendleft([age(standby.samples[0], seconds) for seconds in (4, 6, LONG_AGO)])
    needed = standby.needed
    standby.sample()
    assert [round(time.monotonic() - sample.sampled_at) for sample in standby.samples] == [4, 0, 0]
    assert standby.needed == needed  # the schema of the process's start


@pytest.mark.parametrize("statement", ["SELECT false, 1", "SELECT 1 FROM no_such_table"])
def test_a_standby_that_was_promoted_or_fails_is_not_asked_for_a_while(
    standby: Standby, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(portal_standby, "REPLAYED", statement)
    assert choose(build_request()) == "away"
    monkeypatch.setattr(portal_standby, "REPLAYED", REPLAYED)
    with pytest.raises(Unusable, match="away"):
        standby.read_position()
    standby.retry_at -= portal_standby.RETRY_SECONDS
    assert standby.read_position() > 0


class Stop(Exception):
    """Ends what goes on for ever."""


def test_samples_go_on_after_a_failure_of_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    state, outcomes = Standby(), [DatabaseError("The primary is away."), None]

    def sample() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    def sleep(seconds: float) -> None:
        if not outcomes:
            raise Stop

    monkeypatch.setattr(state, "sample", sample)
    monkeypatch.setattr("portal.standby.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("portal.standby.connection", SimpleNamespace(close=lambda: None))  # the test's own
    with pytest.raises(Stop):
        state.sample_on()
    assert outcomes == []


def test_a_process_has_one_thread_that_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    state, started = Standby(), []
    monkeypatch.setattr(state, "sample_on", lambda: started.append(threading.current_thread().name))
    state.ensure_sampler()
    state.ensure_sampler()
    assert state.sampler is not None
    state.sampler.join(10)
    assert started == ["standby"]


@pytest.fixture
def hurried(settings: Settings) -> None:
    """Exports may last a fifth of a second."""
    settings.PORTAL_EXPORT_SECONDS = 0.2


@pytest.fixture
def snapshot(standby: Standby, django_db_blocker: DjangoDbBlocker) -> Iterator[Snapshot]:
    """The snapshot of an export from a standby under its own name."""
    # Tests may use no other name than that of the primary.
    with django_db_blocker.unblock():
        connections[STANDBY] = connection.copy(STANDBY)
        choose_database(build_request())
        with open_snapshot() as snapshot:
            yield snapshot


@pytest.mark.usefixtures("hurried")
def test_an_export_from_the_standby_that_lasts_too_long_is_ended_there(
    snapshot: Snapshot, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The thread that ends it connects anew, and there is no primary.
    monkeypatch.setitem(settings.DATABASES, DEFAULT_DB_ALIAS, {**connection.settings_dict, "PORT": 1})

    def has_ended() -> bool:
        try:
            snapshot.connection.connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return True
        return False

    wait_for(has_ended, "the export to be ended")


def test_what_is_read_for_an_export_from_the_standby_is_of_its_snapshot(snapshot: Snapshot) -> None:
    with snapshot.share(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() == (snapshot.connection.connection.info.backend_pid,)
    assert connections[DEFAULT_DB_ALIAS] is connections[STANDBY]
