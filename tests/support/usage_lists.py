"""The pages of the usage lists, for tests."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from tests.support.users import sign_in_as
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, UsageRecord

ENVIRONMENTS, RESOURCES, RECIPES = (
    f"/admin/usage/{kind._meta.model_name}/" for kind in (EnvironmentUsage, ResourceUsage, RecipeUsage)
)


@pytest.fixture
def staff() -> Client:
    return sign_in_as("viewer")


def build_list_url(kind: type[UsageRecord], **query: Any) -> str:
    address = f"/admin/usage/{kind._meta.model_name}/"
    params = urlencode({name.rstrip("_"): value for name, value in query.items()}, doseq=True)
    return f"{address}?{params or 'from='}"


def get_errors(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 400
    assert "cl" not in response.context
    return dict(response.context["list_query"].errors)
