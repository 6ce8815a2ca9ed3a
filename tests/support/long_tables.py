"""Usage tables that are too long for sequential scans, and searches in them."""

from django.db import connection

from tests.support.factories import FIRST, SourceFactory
from tests.support.plans import analyze, clean_pending_lists
from usage.models import Source

ROWS = 20_000
FILLED: dict[str, str] = {
    "environmentusage": """
        INSERT INTO usage_environmentusage (source_id, day, record_id, environment_id, project_id, user_id, runner_id,
            environment_class_id, created_at, stopped_at, changed_at)
        SELECT %s, '2026-01-01', 'r' || g, 'e' || g %% 5000, 'p' || g %% 50, 'u' || g %% 500, 'n' || g %% 2000,
            'c' || g %% 1500, %s + (g - g %% 3600) * interval '1 second', %s + g * interval '1 second', %s
        FROM generate_series(1, %s) AS g""",
    "resourceusage": """
        INSERT INTO usage_resourceusage (source_id, day, resource_key, resource_type, billing_metric,
            consumed_quantity, consumed_unit, project_id, region_id, resource_id, resource_name, details, tags,
            first_seen, changed_at)
        SELECT %s, (%s + g / 500 * interval '1 day')::date, md5(g::text)::uuid, 't' || g %% 25, 'm' || g %% 400,
            g %% 3600 + 0.5, 'u' || g %% 900, g %% 300, g %% 1000, 'i' || g %% 5000, 'name-' || md5(g::text),
            jsonb_build_object('flavor', 'f' || g %% 700, 'last_size', g %% 800),
            jsonb_build_object('team', 't' || g %% 600, 'k' || g %% 500, 'v'), %s, %s
        FROM generate_series(1, %s) AS g""",
    "recipeusage": """
        INSERT INTO usage_recipeusage (source_id, day, workspace_id, external_id, workspace_name, recipe_id,
            recipe_name, folder_id, folder_name, starts_at, ends_at, task_count, job_succeeded_count, job_failed_count,
            recipe_count, changed_at)
        SELECT %s, '2026-01-01', g %% 300, 'x' || g %% 300, 'space-' || md5((g %% 300)::text), NULLIF(g %% 900, 0),
            'recipe-' || md5((g %% 900)::text), g %% 400, 'folder-' || md5((g %% 400)::text),
            %s + g * interval '1 minute', %s + (g + 60) * interval '1 minute', g %% 1000, g %% 900, g %% 800, g %% 700, %s
        FROM generate_series(1, %s) AS g""",
}


def fill_long_tables() -> None:
    """Fill every table of usage."""
    source: Source = SourceFactory(slug="a")
    SourceFactory(slug="b")
    with connection.cursor() as cursor:
        for table, sql in FILLED.items():
            # Rows of tests that were rolled back would stay in the way.
            cursor.execute(f"TRUNCATE usage_{table}")
            cursor.execute(sql, [source.pk, FIRST, FIRST, FIRST, ROWS])
            clean_pending_lists(f"{table}_search")
            analyze(f"usage_{table}")


A_JANUARY_DAY = {"from": "2026-01-02", "to": "2026-01-03"}
ENVIRONMENTS: list[dict[str, str]] = [
    {"record_id": "r77"},
    {"runner_id": "n7"},
    {"environment_class_id": "c7"},
    {"runner_id": "nobody"},
    {"project_id": "p7", "user_id": "u7"},
    {"runtime_seconds__gte": "3599", **A_JANUARY_DAY},
    {"runtime_seconds__gte": "1000000000", **A_JANUARY_DAY},
    {"created_at__gte": "2026-01-01T10:00:00Z"},
    {"created_at__gte": "2026-01-05"},
    {"created_at__lt": "2026-01-01T02:00:00Z", "to": "2026-01-01T04:00:00Z"},
    {"source": "a"},
    {"source": "b"},
    {"include_withdrawn": "true"},
]
RESOURCES: list[dict[str, str]] = [
    {"resource_name__contains": "abcde"},
    {"resource_name__contains": "équipe"},
    {"resource_name": "name-none"},
    {"region_id": "7"},
    {"billing_metric": "m7"},
    {"consumed_unit": "u7"},
    {"resource_type": "t7"},
    {"project_id": "7"},
    {"resource_id": "i7"},
    {"consumed_quantity__gte": "3599", **A_JANUARY_DAY},
    {"consumed_quantity__gte": "100000", **A_JANUARY_DAY},
    {"flavor": "f7"},
    {"flavor": "none"},
    {"details.last_size": "7"},
    {"tag": "team:t7"},
    {"tag": "team:nobody"},
    {"tag_key": "k7"},
    {"first_seen__gte": "2026-01-01", "from": "2026-01-03", "to": "2026-01-05"},
    {"from": "2026-01-03", "to": "2026-01-05"},
]
A_DAY = {"from": "2026-01-20", "to": "2026-01-21"}
RECIPES: list[dict[str, str]] = [
    {"workspace_name__contains": "abc"},
    {"recipe_name__contains": "abcd"},
    {"recipe_name__contains": "équipe"},
    {"folder_name__contains": "nothing-like-it"},
    {"external_id": "x7"},
    {"workspace_id": "7"},
    {"recipe_id": "7"},
    {"folder_id": "7"},
    {"deleted_recipes": "only"},
    {"deleted_recipes": "exclude"},
    {"task_count__gte": "999", **A_DAY},
    {"job_failed_count__gt": "798", **A_DAY},
    {"job_succeeded_count__lt": "1", **A_DAY},
    {"recipe_count__gte": "5000", **A_DAY},
]
SEARCHES = {"environment-usage": ENVIRONMENTS, "resource-usage": RESOURCES, "recipe-usage": RECIPES}
