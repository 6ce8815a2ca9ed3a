"""The watcher: a thread of each web process that looks after worker and beat, which cannot report themselves."""

import random
import threading
import time
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import connection

from portal.incidents.delivery import deliver_due
from portal.incidents.system_alerts import find_silence
from portal.incidents.watch import watch, watch_processes
from sync.engine.recording import log_safely
from sync.heartbeats import TICKS_BEFORE_SILENT, Heartbeat

logger = structlog.get_logger(__name__)


def start_watcher() -> None:
    """Start the thread; it ends with the process."""
    threading.Thread(target=run_watcher, name="watcher", daemon=True).start()


def run_watcher() -> None:
    """Run the watch once a tick, for ever, in one process at a time."""
    started = time.time()
    while True:
        time.sleep(settings.PORTAL_TICK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 (not a secret)
        look_once(started)


def look_once(started: float) -> None:
    """Check the processes, and do what no worker does: watch and send; a failure is logged.

    Workers that read long days in all their processes are alive, and run no tick meanwhile.
    """
    try:
        silence = find_silence(started)
        watch_processes(silence)
        wait = timedelta(0)
        if silence is not None and not (silence[Heartbeat.BEAT] or silence[Heartbeat.WORKER]):
            wait = timedelta(seconds=TICKS_BEFORE_SILENT * settings.PORTAL_TICK_SECONDS)
            if silence[Heartbeat.TICK]:
                watch()
        deliver_due(settings.PORTAL_TICK_SECONDS / 2, wait)
    except Exception as error:  # noqa: BLE001  # the next run may succeed: health reports a database that is away
        log_safely(logger.warning, "watch_failed", error=type(error).__name__)
    finally:
        connection.close()
