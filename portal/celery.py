"""The Celery application: broker and schedule from the settings, tasks from the apps."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, heartbeat_sent, setup_logging, task_postrun, task_prerun, worker_init
from structlog.contextvars import bind_contextvars, clear_contextvars

from sync.heartbeats import Heartbeat, Pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
app = Celery("portal")
# Tasks are sent from granian's threads too, which would not see an app that is current in one thread only.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
worker_pulse = Pulse(Heartbeat.WORKER)


@worker_init.connect
@beat_init.connect
def _check_settings(**_: Any) -> None:
    """Keep workers and beat from starting on wrong settings."""
    from portal.checks import exit_if_misconfigured

    exit_if_misconfigured()


@setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Keep Celery from setting up logs of its own: PORTAL_LOG_LEVEL and PORTAL_LOG_FORMAT hold for it too."""


@task_prerun.connect
def _bind_task(task_id: str, task: Any, **_: Any) -> None:
    """Add the task to every line that it writes."""
    bind_contextvars(task_id=task_id, task=task.name)


@task_postrun.connect
def _unbind_task(**_: Any) -> None:
    clear_contextvars()


@heartbeat_sent.connect
def _record_worker(**_: Any) -> None:
    """Say that this worker lives, from its main process: all others may be busy with long days."""
    worker_pulse.beat()
