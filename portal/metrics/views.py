"""`/metrics`, for tokens with the scope metrics:read; a token that is limited to sources sees only these."""

from collections.abc import Iterable
from itertools import chain

from django.http import HttpResponse
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from redis.exceptions import RedisError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from portal.accounts.authentication import TokenAuthentication
from portal.accounts.models import Scope
from portal.metrics.http_requests import collect_requests, request_counts
from portal.metrics.sources import collect_sources
from portal.metrics.work import collect_incidents, collect_messages, collect_queue, collect_standby
from usage.api.access import AuthorizeFirstMixin, get_row_scope


class PortalCollector:
    """Collects every metric at the time of a scrape; nothing is kept between two scrapes."""

    def __init__(self, source_ids: frozenset[int] | None) -> None:
        self.source_ids = source_ids

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics. Where Redis does not answer, the metrics that it stores are left out."""
        yield from collect_sources(self.source_ids)
        yield from collect_queue(self.source_ids)
        yield from collect_incidents(self.source_ids)
        yield from collect_standby()
        try:
            redis_metrics = list(chain(collect_messages(), collect_requests()))
        except RedisError:
            redis_metrics = []
        yield GaugeMetricFamily("portal_redis_up", "1 where Redis answers.", bool(redis_metrics))
        yield from redis_metrics


class ClientNegotiation(BaseContentNegotiation):
    """Leaves the Accept header to prometheus_client, which never refuses a request."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        """Return the first parser; there is no body."""
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the first renderer, which renders only errors."""
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


class MetricsView(AuthorizeFirstMixin, APIView):
    """The metrics in the format of Prometheus, or of OpenMetrics where the client takes that."""

    authentication_classes = [TokenAuthentication]
    content_negotiation_class = ClientNegotiation
    scope = Scope.METRICS_READ
    permission = "usage.view_source"
    http_method_names = ["get", "head"]
    schema = None

    def get(self, request: Request) -> HttpResponse:
        request_counts.flush()
        registry = CollectorRegistry()
        registry.register(PortalCollector(get_row_scope(request)))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(registry), content_type=content_type)
