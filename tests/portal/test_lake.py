"""The task of the lake: it publishes where a lake is set, and looks every ten minutes at most."""

from typing import Any

import pytest
import redis
from django.core.cache import cache

from portal import lake
from portal.lake import FAILURES_BEFORE_ALERT, check_lake, find_trouble, is_location, publish_days

pytestmark = pytest.mark.django_db


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rounds that were begun."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("usage.lake.publish.publish", lambda **options: calls.append(options))
    return calls


def test_ticks_look_every_ten_minutes_whether_an_hour_has_passed(
    rounds: list[dict[str, Any]], settings: Any, redis_client: redis.Redis
) -> None:
    settings.PORTAL_LAKE_URL = "file:///srv/lake"
    publish_days()
    publish_days()
    assert rounds == [{"only_if_due": True}]
    redis_client.flushdb()
    publish_days()
    assert len(rounds) == 2


def test_two_failures_in_a_row_are_trouble_until_a_round_ends_well(
    rounds: list[dict[str, Any]], settings: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_LAKE_URL = "file:///srv/lake"
    with monkeypatch.context() as failing:
        failing.setattr("usage.lake.publish.publish", refuse)
        fail_once()
        assert find_trouble() == ""
        fail_once()
        assert find_trouble() == "PermissionError: The bucket refuses."
    settings.PORTAL_LAKE_URL = ""
    assert find_trouble() == ""
    settings.PORTAL_LAKE_URL = "file:///srv/lake"
    cache.delete("lake")
    publish_days()
    assert find_trouble() == ""


def test_attempts_whose_worker_was_killed_are_trouble_too(
    rounds: list[dict[str, Any]], settings: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PORTAL_LAKE_URL = "file:///srv/lake"
    monkeypatch.setattr("usage.lake.publish.publish", be_killed)
    for _ in range(FAILURES_BEFORE_ALERT):
        cache.delete("lake")
        with pytest.raises(KeyboardInterrupt):
            publish_days()
    assert "did not end" in find_trouble()


def refuse(**_: Any) -> None:
    """Fail as a bucket does, with a second line that names a request."""
    raise PermissionError("The bucket refuses.\nGET https://bucket.example.com?signature=secret")


def be_killed(**_: Any) -> None:
    """End without a word to anybody."""
    raise KeyboardInterrupt


def fail_once() -> None:
    """Let an attempt fail, ten minutes after the last one."""
    cache.delete("lake")
    with pytest.raises(PermissionError):
        publish_days()


def test_without_a_lake_a_tick_publishes_nothing(
    rounds: list[dict[str, Any]], settings: Any, redis_client: redis.Redis
) -> None:
    settings.PORTAL_LAKE_URL = ""
    publish_days()
    assert rounds == []


def test_a_lake_needs_its_library(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PORTAL_LAKE_URL = "s3://bucket/lake"
    assert list(check_lake()) == []
    monkeypatch.setattr(lake, "is_installed", lambda: False)
    (error,) = check_lake()
    assert (error.id, "the extra `lake`" in str(error.hint)) == ("portal.E036", True)


@pytest.mark.parametrize(
    ("url", "is_valid"),
    [
        ("file:///srv/lake", True),
        ("s3://bucket", True),
        ("gs://bucket/lake", True),
        ("abfss://container@account.dfs.core.windows.net/lake", True),
        ("/srv/lake", False),
        ("file:///", False),
        ("s3:///lake", False),
        ("https://bucket/lake", False),
        ("s3://bucket/lake?key=secret", False),
    ],
)
def test_a_lake_is_a_folder_or_a_bucket(url: str, *, is_valid: bool) -> None:
    assert is_location(url) == is_valid
