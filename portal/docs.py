"""The schema of the API and the page that shows it, for whoever is known."""

from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from usage.access import RightsFirst


class SchemaView(RightsFirst, SpectacularAPIView):
    """The OpenAPI schema, as YAML or (`format=json`) JSON."""


class DocsView(RightsFirst, SpectacularSwaggerSplitView):
    """The page of the schema, its script apart from it: so it works under the strict CSP."""

    url_name = "api:schema"
    title = "API of the usage portal"
    template_name = "api/docs.html"
