"""The portal's addresses."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path, reverse_lazy
from django.views.generic import RedirectView
from rest_framework.routers import SimpleRouter

from portal.incidents.api import IncidentViewSet
from portal.metrics.views import MetricsView
from sync import api as sync
from sync.mirrors.views import serve_mirror
from usage.api import views as usage
from usage.api.directory import DirectoryViewSet
from usage.api.docs import DocsView, SchemaView
from usage.api.errors import UnknownAddressView
from usage.summaries import views as summaries

router = SimpleRouter()
router.register("environment-usage", usage.EnvironmentUsageViewSet, basename="environment-usage")
router.register("resource-usage", usage.ResourceUsageViewSet, basename="resource-usage")
router.register("recipe-usage", usage.RecipeUsageViewSet, basename="recipe-usage")
router.register("directory", DirectoryViewSet, basename="directory")
router.register("sources", sync.SourceViewSet, basename="sources")
router.register(f"sources/(?P<source_slug>{sync.SLUG})/days", sync.SourceDayViewSet, basename="source-days")
router.register("sync-runs", sync.SyncRunViewSet, basename="sync-runs")
router.register("restatements", sync.RestatementViewSet, basename="restatements")
router.register("incidents", IncidentViewSet, basename="incidents")
router.register("rejected-records", sync.RejectedRecordViewSet, basename="rejected-records")

api = [
    # Before the details, whose addresses look alike.
    path("environment-usage/summary/", summaries.EnvironmentSummaryView.as_view(), name="environment-summary"),
    path("resource-usage/summary/", summaries.ResourceSummaryView.as_view(), name="resource-summary"),
    path("recipe-usage/summary/", summaries.RecipeSummaryView.as_view(), name="recipe-summary"),
    path("usage/summary/", summaries.CombinedSummaryView.as_view(), name="usage-summary"),
    *router.urls,
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(), name="docs"),
]

urlpatterns = [
    path("", RedirectView.as_view(url=reverse_lazy("admin:index"))),
    path("favicon.ico", RedirectView.as_view(url=static("portal/icon.svg"))),
    path("api/v1/", include((api, "api"))),
    re_path("^api/", UnknownAddressView.as_view()),
    re_path("^mirror/(?P<slug>[^/]+)(?P<path>/.*)$", serve_mirror, name="mirror"),
    # Where tokens and the audit log were before they got their own app.
    re_path("^admin/portal/(?P<path>.*)$", RedirectView.as_view(url="/admin/accounts/%(path)s", query_string=True)),
    path("admin/", admin.site.urls),
    path("accounts/", include("portal.accounts.urls")),
    path("metrics", MetricsView.as_view(), name="metrics"),
]
handler400 = "portal.error_views.bad_request"
handler500 = "portal.error_views.server_error"
