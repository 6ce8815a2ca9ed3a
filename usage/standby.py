"""Reads from a standby: for a part of a request, this thread's connection is to the standby.

Readers need not know. portal/standby.py decides which requests may use it; the differences are here: a
standby shows the past, and does not know which merges are under way.
"""

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

STANDBY: Final = "standby"


@dataclass(frozen=True, slots=True)
class StandbyState:
    """What a standby has replayed: all that the primary had at `as_of`, with the watermark of then."""

    as_of: datetime
    settled_until: datetime
    lag: float  # seconds


class _Use(threading.local):
    state: StandbyState | None = None
    primary: BaseDatabaseWrapper


_use = _Use()


def enter_standby(state: StandbyState) -> None:
    """Let this thread read from the standby until `leave_standby`."""
    if _use.state is None:
        _use.primary = connections[DEFAULT_DB_ALIAS]
        connections[DEFAULT_DB_ALIAS] = connections[STANDBY]
    _use.state = state


def leave_standby() -> None:
    """Let this thread read from the primary again; does nothing where it already does."""
    if _use.state is not None:
        _use.state = None
        connections[DEFAULT_DB_ALIAS] = _use.primary


def get_standby_state() -> StandbyState | None:
    """Return what the standby has replayed that this thread reads from, None for the primary."""
    return _use.state


def get_data_time() -> datetime:
    """Return the instant that what is read now is the state of: now, or what a standby has replayed."""
    state = get_standby_state()
    return timezone.now() if state is None else state.as_of


def get_replica_lag() -> float | None:
    """Return how many seconds reads are behind the primary, to a tenth; None for reads of the primary."""
    state = get_standby_state()
    return None if state is None else round(state.lag, 1)


def require_settled(instant: datetime) -> None:
    """Leave a standby that has not replayed what changed before an instant."""
    state = get_standby_state()
    if state is not None and state.settled_until < instant:
        leave_standby()
