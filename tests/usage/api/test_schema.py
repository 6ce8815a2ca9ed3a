"""The OpenAPI schema and its page: complete, valid, and only for authenticated clients."""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from django.test import Client

from portal.accounts.models import Scope
from portal.environment import BASE_DIR
from tests.support.api_clients import API, create_api_client, get_problem_details
from tests.support.factories import SourceFactory
from tests.support.processes import build_environment

pytestmark = pytest.mark.django_db


@cache
def build_schema() -> Any:
    """Return the schema, which is the same for everyone and takes seconds to build."""
    response = create_api_client(Scope.MIRROR_READ).get(f"{API}/schema/")
    assert response.status_code == 200
    return yaml.load(response.content, yaml.CSafeLoader)


@pytest.fixture
def schema() -> Any:
    return build_schema()


def test_the_schema_is_valid_and_drawn_up_without_a_warning() -> None:
    command = [sys.executable, "manage.py", "spectacular", "--validate", "--fail-on-warn"]
    result = subprocess.run(command, cwd=BASE_DIR, env=build_environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("openapi: 3.1")


def test_every_operation_says_how_to_be_let_in_and_what_can_go_wrong(schema: Any) -> None:
    for path, path_item in schema["paths"].items():
        for operation in path_item.values() if path.startswith(API) else ():
            assert operation["security"] == [{"token": []}, {"session": []}], path
            assert {"400", "401", "403", "406", "429"} <= set(operation["responses"]), path
            for status, response in operation["responses"].items():
                content = set(response.get("content", ()))
                assert (content == {"application/problem+json"}) == (int(status) >= 400), (path, status)
                assert bool(content) == (status != "304"), (path, status)


def test_every_parameter_of_usage_has_a_description(schema: Any) -> None:
    for kind in ("environment-usage", "resource-usage", "recipe-usage"):
        parameters = {
            parameter["name"]: parameter for parameter in schema["paths"][f"{API}/{kind}/"]["get"]["parameters"]
        }
        assert {"from", "to", "tz", "source", "vendor", "updated_since", "ordering", "cursor"} <= set(parameters)
        assert [
            name for name, parameter in parameters.items() if "description" not in parameter and name != "format"
        ] == []


def test_every_parameter_has_a_type(schema: Any) -> None:
    for path, method, operation in iterate_operations(schema):
        for parameter in operation.get("parameters", []):
            assert {"type", "anyOf", "$ref"} & set(parameter["schema"]), (method, path, parameter["name"])


def iterate_lists(schema: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the addresses of the API that take no id, with their parameters."""
    for path, path_item in schema["paths"].items():
        if path.startswith(API) and "get" in path_item and "{" not in path.replace("{source_slug}", ""):
            yield path.replace("{source_slug}", "production"), path_item["get"]["parameters"]


def test_every_parameter_that_is_understood_is_described_and_no_other(schema: Any) -> None:
    client = create_api_client()
    SourceFactory(slug="production")
    for path, parameters in iterate_lists(schema):
        (message,) = get_problem_details(client.get(path, {"nonsense": "1"}))["nonsense"]
        understood = set(message.removeprefix("Unknown parameter; allowed are: ").removesuffix(".").split(", "))
        described = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        assert described | {"format"} == understood | {"format"}, path


def test_the_headers_of_answers_are_described(schema: Any) -> None:
    responses = schema["paths"][f"{API}/resource-usage/"]["get"]["responses"]
    assert {"ETag", "RateLimit", "Content-Disposition", "Link", "Portal-Complete"} <= set(responses["200"]["headers"])
    assert {"Retry-After", "RateLimit"} <= set(responses["429"]["headers"])
    assert "Retry-After" in responses["503"]["headers"]  # of exports alone
    assert "503" not in schema["paths"][f"{API}/sync-runs/"]["get"]["responses"]
    assert "WWW-Authenticate" in responses["401"]["headers"]
    assert "Location" in schema["paths"][f"{API}/sources/{{slug}}/sync/"]["post"]["responses"]["202"]["headers"]


def iterate_operations(schema: Any) -> Iterator[tuple[str, str, Any]]:
    for path, path_item in schema["paths"].items():
        yield from ((path, method, operation) for method, operation in path_item.items())


def test_no_column_of_a_row_is_promised_as_fields_may_leave_it_out(schema: Any) -> None:
    rows = schema["components"]["schemas"]
    for name in ("EnvironmentUsage", "ResourceUsage", "RecipeUsage", "Source", "SourceDay", "SyncRun", "Restatement"):
        assert "required" not in rows[name]
    assert rows["Manifest"]["required"]


def test_exports_are_described_as_text_and_numbers_as_strings(schema: Any) -> None:
    content = schema["paths"][f"{API}/resource-usage/"]["get"]["responses"]["200"]["content"]
    assert content["text/csv"]["schema"] == {"type": "string"}
    quantity = schema["components"]["schemas"]["ResourceUsage"]["properties"]["consumed_quantity"]
    assert quantity["type"] == "string"
    assert quantity["format"] == "decimal"


def test_the_page_has_no_script_or_style_that_the_policy_forbids() -> None:
    client = create_api_client(Scope.USAGE_READ)
    response = client.get(f"{API}/docs/")
    page = response.content.decode()
    assert response.status_code == 200
    assert "'unsafe" not in response["Content-Security-Policy"]
    assert "<style" not in page
    assert "<script>" not in page
    assert "://" not in page.replace("http://testserver", "")


def test_the_pages_script_is_served_apart_from_it() -> None:
    script = create_api_client(Scope.USAGE_READ).get(f"{API}/docs/", {"script": ""})
    assert script.status_code == 200
    assert script["Content-Type"] == "application/javascript"
    assert b"SwaggerUIBundle" in script.content
    assert Client().get(f"{API}/docs/", {"script": ""}).status_code == 401
