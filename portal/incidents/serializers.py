"""The fields of incidents in the API."""

from rest_framework import serializers

from portal.incidents.models import Incident


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    """A condition with a beginning and an end that a person may have to know of."""

    source = serializers.SlugField(  # type: ignore[assignment]
        source="source.slug", read_only=True, allow_null=True, help_text="The source's slug; null where it is of none."
    )

    class Meta:
        model = Incident
        fields = (
            "id",
            "condition",
            "subject",
            "source",
            "severity",
            "state",
            "message",
            "detail",
            "days",
            "opened_at",
            "updated_at",
            "resolved_at",
            "acknowledged_at",
            "acknowledged_by",
        )
        extra_kwargs = {
            "condition": {"help_text": "What is wrong, as a code."},
            "subject": {"help_text": "What it is about, such as the name of a source."},
            "severity": {"help_text": "How urgent it is."},
            "state": {"help_text": "The same in a word, as the overview has it."},
            "message": {"help_text": "What is wrong in a sentence; several are on lines of their own."},
            "detail": {"help_text": "What may help."},
            "days": {"help_text": "How many days it is about; 0 where it is not about days."},
            "opened_at": {"help_text": "When it began."},
            "updated_at": {"help_text": "When it was last found to hold, or to have ended."},
            "resolved_at": {"help_text": "When it ended; null while it is open."},
            "acknowledged_at": {"help_text": "When somebody said that they look after it."},
            "acknowledged_by": {"help_text": "Who that is."},
        }
