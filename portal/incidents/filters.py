"""The filters of incidents in the API."""

from portal.incidents.conditions import ConditionKind
from portal.incidents.models import Incident, Severity
from usage.api.filters import ChoicesFilter, PresenceFilter, SourceRelatedFilterSet


class IncidentFilterSet(SourceRelatedFilterSet):
    """Filters of incidents."""

    condition = ChoicesFilter(*ConditionKind.values, help_text="What is wrong.")
    severity = ChoicesFilter(*Severity.values, help_text="How urgent it is.")
    resolved = PresenceFilter("resolved_at", help_text="Whether it has ended.")
    acknowledged = PresenceFilter("acknowledged_at", help_text="Whether somebody looks after it.")

    class Meta:
        model = Incident
        fields: tuple[str, ...] = ()
