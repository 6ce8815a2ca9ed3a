"""The formats of answers, and how one is chosen: by `format`, or else by the Accept header."""

from collections.abc import Sequence
from typing import Any

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class ExportRenderer(BaseRenderer):
    """A format that is streamed past DRF; it is here to be chosen."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        """Never asked to: exports are streamed, and errors are problem details in any format."""
        raise NotImplementedError(f"{self.format} is streamed, not rendered.")


class CSVRenderer(ExportRenderer):
    """The whole filtered set as CSV."""

    media_type = "text/csv"
    format = "csv"


class NDJSONRenderer(ExportRenderer):
    """The whole filtered set as one JSON object a line."""

    media_type = "application/x-ndjson"
    format = "ndjson"


class XLSXRenderer(ExportRenderer):
    """The whole filtered set as a workbook of one sheet, up to 1,048,575 rows."""

    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    format = "xlsx"


class ParquetRenderer(ExportRenderer):
    """The whole filtered set as a Parquet file."""

    media_type = "application/vnd.apache.parquet"
    format = "parquet"


EXPORT_RENDERERS = (CSVRenderer, NDJSONRenderer, XLSXRenderer, ParquetRenderer)


class Negotiation(DefaultContentNegotiation):
    """As RFC 9110 has it, and `format` before all: an unknown one is answered with what is known instead of a 404."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the renderer and its media type, that of `format` or else the one that is wanted most.

        Raises ValidationError for a format that the list does not have, NotAcceptable where nothing is wanted.
        """
        asked = request.query_params.get("format")
        named = {renderer.format: renderer for renderer in renderers}
        if asked is not None and asked not in named:
            raise ValidationError({"format": [f"“{asked}” is not one of: {', '.join(named)}."]})
        accepted = self.get_accept_list(request) or ["*/*"]
        ranges = [found for token in accepted if (found := as_range(token))]
        chosen = named[asked] if asked else max(renderers, key=lambda one: wanted(one.media_type, ranges))
        if not asked and not wanted(chosen.media_type, ranges)[0]:
            raise NotAcceptable(available_renderers=renderers)
        return chosen, chosen.media_type


def as_range(token: str) -> MediaType | None:
    """Return one part of an Accept header, None for what is no media range."""
    try:
        return MediaType(token)
    except ValueError:
        return None


def wanted(media_type: str, ranges: Sequence[MediaType]) -> tuple[float, int]:
    """Return the quality that the most specific range gives a media type, and how specific it is; (0, 0) for none.

    Parameters of a range, e.g. a charset, do not keep it from matching.
    """
    main, _, sub = media_type.partition("/")
    fits = [
        ((one.main_type != "*") + (one.sub_type != "*"), one.quality)
        for one in ranges
        if one.main_type in {"*", main} and one.sub_type in {"*", sub}
    ]
    specific, quality = max(fits, default=(0, 0.0))
    return quality, specific
