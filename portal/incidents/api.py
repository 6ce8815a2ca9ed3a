"""The API of incidents."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request

from portal.accounts.authentication import StaffAccess
from portal.incidents.access import acknowledge, filter_visible
from portal.incidents.filters import IncidentFilterSet
from portal.incidents.models import Incident
from portal.incidents.serializers import IncidentSerializer
from sync.api import Conflict, get_caller_name
from usage.api.access import get_access
from usage.api.views import ReadViewSet
from usage.columns import get_columns


class IncidentViewSet(ReadViewSet):
    """What is or was wrong and needs a person; `acknowledge` records that a person looks after it."""

    queryset = Incident.objects.all()
    serializer_class = IncidentSerializer
    filterset_class = IncidentFilterSet
    scope = "sync:read"
    permission = "incidents.view_incident"
    ordering = "-opened_at"
    orderings = {"opened_at": ("opened_at", "id")}
    http_method_names = ["get", "head", "post"]

    def get_queryset(self) -> QuerySet[Any]:
        """Return the incidents that the request may see; those of tokens are for staff who see all tokens."""
        access = get_access(self.request)
        assert access is not None  # noqa: S101  # the schema is generated without this method
        can_view_tokens = isinstance(access, StaffAccess) and access.user.has_perm("accounts.view_apitoken")
        return filter_visible(self.queryset.all(), access.source_ids, can_view_tokens=can_view_tokens)

    @extend_schema(request=None, responses=IncidentSerializer)
    @action(detail=True, methods=["post"], scope="sync:run", permission="incidents.change_incident")
    def acknowledge(self, request: Request, pk: str) -> HttpResponse:
        """Record that the caller looks after an open incident; its reminders end."""
        incident: Incident = self.get_object()
        if not acknowledge(incident, get_caller_name(request)):
            raise Conflict("The incident is resolved, or acknowledged already.")
        return self.build_row_response(self.get_queryset().filter(pk=incident.pk), get_columns(IncidentSerializer))
