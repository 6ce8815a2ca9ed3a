"""The Celery tasks: a minute's tick, and one day read at a time; a lost message costs at most a tick."""

from celery import shared_task
from django.conf import settings
from django.db.models.functions import Now

from sync.engine.load import load_next
from sync.engine.plan import plan_due
from usage import rollups
from usage.models import Source, SourceDay


@shared_task
def tick() -> None:
    """Plan what is due, and call as many workers to each source as it allows."""
    plan_due()
    for source in Source.objects.running():
        claimable = SourceDay.objects.claimable(Now()).filter(source=source)[: source.max_concurrency].count()
        for _ in range(claimable):
            load.apply_async((source.pk,), expires=settings.PORTAL_TICK_SECONDS)
    if not rollups.rolled_up(None, None, None, None):
        roll_up.apply_async(expires=settings.PORTAL_TICK_SECONDS)


@shared_task
def load(source_id: int) -> None:
    """Read one due day of a source, and come back for the next one."""
    if load_next(source_id) is not None:
        load.apply_async((source_id,), expires=settings.PORTAL_TICK_SECONDS)


@shared_task
def roll_up() -> None:
    """Write rollups of days stored before there were any, for a quarter of the tick; the next tick goes on."""
    rollups.roll_up(settings.PORTAL_TICK_SECONDS / 4)
