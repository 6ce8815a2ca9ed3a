"""Stock DRF: ModelViewSet, ModelSerializer, page-number pagination; and the same where nobody counts the table."""

from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.urls import include, path
from rest_framework.pagination import PageNumberPagination
from rest_framework.renderers import JSONRenderer
from rest_framework.routers import SimpleRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from tests.benchmarks.contenders.stock.models import MODELS


class Pages(PageNumberPagination):
    """DRF's own, with the size in the query."""

    page_size_query_param = "page_size"


class Uncounted(Paginator[Any]):
    """Takes the table to be endless."""

    @cached_property
    def count(self) -> int:
        """A number that no page reaches."""
        return 10**12


class UncountedPages(Pages):
    """DRF's own without its most expensive query, which the portal's lists do not ask either."""

    django_paginator_class = Uncounted


def build_viewset(model_class: Any, paginator: type[Pages]) -> type[ModelViewSet[Any]]:
    """Return a model's view set, as the tutorial writes it."""

    class Serializer(ModelSerializer[Any]):
        class Meta:
            model = model_class
            fields = "__all__"

    class ViewSet(ModelViewSet[Any]):
        queryset = model_class._default_manager.filter(withdrawn_at=None)
        serializer_class = Serializer
        pagination_class = paginator
        renderer_classes = (JSONRenderer,)

    return ViewSet


def urls(pages: type[Pages]) -> list[Any]:
    """Return the addresses of every kind."""
    router = SimpleRouter()
    for name, model in MODELS.items():
        router.register(name, build_viewset(model, pages), basename=name)
    return router.urls


urlpatterns = [path("counted/", include(urls(Pages))), path("uncounted/", include(urls(UncountedPages)))]
