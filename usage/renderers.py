"""The formats of answers, and how one is chosen: by `format`, or else by the Accept header."""

from typing import Any

from rest_framework.exceptions import ValidationError
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
    """DRF's, which answers an unknown `format` with what is known instead of a 404."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the renderer and its media type; raises ValidationError for a format that the list does not have."""
        asked = request.query_params.get("format")
        known = [renderer.format for renderer in renderers]
        if asked is not None and asked not in known:
            raise ValidationError({"format": [f"“{asked}” is not one of: {', '.join(known)}."]})
        return super().select_renderer(request, renderers, format_suffix)
