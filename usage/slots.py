"""Slots: how many downloads and large answers a process of the web server makes at once.

Each occupies a thread and a connection for long, or takes much of the process's CPU time.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from django.conf import settings
from rest_framework.exceptions import APIException

RETRY_SECONDS: Final = 10
LOCK: Final = threading.Lock()
UNDER_WAY: Final[set[object]] = set()


class SlotsTaken(APIException):
    """No slot is free; the request may be sent again after `wait` seconds."""

    status_code = 503
    default_detail = "As many exports and large answers as the portal makes at once are under way; try again later."
    wait = RETRY_SECONDS


@contextmanager
def hold_slot() -> Iterator[None]:
    """Hold a slot for the time of the block; raises SlotsTaken."""
    slot = object()
    with LOCK:
        if len(UNDER_WAY) >= settings.PORTAL_EXPORTS_AT_ONCE:
            raise SlotsTaken
        UNDER_WAY.add(slot)
    try:
        yield
    finally:
        UNDER_WAY.discard(slot)


def count_under_way() -> int:
    """Return how many slots of this process are in use."""
    return len(UNDER_WAY)


@contextmanager
def take_slot_if_large() -> Iterator[Callable[[], None]]:
    """Yield a function that takes a slot until the end of the block, for an answer that turns out to be large.

    It raises SlotsTaken; where the slot is taken already, it does nothing.
    """
    with ExitStack() as stack:
        slots_taken: list[bool] = []

        def take_slot() -> None:
            if not slots_taken:
                stack.enter_context(hold_slot())
                slots_taken.append(True)

        yield take_slot
