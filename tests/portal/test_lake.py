"""The task of the lake: it publishes where a lake is set, and looks every ten minutes at most."""

from typing import Any

import pytest
import redis

from portal import lake
from portal.lake import check_lake, is_location, publish_days

pytestmark = pytest.mark.django_db


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rounds that were begun."""
    begun: list[dict[str, Any]] = []
    monkeypatch.setattr("usage.lake.publish.publish", lambda **options: begun.append(options))
    return begun


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
