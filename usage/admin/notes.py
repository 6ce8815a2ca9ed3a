"""Notes about days: everyone with access to usage reads them, operators write them."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from usage.admin.base import PortalAdmin
from usage.admin.filters import SourceListFilter
from usage.api.access import filter_by_staff_scope, get_staff_scope
from usage.columns import build_columns
from usage.models import Note, Source


@admin.register(Note)
class NoteAdmin(PortalAdmin):
    """Notes, the latest days first. Someone limited to sources writes about these, and reads those about all, too."""

    exported = build_columns(Note, "id", "day", "text", "written_by", "created_at", source="source__slug")
    list_display = ("day", "text", "source", "written_by")
    list_display_links = ("day",)
    list_filter = (SourceListFilter,)
    allowed_lookups = ("source",)
    ordering = ("-day", "-id")
    row_name_plural = "notes"
    fields = ("day", "text", "source")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the notes about all sources, and about those that this person may know of."""
        notes = super().get_queryset(request).select_related("source").defer("source__credential")
        scope = get_staff_scope(request)
        return notes if scope is None else notes.filter(Q(source=None) | Q(source_id__in=sorted(scope)))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse someone limited to sources a note about all of them."""
        return super().has_change_permission(request, obj) and self.is_within_scope(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse someone limited to sources a note about all of them."""
        return super().has_delete_permission(request, obj) and self.is_within_scope(request, obj)

    def is_within_scope(self, request: HttpRequest, note: Any) -> bool:
        """Return whether a note is about sources within this person's scope."""
        return note is None or get_staff_scope(request) is None or note.source_id is not None

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the sources that this person may see; a person with a scope has to choose a source."""
        sources = filter_by_staff_scope(Source.objects.all(), request, "id")
        is_required = get_staff_scope(request) is not None
        return super().formfield_for_foreignkey(db_field, request, queryset=sources, required=is_required, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        if not change:
            obj.written_by = request.user.get_username()
        super().save_model(request, obj, form, change)
