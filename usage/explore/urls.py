"""The addresses of the Explore page, its files and its saved views."""

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path
from django.views.decorators.http import require_POST, require_safe

from usage.explore.saved_pages import open_or_change, pin_view, preview_view, show_or_save
from usage.explore.views import explore, export


def build_urls(wrap: Callable[..., Any]) -> list[URLPattern]:
    """Return the addresses; `wrap` lets in staff only."""
    return [
        path("explore/", wrap(require_safe(explore)), name="explore"),
        path("explore/export/", wrap(require_safe(export)), name="explore_export"),
        path("explore/views/", wrap(show_or_save), name="explore_views"),
        path("explore/views/", wrap(show_or_save), name="explore_save"),
        path("explore/views/<int:pk>/", wrap(open_or_change), name="explore_view"),
        path("explore/views/<int:pk>/pin/", wrap(require_POST(pin_view)), name="explore_view_pin"),
        path("explore/views/<int:pk>/preview/", wrap(require_safe(preview_view)), name="explore_view_preview"),
    ]
