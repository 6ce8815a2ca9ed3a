"""The formats of answers; `format` selects one, or else the Accept header."""

from typing import Any, Final

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from usage.exports.formats import FORMATS, ExportFormat

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"


class ExportRenderer(BaseRenderer):
    """A format that is streamed past DRF; the class is only for the negotiation."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> Any:
        """Raise NotImplementedError: exports are streamed, and errors are problem details in any format."""
        raise NotImplementedError(f"{self.format} is streamed, not rendered.")


def build_renderer(export_format: ExportFormat) -> type[ExportRenderer]:
    """Return the renderer class that stands for a format of exports."""
    attributes = {"media_type": export_format.media_type, "format": export_format.name}
    return type(f"{export_format.name.upper()}Renderer", (ExportRenderer,), attributes)


EXPORT_RENDERERS: Final = tuple(build_renderer(export_format) for export_format in FORMATS.values())


class FormatFirstNegotiation(DefaultContentNegotiation):
    """DRF's negotiation, in which the parameter `format` wins over the Accept header instead of having to match it."""

    def get_accept_list(self, request: Request) -> list[str]:
        if self.settings.URL_FORMAT_OVERRIDE in request.query_params:
            return ["*/*"]
        return super().get_accept_list(request) or ["*/*"]
