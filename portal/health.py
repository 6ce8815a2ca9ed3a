"""Whether the portal lives and can do its work: the addresses that strangers may ask."""

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError

from portal.cache import get_redis
from usage.fields import LockedText
from usage.models import Source


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200: this process answers; nothing else is asked."""
    return JsonResponse({"live": True})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 where all the portal needs is there, else 503 with the reasons, which hold no secret."""
    reasons = [reason for reason, holds in NEEDS.items() if not holds()]
    return JsonResponse({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


def database_answers() -> bool:
    """Tell whether PostgreSQL carries out a statement."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def redis_answers() -> bool:
    """Tell whether Redis answers in time."""
    try:
        return bool(get_redis(settings.REDIS_URL).client.ping())
    except RedisError:
        return False


def migrations_applied() -> bool:
    """Tell whether the database has every table and column that this code knows; False where it does not answer."""
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False


def credentials_open() -> bool:
    """Tell whether some stored credential opens; True where none is stored, or the database does not answer."""
    stored = Source.objects.exclude(credential="").values_list("credential", flat=True)
    try:
        return not stored.exists() or any(
            not isinstance(secret, LockedText) for secret in stored.iterator(chunk_size=10)
        )
    except DatabaseError:
        return True


NEEDS: dict[str, Callable[[], bool]] = {
    "The database does not answer.": database_answers,
    "Redis does not answer.": redis_answers,
    "Migrations are to be applied: run manage.py migrate.": migrations_applied,
    "PORTAL_ENCRYPTION_KEYS opens none of the stored credentials.": credentials_open,
}
