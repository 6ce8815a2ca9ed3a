"""Tasks: what a message makes a worker do, and which message follows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync import tasks
from sync.engine.plan import plan_due
from tests.support.scripted_vendor import Listing, make_source
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent_tasks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """The messages that are sent."""
    messages: list[tuple[str, tuple[Any, ...]]] = []
    monkeypatch.setattr(tasks, "send", lambda task, *args: messages.append((task.name, args)))
    return messages


@pytest.fixture
def planned_source(db: None) -> Source:
    source = make_source(backfill_from=datetime.now(UTC).date() - timedelta(days=1))
    plan_due()
    return source


def test_a_worker_that_read_a_day_asks_for_the_next_until_none_is_due(
    planned_source: Source, listing: Listing, sent_tasks: list[Any]
) -> None:
    for messages in (1, 2, 2):
        tasks.load(planned_source.pk)
        assert sent_tasks == [("sync.tasks.load", (planned_source.pk,))] * messages
    assert list(SourceDay.objects.values_list("attempt", flat=True)) == [1, 1]


@pytest.mark.parametrize("is_rolled_up", [True, False])
def test_a_tick_sends_for_roll_ups_where_any_is_missing(
    monkeypatch: pytest.MonkeyPatch, sent_tasks: list[Any], is_rolled_up: bool
) -> None:
    monkeypatch.setattr("sync.tasks.rollups.is_rolled_up", lambda: is_rolled_up)
    tasks.tick()
    names = [name for name, _ in sent_tasks]
    assert ("sync.tasks.roll_up" in names) is not is_rolled_up
    assert "sync.tasks.check_stored_days" in names


@pytest.mark.parametrize(("age", "runs"), [(0, True), (3600, False)])
def test_names_and_stored_days_are_read_unless_the_message_is_stale(
    monkeypatch: pytest.MonkeyPatch, settings: Any, age: int, runs: bool
) -> None:
    calls: list[float] = []
    monkeypatch.setattr("sync.tasks.names.read_names", calls.append)
    monkeypatch.setattr("sync.tasks.scrub", calls.append)
    sent_at = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    tasks.read_names(7, sent_at)
    tasks.check_stored_days(sent_at)
    assert calls == ([7, settings.PORTAL_TICK_SECONDS / 4] if runs else [])
