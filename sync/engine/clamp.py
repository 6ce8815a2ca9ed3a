"""Clamp: reset waits that lie further ahead than any rule allows.

A clock that was wrong for a moment may have stored such a wait. The source would stand still for years, and beyond
the year 9999 no page that shows the row opens. The longest wait is the source's interval, a day, or a back-off.
"""

import structlog
from django.conf import settings
from django.db import connection

logger = structlog.get_logger(__name__)

CLAMP_SCHEDULES = """
    UPDATE usage_source SET next_sync_at = statement_timestamp()
    WHERE next_sync_at > statement_timestamp() + GREATEST(interval '2 days', interval_minutes * interval '2 minutes')
"""
CLAMP_PAUSES = """
    UPDATE usage_source SET paused_until = NULL WHERE paused_until > statement_timestamp() + interval '2 days'
"""
CLAMP_LEASES = """
    UPDATE usage_sourceday SET lease_expires_at = statement_timestamp()
    WHERE state = 'loading' AND lease_expires_at > statement_timestamp() + %s * interval '2 seconds'
"""
CLAMP_DAYS = """
    UPDATE usage_sourceday SET due_at = statement_timestamp() FROM usage_source
    WHERE usage_source.id = source_id AND due_at > statement_timestamp()
        + GREATEST(interval '2 days', usage_source.interval_minutes * interval '2 minutes')
"""


def clamp_waits() -> None:
    """Reset schedules, pauses, leases and days that lie further ahead than twice their longest wait."""
    with connection.cursor() as cursor:
        cursor.execute(CLAMP_SCHEDULES)
        cursor.execute(CLAMP_PAUSES)
        cursor.execute(CLAMP_LEASES, [settings.PORTAL_LEASE_SECONDS])
        leases = cursor.rowcount
        cursor.execute(CLAMP_DAYS)
        days = cursor.rowcount
    if leases or days:
        logger.warning("waits beyond every rule were reset", days=days, leases=leases)
