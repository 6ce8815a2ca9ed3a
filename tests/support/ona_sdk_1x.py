"""The vendor's 1.x Python SDK, in an environment of its own: it cannot share one with the 0.x generation."""

import atexit
import fcntl
import json
import subprocess
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venvs" / "ona"
PYTHON = HOME / "bin" / "python"
PROGRAM = """
import json, sys
from datetime import datetime
from gitpod.v1.pagination_pb2 import PaginationRequest
from gitpod.v1.usage_pb2 import DateRange, ListEnvironmentUsageRecordsRequest as Ask
from google.protobuf.timestamp_pb2 import Timestamp
from ona_sdk import create_client
from connectrpc.errors import ConnectError

def instant(text):
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp

def nanoseconds(record, name):
    return getattr(record, name).ToNanoseconds() if record.HasField(name) else None

params = json.load(sys.stdin)
usage = create_client(api_key=params["key"], base_url=params["base_url"]).services.usage
token, pages = "", []
try:
    while True:
        dates = DateRange(start_time=instant(params["start"]), end_time=instant(params["end"]))
        answer = usage.list_environment_usage_records(Ask(
            filter=Ask.Filter(project_id=params["project_id"], date_range=dates),
            pagination=PaginationRequest(page_size=params["page_size"], token=token),
        ))
        pages.append([
            {
                "id": record.id,
                "environment_id": record.environment_id,
                "user_id": record.user_id,
                "project_id": record.project_id,
                "runner_id": record.runner_id,
                "environment_class_id": record.environment_class_id,
                "created_at": nanoseconds(record, "created_at"),
                "stopped_at": nanoseconds(record, "stopped_at"),
            }
            for record in answer.records
        ])
        token = answer.pagination.next_token
        if not token:
            break
except ConnectError as error:
    print(json.dumps({"pages": pages, "error": [error.code.value, error.message]}))
else:
    print(json.dumps({"pages": pages, "error": None}))
"""
RUNTIME_PROGRAM = """
import json, sys
from gitpod.v1.usage_pb2 import DateRange, GetEnvironmentRuntimeRequest
from google.protobuf.timestamp_pb2 import Timestamp
from ona_sdk import create_client
from connectrpc.errors import ConnectError

def instant(text):
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp

params = json.load(sys.stdin)
usage = create_client(api_key=params["key"], base_url=params["base_url"]).services.usage
request = GetEnvironmentRuntimeRequest(
    date_range=DateRange(start_time=instant(params["start"]), end_time=instant(params["end"])),
    project_id=params["project_id"],
    team_id=params["team_id"],
)
try:
    answer = usage.get_environment_runtime(request)
except ConnectError as error:
    print(json.dumps({"error": [error.code.value, error.message]}))
else:
    print(json.dumps({"seconds": answer.total_runtime_seconds, "trend": answer.trend, "error": None}))
"""

LOOP = """
import contextlib, io, json, sys, traceback

for line in sys.stdin:
    program, params = json.loads(line)
    printed, error, lines = io.StringIO(), "", sys.stdin
    sys.stdin = io.StringIO(params)
    try:
        with contextlib.redirect_stdout(printed):
            exec(program, {})
    except BaseException:
        error = traceback.format_exc()
    sys.stdin = lines
    print(json.dumps([printed.getvalue(), error]), flush=True)
"""


@cache
def prepare_python() -> Path:
    """Return that environment's Python; creates the environment where it is missing."""
    HOME.parent.mkdir(exist_ok=True)
    with (HOME.parent / "ona.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import ona_sdk"], check=False).returncode:
            uv = find_uv_bin()
            subprocess.run([uv, "venv", "--quiet", "--clear", HOME], check=True, cwd=ROOT)
            install = [uv, "pip", "install", "--quiet", "--python", str(PYTHON), "-r", "requirements-ona.txt"]
            subprocess.run(install, check=True, cwd=ROOT)
    return PYTHON


def list_records(
    base_url: str, key: str, start: datetime, end: datetime, page_size: int = 0, project_id: str = ""
) -> dict[str, Any]:
    """Return `{"pages": [[record...]...], "error": [code, message] | null}`; instants are integer nanoseconds."""
    params = {
        "base_url": base_url,
        "key": key,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "page_size": page_size,
        "project_id": project_id,
    }
    return run_program(PROGRAM, params)


def get_runtime(
    base_url: str, key: str, start: datetime, end: datetime, project_id: str = "", team_id: str = ""
) -> dict[str, Any]:
    """Return `{"seconds", "trend", "error": null}` or `{"error": [code, message]}`."""
    params = {
        "base_url": base_url,
        "key": key,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "project_id": project_id,
        "team_id": team_id,
    }
    return run_program(RUNTIME_PROGRAM, params)


def run_program(program: str, params: dict[str, Any]) -> dict[str, Any]:
    """Run a program of that environment with JSON as its input; returns its output, parsed."""
    process = start_loop()
    assert process.stdin
    assert process.stdout
    print(json.dumps([program, json.dumps(params)]), file=process.stdin, flush=True)
    printed, error = json.loads(process.stdout.readline())
    assert not error, error
    result: dict[str, Any] = json.loads(printed)
    return result


@cache
def start_loop() -> "subprocess.Popen[str]":
    """Start the process of that environment that runs programs until this one ends: its imports take a second of CPU."""
    process = subprocess.Popen([prepare_python(), "-c", LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process
