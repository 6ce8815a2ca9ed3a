"""Which incidents a user or token may see, and their acknowledgement."""

from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.incidents.conditions import SYSTEM_CONDITIONS, ConditionKind
from portal.incidents.models import OPEN, Incident


def filter_visible(
    incidents: QuerySet[Any], source_ids: frozenset[int] | None, *, can_view_tokens: bool
) -> QuerySet[Any]:
    """Return the incidents of these sources (None: of all) and of the portal itself.

    A caller limited to sources sees no incident of tokens, and none that counts days of all sources.
    """
    if source_ids is not None:
        visible = Q(source__in=sorted(source_ids)) | Q(source=None, condition__in=sorted(SYSTEM_CONDITIONS))
        return incidents.filter(visible)
    return incidents if can_view_tokens else incidents.exclude(condition=ConditionKind.TOKEN_EXPIRES)


def acknowledge(incident: Incident, username: str) -> bool:
    """Record who looks after an open incident; False where it is resolved, or acknowledged already."""
    unclaimed = Incident.objects.filter(OPEN, pk=incident.pk, acknowledged_at=None)
    return bool(unclaimed.update(acknowledged_at=timezone.now(), acknowledged_by=username))
