"""The vendor's own SDKs, both generations of them and unmodified, read the stand-in."""

from collections import Counter
from datetime import datetime
from typing import Any

import gitpod
import msgspec
import pytest
from gitpod import Gitpod

from sync.vendors.ona.instants import to_nanoseconds
from sync.vendors.ona.sandbox import Sandbox
from sync.vendors.ona.sandbox.runs import Run
from tests.support import ona_sdk_1x
from tests.support.sandbox_server import SandboxServer
from tests.sync.vendors.ona.sandbox.requests import END, KEY, START


def get_fields(run: Run, unit: int = 1) -> tuple[Any, ...]:
    """Return the fields of a run that both SDKs return; `unit` is the resolution of instants in nanoseconds."""
    record = msgspec.json.decode(run.encode_json())
    names = ("id", "environmentId", "userId", "projectId", "runnerId", "environmentClassId")
    created = None if run.created_at is None else run.created_at // unit
    return (*(record.get(name, "") for name in names), created, run.stopped_at // unit)


def list_with_old_sdk(url: str, page_size: int, start: datetime = START, end: datetime = END) -> list[tuple[Any, ...]]:
    """List with `gitpod-sdk` 0.x and its own auto-pagination; instants in microseconds."""
    with Gitpod(bearer_token=KEY, base_url=f"{url}/ona/api") as client:
        listing = client.usage.list_environment_runtime_records(
            filter={"date_range": {"start_time": start, "end_time": end}}, pagination={"page_size": page_size}
        )
        return [
            (
                record.id or "",
                record.environment_id or "",
                record.user_id or "",
                record.project_id or "",
                record.runner_id or "",
                record.environment_class_id or "",
                record.created_at and to_nanoseconds(record.created_at) // 1000,
                record.stopped_at and to_nanoseconds(record.stopped_at) // 1000,
            )
            for record in listing
        ]


@pytest.mark.parametrize("page_size", [7, 100])
def test_both_generations_of_the_vendors_sdk_list_every_run_exactly_once(
    sandbox: SandboxServer, ona: Sandbox, page_size: int
):
    runs = ona.list_runs(START, END)
    old = list_with_old_sdk(sandbox.url, page_size)
    modern = ona_sdk_1x.list_records(f"{sandbox.url}/ona/api", KEY, START, END, page_size)

    assert Counter(old) == Counter(get_fields(run, 1000) for run in runs)
    assert modern["error"] is None
    assert [len(page) for page in modern["pages"][:-1]] == [page_size] * (len(modern["pages"]) - 1)
    records = [tuple(record.values()) for page in modern["pages"] for record in page]
    assert records == [get_fields(run) for run in runs]
    assert len(runs) > 300


def test_the_modern_sdk_filters_by_project(sandbox: SandboxServer, ona: Sandbox):
    project = ona.list_runs(START, END)[0].environment.project_id
    runs = ona.list_runs(START, END, project)
    modern = ona_sdk_1x.list_records(f"{sandbox.url}/ona/api", KEY, START, END, 50, project)
    assert [record["id"] for page in modern["pages"] for record in page] == [run.id for run in runs]
    assert 0 < len(runs) < len(ona.list_runs(START, END))


def test_both_sdks_understand_a_refused_credential(sandbox: SandboxServer):
    sandbox.world.credential = "another"
    with pytest.raises(gitpod.AuthenticationError):
        list_with_old_sdk(sandbox.url, 100)
    modern = ona_sdk_1x.list_records(f"{sandbox.url}/ona/api", KEY, START, END)
    assert modern["error"][0] == "unauthenticated"


def test_both_sdks_understand_a_refused_page_size(sandbox: SandboxServer):
    with pytest.raises(gitpod.BadRequestError):
        list_with_old_sdk(sandbox.url, 101)
    modern = ona_sdk_1x.list_records(f"{sandbox.url}/ona/api", KEY, START, END, 101)
    assert modern["error"][0] == "invalid_argument"
    assert "page_size" in modern["error"][1]


def test_both_sdks_understand_what_is_forbidden(sandbox: SandboxServer):
    sandbox.faults.set("ona.forbidden")
    with pytest.raises(gitpod.PermissionDeniedError):
        list_with_old_sdk(sandbox.url, 100)
    modern = ona_sdk_1x.list_records(f"{sandbox.url}/ona/api", KEY, START, END)
    assert modern["error"][0] == "permission_denied"
