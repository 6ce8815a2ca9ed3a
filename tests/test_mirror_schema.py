"""The mirrors in the OpenAPI schema: every path, with the vendor's own parameters, bodies, answers and errors."""

import json
from typing import Any

import pytest
import yaml
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from portal.models import Scope
from sync.sandbox.server import SandboxServer
from sync.vendors import mirrors
from tests.callers import API, bearer
from tests.mirrored import FIRST, instant, key, read_all, still  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
ONE_DAY = (instant(FIRST), instant(FIRST.replace(day=FIRST.day + 1)))
QUESTIONS: dict[str, dict[str, Any]] = {
    "ona": {"filter": {"dateRange": dict(zip(("startTime", "endTime"), ONE_DAY, strict=True))}},
    "gcore": {**dict(zip(("time_from", "time_to"), ONE_DAY, strict=True)), "limit": 1000},
    "workato": {**dict(zip(("from", "to"), ONE_DAY, strict=True)), "interval": "hour"},
}


@pytest.fixture
def schema() -> Any:
    """The portal's own schema."""
    return yaml.safe_load(bearer(Scope.MIRROR_READ).get(f"{API}/schema/").content)


def judged(schema: Any, part: Any) -> Draft202012Validator:
    """Return what judges values by a part of the schema, its references followed."""
    return Draft202012Validator({**part, "components": schema["components"]})


def test_every_mirrored_path_is_described_with_the_vendors_own_way_in(schema: Any) -> None:
    for vendor, kind in mirrors().items():
        for path in kind.paths:
            (operation,) = schema["paths"][f"/mirror/{{slug}}{path}"].values()
            assert operation["security"] == [{f"mirror-{vendor}": []}]
            assert {"200", "400", "401", "403", "404", "413", "415", "429", "503"} <= set(operation["responses"])
            assert "Portal-Complete" in operation["responses"]["200"]["headers"]
            assert schema["components"]["securitySchemes"][f"mirror-{vendor}"]["name"] == "Authorization"


def test_every_error_of_a_mirror_is_of_the_vendors_shape(schema: Any) -> None:
    for vendor, kind in mirrors().items():
        path = kind.paths[0]
        answers = schema["paths"][f"/mirror/{{slug}}{path}"]["post"]["responses"]
        for status in (401, 403, 404, 413, 429, 503):
            content = answers[str(status)]["content"]["application/json"]
            judged(schema, content["schema"]).validate(json.loads(kind.refuse(status, "no").body))
        refused = Client().post(f"/mirror/{vendor}-main{path}", content_type="application/json")
        judged(schema, answers["401"]["content"]["application/json"]["schema"]).validate(refused.json())


def test_what_a_mirror_is_asked_and_what_it_answers_is_as_described(schema: Any, still: SandboxServer) -> None:  # noqa: F811
    for vendor, kind in mirrors().items():
        source = read_all(still, vendor)
        client = Client(headers={"Authorization": f"Bearer {key(source)}"})
        for path in kind.paths:
            ((method, operation),) = schema["paths"][f"/mirror/{{slug}}{path}"].items()
            address = f"/mirror/{source.slug}{path}"
            question = QUESTIONS[vendor]
            if vendor == "workato" and method == "post":
                listed = client.get(f"/mirror/{source.slug}{kind.paths[1]}").json()["result"]
                question = {**question, "workspace_ids": [one["id"] for one in listed]}
            if method == "post":
                asked = operation["requestBody"]["content"]["application/json"]["schema"]
                judged(schema, asked).validate(question)
            answer = client.get(address) if method == "get" else client.post(address, question, "application/json")
            assert answer.status_code == 200, answer.content
            content = operation["responses"]["200"]["content"]["application/json"]
            assert len(answer.content) > 200
            judged(schema, content["schema"]).validate(answer.json())


@pytest.mark.parametrize("slug", ["%C2%84", "no%00where", "a%20b", "nowhere"])
def test_a_name_that_no_source_can_have_is_an_error_of_the_vendors_shape(schema: Any, slug: str) -> None:
    client = Client(headers={"Authorization": f"Bearer {key()}"})
    for kind in mirrors().values():
        answer = client.post(f"/mirror/{slug}{kind.paths[0]}", {}, "application/json")
        assert answer.status_code == 404
        described = schema["paths"][f"/mirror/{{slug}}{kind.paths[0]}"]["post"]["responses"]["404"]
        judged(schema, described["content"]["application/json"]["schema"]).validate(answer.json())


def test_examples_of_mirrors_are_what_their_schemas_allow(schema: Any) -> None:
    for path, operations in schema["paths"].items():
        for operation in operations.values() if path.startswith("/mirror/") else ():
            bodies = [*operation["responses"].values(), operation.get("requestBody", {})]
            for content in (body["content"]["application/json"] for body in bodies if body.get("content")):
                judged(schema, content["schema"]).validate(content["example"])
            for parameter in operation["parameters"]:
                judged(schema, parameter["schema"]).validate(parameter["schema"]["examples"][0])
