"""The API as schemathesis finds it: every response is one that the schema promises."""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from portal.accounts.models import Scope, create_token
from portal.environment import BASE_DIR
from sync.models import SyncRun
from tests.support.api_clients import API
from tests.support.filled_portal import FIRST, fill_portal
from usage.models import EnvironmentUsage, RecipeUsage, RejectedRecord, ResourceUsage, Restatement, Source

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

SCHEMATHESIS = BASE_DIR / ".venvs" / "api" / "bin" / "schemathesis"
HOOKS = BASE_DIR / "tests" / "support" / "schemathesis_hooks.py"
# Not among them: `positive_data_acceptance` and `negative_data_rejection`. OpenAPI cannot say that two parameters
# exclude each other, or that a slug must exist; what is refused, and how, has tests of its own. `use_after_free` and
# `ensure_resource_availability` need operations that create and delete. `object_level_authorization` needs a second
# user; tests/usage/api/test_access.py has the row scope.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
    "missing_required_header",
)
SEED = 20261123
EXAMPLES = 2


def test_every_answer_of_the_api_is_one_that_its_schema_promises(
    tmp_path: Path, web_server: Callable[..., int]
) -> None:
    fill_portal()
    _, secret = create_token("fuzz", Scope.values)
    (tmp_path / "schemathesis.toml").write_text(settings(list_path_values()))
    command = [str(SCHEMATHESIS), "run", f"http://127.0.0.1:{web_server()}{API}/schema/", "--no-color"]
    command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
    command += ["--max-examples", str(EXAMPLES), "--seed", str(SEED), "--generation-database", "none"]
    command += ["--header", f"Authorization: Bearer {secret}"]
    # What Hypothesis knows of Unicode takes it seconds to find out: it is kept for later runs.
    environment = {"PYTHONWARNINGS": "ignore", "HYPOTHESIS_STORAGE_DIRECTORY": str(BASE_DIR / ".hypothesis")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def list_path_values() -> dict[str, Sequence[object]]:
    """Return values of path parameters that exist: most made-up ones end in a 404."""
    kinds = (EnvironmentUsage, ResourceUsage, RecipeUsage, SyncRun, Restatement, RejectedRecord)
    ids = [str(kind.objects.order_by("pk").values_list("pk", flat=True)[:1][0]) for kind in kinds]
    slugs = list(Source.objects.values_list("slug", flat=True))
    return {"id": ids, "slug": slugs, "source_slug": slugs, "day": [str(FIRST)]}


def settings(values: Mapping[str, Sequence[object]]) -> str:
    """Return schemathesis' configuration: three of four path parameters are taken from `values`."""
    lists = (f"[dictionaries.{name}]\nvalues = {json.dumps(path_values)}\n" for name, path_values in values.items())
    bound = (f'"path.{name}" = {{ dictionary = "{name}", probability = 0.75 }}\n' for name in values)
    # Manifests and summaries are requested by the filters of their lists: every value of every one of them is tried there,
    # and of all else that a summary takes on one of them. Wrong values of what lists have in common are tried on that of
    # the most filters.
    filtered = "'(/export-manifest|/(resource|recipe)-usage/summary)/$'"
    common = "'/(environment|recipe)-usage/$'"
    operations = (
        f"[[operations]]\ninclude-path-regex = {filtered}\nphases.coverage.enabled = false\n",
        f"[[operations]]\ninclude-path-regex = {common}\nphases.coverage.generation.mode = 'positive'\n",
    )
    return "".join([f"hooks = {json.dumps(str(HOOKS))}\n", *lists, "[parameters]\n", *bound, *operations])
