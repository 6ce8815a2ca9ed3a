"""The API of the directory: the vendors' names for the ids in usage."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from usage.api.access import get_name_access
from usage.api.filters import ChoicesFilter, ContainsFilter, PresenceFilter, SourceRelatedFilterSet, TextsFilter
from usage.api.serializers import SourceRelatedSerializer
from usage.api.views import ReadViewSet
from usage.columns import TEXT, Column, get_columns, select_columns
from usage.directory.lookup import annotate_shown_names
from usage.models import DirectoryEntry, NameKind


class DirectoryFilterSet(SourceRelatedFilterSet):
    """Filters of names."""

    kind = ChoicesFilter(*NameKind.values, help_text="What the ids are of.")
    vendor_id = TextsFilter(help_text="The ids as usage has them, comma-separated.")
    name__contains = ContainsFilter("shown", "icontains")
    gone = PresenceFilter("gone_at", help_text="Whether the vendor no longer lists it.")

    class Meta:
        model = DirectoryEntry
        fields: tuple[str, ...] = ()


class DirectoryEntrySerializer(SourceRelatedSerializer):
    """The name that an id of a source has at its vendor today."""

    name = serializers.CharField(
        read_only=True,
        help_text="The name. Of a user what PORTAL_PERSON_NAMES says, and empty without the scope person:read or the "
        "permission usage.view_person.",
    )

    class Meta:
        model = DirectoryEntry
        fields = (
            "id",
            "source",
            "kind",
            "vendor_id",
            "name",
            "team_ids",
            "group_ids",
            "first_seen_at",
            "last_seen_at",
            "gone_at",
        )


COLUMNS = tuple(
    Column("name", "shown", TEXT) if column.name == "name" else column
    for column in get_columns(DirectoryEntrySerializer)
)


class DirectoryViewSet(ReadViewSet):
    """The vendors' names for the ids in usage, and the teams and groups of users."""

    queryset = DirectoryEntry.objects.all()
    serializer_class = DirectoryEntrySerializer
    filterset_class = DirectoryFilterSet
    scope = "usage:read"
    permission = "usage.view_directoryentry"
    ordering = "id"
    orderings = {"id": ("id",)}

    @property
    def columns(self) -> tuple[Column, ...]:
        """The selected columns; raises ValidationError if `fields` names an unknown column."""
        return select_columns(COLUMNS, self.request.query_params)

    def get_queryset(self) -> QuerySet[Any]:
        """Return the names within the row scope, each as far as it may be shown."""
        return annotate_shown_names(super().get_queryset(), get_name_access(self.request))
