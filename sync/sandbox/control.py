"""The sandbox server's own endpoints under `/_sandbox/`: counts, faults, edits, clock, settings."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.faults import check_fault
from sync.sandbox.upstream import Upstream
from sync.sandbox.world import Edit


class NextFault(msgspec.Struct, forbid_unknown_fields=True):
    """A fault for the next `times` chances, after `after` spared chances."""

    name: str
    times: int = 1
    after: int = 0


class DayEdit(msgspec.Struct, forbid_unknown_fields=True):
    """An edit of one vendor's day; the fields of `Edit` are shares of its records."""

    vendor: str
    day: date
    restated: float = 0.0
    vanished: float = 0.0
    late: float = 0.0
    emptied: bool = False
    bad: float = 0.0


class Clock(msgspec.Struct, forbid_unknown_fields=True):
    """Stop the clock at `now`, or let it run (`now` null); `advance_seconds` moves it on instead."""

    now: datetime | None = None
    advance_seconds: float | None = None


class Credential(msgspec.Struct, forbid_unknown_fields=True):
    """The credential that every vendor accepts from now on."""

    credential: str


def handle_control(upstream: Upstream, request: APIRequest) -> APIResponse:
    """Answer a request to `/_sandbox<path>`: JSON both ways, 400 with a `message` where it cannot."""
    action = ACTIONS.get((request.method, request.path.rstrip("/")))
    if action is None:
        endpoints = ", ".join(f"{method} /_sandbox{path}" for method, path in ACTIONS)
        return _build_json_response(404, {"message": f"There are: {endpoints}."})
    try:
        return _build_json_response(200, action(upstream, request.body or b"{}"))
    except (msgspec.DecodeError, ValueError) as error:
        return _build_json_response(400, {"message": str(error)})


def _build_json_response(status: int, content: Any) -> APIResponse:
    return APIResponse(status, msgspec.json.encode(content))


def _get_overview(upstream: Upstream, _body: bytes) -> dict[str, Any]:
    world = upstream.world
    return {
        "vendors": sorted(upstream.vendors),
        "credential": world.credential,
        "now": world.now(),
        "seed": world.seed,
        "days": world.days,
        "faults": world.faults,
        "edits": [
            {"vendor": vendor, "day": day, **msgspec.to_builtins(edit)}
            for (vendor, day), edit in sorted(world.edits.items())
        ],
        "settings": upstream.settings,
    }


def _get_stats(upstream: Upstream, _body: bytes) -> dict[str, Any]:
    return upstream.stats.build_json()


def _reset_stats(upstream: Upstream, _body: bytes) -> dict[str, Any]:
    upstream.stats.reset()
    return {}


def _set_faults(upstream: Upstream, body: bytes) -> dict[str, float]:
    probabilities = msgspec.json.decode(body, type=dict[str, float])
    for name, probability in probabilities.items():
        check_fault(name, probability)
    for name, probability in probabilities.items():
        upstream.faults.set(name, probability)
    return upstream.world.faults


def _schedule_fault(upstream: Upstream, body: bytes) -> dict[str, Any]:
    fault = msgspec.json.decode(body, type=NextFault)
    upstream.faults.next(fault.name, fault.times, fault.after)
    return {}


def _clear_faults(upstream: Upstream, _body: bytes) -> dict[str, Any]:
    upstream.faults.clear()
    return {}


def _edit_day(upstream: Upstream, body: bytes) -> dict[str, Any]:
    edit = msgspec.json.decode(body, type=DayEdit)
    if edit.vendor not in upstream.vendors:
        raise ValueError(f"There is no vendor {edit.vendor!r} here.")
    shares = {name: getattr(edit, name) for name in Edit.__slots__}
    upstream.world.edits[edit.vendor, edit.day] = Edit(**shares)
    return {}


def _clear_edits(upstream: Upstream, _body: bytes) -> dict[str, Any]:
    upstream.world.edits.clear()
    return {}


def _set_clock(upstream: Upstream, body: bytes) -> dict[str, Any]:
    clock = msgspec.json.decode(body, type=Clock)
    if clock.now is not None and clock.now.tzinfo is None:
        raise ValueError("`now` needs an offset, e.g. a Z at its end.")
    if clock.advance_seconds is None:
        upstream.world.set_clock(clock.now)
    else:
        upstream.world.advance(timedelta(seconds=clock.advance_seconds))
    return {"now": upstream.world.now()}


def _set_credential(upstream: Upstream, body: bytes) -> dict[str, Any]:
    upstream.world.credential = msgspec.json.decode(body, type=Credential).credential
    return {}


def _change_settings(upstream: Upstream, body: bytes) -> Any:
    changes = msgspec.json.decode(body, type=dict[str, Any])
    before = msgspec.to_builtins(upstream.settings)
    unknown = sorted(set(changes) - set(before))
    if unknown:
        raise ValueError(f"Unknown settings {', '.join(unknown)}; known are {', '.join(before)}.")
    settings = msgspec.convert({**before, **changes}, type(upstream.settings))
    for name in before:
        setattr(upstream.settings, name, getattr(settings, name))
    return settings


ACTIONS: dict[tuple[str, str], Callable[[Upstream, bytes], Any]] = {
    ("GET", ""): _get_overview,
    ("GET", "/stats"): _get_stats,
    ("POST", "/stats/reset"): _reset_stats,
    ("POST", "/faults"): _set_faults,
    ("POST", "/faults/next"): _schedule_fault,
    ("POST", "/faults/clear"): _clear_faults,
    ("POST", "/edits"): _edit_day,
    ("POST", "/edits/clear"): _clear_edits,
    ("POST", "/now"): _set_clock,
    ("POST", "/credential"): _set_credential,
    ("POST", "/settings"): _change_settings,
}
