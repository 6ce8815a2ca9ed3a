"""The Celery application: broker and schedule from the settings, tasks from the apps."""

import os
from contextlib import ExitStack
from typing import Any

import portal.optional_imports  # noqa: F401  # before structlog

# isort: split
import celery
import structlog
from celery import Celery
from celery.signals import beat_init, heartbeat_sent, setup_logging, task_postrun, task_prerun, worker_init
from structlog.contextvars import bind_contextvars, clear_contextvars

from sync.heartbeats import Heartbeat, Pulse
from sync.tracing import annotate_span, open_span

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
logger = structlog.get_logger(__name__)


class Task(celery.Task):  # type: ignore[type-arg]
    """A task that does nothing while the schema is another than that of the code: the next tick sends it again.

    So a worker of the old release waits for its end, a worker of the new release for `migrate`.
    """

    waits = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Carry out the task, or drop it; that the worker waits, and continues, is logged once."""
        from usage.schema_state import SchemaDiffers, check_schema

        try:
            check_schema()
            result = super().__call__(*args, **kwargs)
        except SchemaDiffers as difference:
            if not Task.waits:
                logger.warning("worker waits", reason=str(difference))
            Task.waits = True
            return None
        if Task.waits:
            logger.info("worker goes on")
            Task.waits = False
        return result


app: "Celery[Any]" = Celery("portal", task_cls=Task)
# Tasks are sent from granian's threads too, which would not see an app that is current in a single thread.
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
    """Keep Celery from setting up its own logs: PORTAL_LOG_LEVEL and PORTAL_LOG_FORMAT apply to it too."""


@task_prerun.connect
def _bind_task(task_id: str, task: Any, **_: Any) -> None:
    """Add the task to every line that it writes."""
    bind_contextvars(task_id=task_id, task=task.name)
    task.request.span = span = ExitStack()
    span.enter_context(open_span(task.name, "CONSUMER"))


@task_postrun.connect
def _unbind_task(task: Any, state: Any = "", **_: Any) -> None:
    annotate_span({"outcome": str(state)})
    task.request.span.close()
    clear_contextvars()


@heartbeat_sent.connect
def _record_worker(**_: Any) -> None:
    """Record that this worker is alive, from its main process: all others may be busy with long days."""
    worker_pulse.beat()
