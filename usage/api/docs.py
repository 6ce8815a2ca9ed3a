"""The addresses of the OpenAPI schema and of the page that shows it."""

import threading
from functools import cache
from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request

from usage.api.access import AuthorizeFirstMixin

# drf-spectacular keeps what it makes of a schema in module variables: two at once fail.
SCHEMA_LOCK: Final = threading.Lock()


class SchemaView(AuthorizeFirstMixin, SpectacularAPIView):
    """The OpenAPI schema, as YAML or (`format=json`) JSON."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the schema, which is the same for everyone."""
        renderer: Any = request.accepted_renderer
        with SCHEMA_LOCK:
            content = render_schema(renderer.format)
        headers = {"Content-Disposition": f'inline; filename="usage-portal.{renderer.format}"'}
        return HttpResponse(content, content_type=f"{renderer.media_type}; charset=utf-8", headers=headers)


@cache
def render_schema(format_name: str) -> str | bytes:
    """Return the schema in a format, yaml or json; to draw it up takes a second of CPU time."""
    generator: Any = SchemaView.generator_class()
    renderer = next(
        renderer_class for renderer_class in SchemaView.renderer_classes if renderer_class.format == format_name
    )
    return renderer().render(generator.get_schema(public=True), renderer_context={})


class DocsView(AuthorizeFirstMixin, SpectacularSwaggerSplitView):
    """The page of the schema. Its script is a separate file, as the Content-Security-Policy requires."""

    url_name = "api:schema"
    title = "API of the usage portal"
    template_name = "api/docs.html"
