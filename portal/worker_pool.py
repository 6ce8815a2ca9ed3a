"""The worker's pool of processes."""

from celery.concurrency.prefork import TaskPool


class Pool(TaskPool):
    """A pool that continues when one of its processes is killed while the worker starts.

    Celery ends the worker then, which stops everything under `manage.py up`. Later it replaces a killed process, and
    it ends a worker whose processes die again and again; both apply during the start too.
    """

    def did_start_ok(self) -> bool:
        """Let Celery continue: its loop replaces a process that has died."""
        return True
