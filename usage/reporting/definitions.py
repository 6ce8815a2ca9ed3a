"""The views of the schema `reporting`: records, what days add up to, the quality of days, and sources.

They are a promise to readers: add columns at the end, and neither rename, retype nor remove one. docs/reporting.md
lists them; a test compares.
"""

from collections.abc import Mapping
from typing import Final

from django.db.models.functions import Now

from usage.categories import CATEGORIES, OTHER
from usage.directory.lookup import NAMED_COLUMNS
from usage.models import (
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentUsage,
    NameKind,
    RecipeDay,
    RecipeUsage,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceUsage,
    SourceDay,
)
from usage.reporting.views import SCOPE, View, ViewColumn, bind, build_rows, column, name_column

CURRENT: Final = "\nWHERE t.withdrawn_at IS NULL"
ENVIRONMENT_NAMES: Final = NAMED_COLUMNS[EnvironmentUsage]
PROJECT_NAMES: Final = {"project_id": NameKind.PROJECT}
RESOURCE_NAMES: Final = NAMED_COLUMNS[ResourceUsage]
RECIPE_NAMES: Final = {"recipe_id": NameKind.RECIPE, "folder_id": NameKind.FOLDER}

SOURCE: Final = (
    column("source", "The source: one account at one vendor.", "scope.slug::text"),
    column("vendor", "The vendor of the source.", "scope.vendor::text"),
)
SOURCE_DAY: Final = (
    *SOURCE,
    column("day", "The calendar day in the time zone of the source; it lasts 23 to 25 hours."),
)
RECORD: Final = (
    *SOURCE_DAY,
    column("id", "The number of the record, as in the API."),
)
CHANGES: Final = (
    column("changed_at", "When the record was stored or last changed."),
    column("revision", "Grows by 1 whenever the record changes."),
)
TYPES: Final = {name: category for category, names in CATEGORIES.items() for name in names}
CATEGORY: Final = column(
    "category",
    "What the resource is for: `compute`, `storage`, `network`, `ai` or `other`.",
    "CASE t.resource_type "
    + " ".join(f"WHEN '{name}' THEN '{category}'" for name, category in TYPES.items())
    + f" ELSE '{OTHER}' END",
)
DELETED: Final = column(
    "deleted_recipes",
    "Whether the row stands for all recipes of the workspace that were deleted since.",
    "t.recipe_id IS NULL",
)
COUNTS: Final = (
    column("task_count", "Tasks; null where the vendor reported none."),
    column("job_succeeded_count", "Jobs that succeeded; null where the vendor reported none."),
    column("job_failed_count", "Jobs that failed; null where the vendor reported none."),
)
RECORDS: Final = column("records", "How many records the row adds up.")
RUNTIME_SUM: Final = (
    RECORDS,
    column("runtime_seconds", "Their runtime in seconds; null where no run has one."),
    column("records_without_runtime", "How many of the runs have none, as their begin is not known."),
)


def with_name(name: str, meaning: str, names: Mapping[str, NameKind]) -> tuple[ViewColumn, ViewColumn]:
    """Return a column of ids and that of their names."""
    return column(name, meaning), name_column(name, names[name])


PROJECT: Final = with_name("project_id", "The project; empty without one.", ENVIRONMENT_NAMES)
ENVIRONMENT_IDS: Final = (
    *PROJECT,
    *with_name("user_id", "The user.", ENVIRONMENT_NAMES),
    *with_name("runner_id", "The runner.", ENVIRONMENT_NAMES),
    *with_name("environment_class_id", "The class of the environment.", ENVIRONMENT_NAMES),
)
RESOURCE_IDS: Final = (
    *with_name("project_id", "The project; null without one.", RESOURCE_NAMES),
    *with_name("region_id", "The region; null without one.", RESOURCE_NAMES),
)
RESOURCE_METRIC: Final = (
    column("resource_type", "The type of the resource."),
    CATEGORY,
    column("billing_metric", "What of the resource was measured."),
    column("consumed_quantity", "How much was consumed, in `consumed_unit`, exactly."),
    column("consumed_unit", "The unit of the quantity. Add up only rows of one unit."),
)
WORKSPACE: Final = (
    column("workspace_id", "The workspace."),
    column("external_id", "The id that the workspace was given; empty without one."),
    column("workspace_name", "The name of the workspace at that time."),
)

RECORD_VIEWS: Final = (
    View(
        "environment_usage",
        "Runs of environments that have ended, one a row. Withdrawn ones are left out.",
        (
            *RECORD,
            column("record_id", "The id of the run at the vendor."),
            column("environment_id", "The environment."),
            *ENVIRONMENT_IDS,
            column("created_at", "When the run began; null where that is not known."),
            column("stopped_at", "When the run ended, on `day`."),
            column("runtime_seconds", "Its runtime in seconds, exactly; null where its begin is not known."),
            *CHANGES,
        ),
        build_rows(EnvironmentUsage, ENVIRONMENT_NAMES) + CURRENT,
    ),
    View(
        "resource_usage",
        "What one resource consumed of one metric on one day. Withdrawn records are left out.",
        (
            *RECORD,
            *RESOURCE_METRIC,
            *RESOURCE_IDS,
            column("resource_id", "The resource; empty without an id."),
            column("resource_name", "Its last known name."),
            column("first_seen", "When the vendor first saw the resource on the day."),
            column("last_seen", "When the vendor last saw the resource on the day."),
            column("details", "Fields of the type of the resource, such as `flavor`, as JSON."),
            column("tags", "The tags of the resource, as JSON: a key has a text, or a list where it is given twice."),
            *CHANGES,
        ),
        build_rows(ResourceUsage, RESOURCE_NAMES) + CURRENT,
    ),
    View(
        "recipe_usage",
        "One hour of one recipe. Withdrawn records are left out.",
        (
            *RECORD,
            *WORKSPACE,
            column("recipe_id", "The recipe; null for the deleted recipes of the workspace."),
            column("recipe_name", "The name of the recipe at that time."),
            DELETED,
            column("folder_id", "The folder of the recipe; null without one."),
            column("folder_name", "The name of the folder at that time."),
            column("starts_at", "When the hour begins."),
            column("ends_at", "When the hour ends."),
            *COUNTS,
            column("recipe_count", "How many recipes the row stands for: 1, or the deleted ones."),
            *CHANGES,
        ),
        build_rows(RecipeUsage) + CURRENT,
    ),
)
DAY_VIEWS: Final = (
    View(
        "environment_days",
        "Runs that ended on a day, by project.",
        (*SOURCE_DAY, *PROJECT, *RUNTIME_SUM),
        build_rows(EnvironmentDay, PROJECT_NAMES),
    ),
    View(
        "environment_accruals",
        "Runs that ended on `day`, split over the dates `accrued_on` on which they ran. Sum by either, never by both.",
        (
            *SOURCE_DAY,
            column("accrued_on", "The date on which the runtime fell, in the time zone of the source."),
            *ENVIRONMENT_IDS,
            column("records", "How many runs the row adds up: each counts on the date on which it ended alone."),
            *RUNTIME_SUM[1:],
        ),
        build_rows(EnvironmentAccrual, ENVIRONMENT_NAMES),
    ),
    View(
        "resource_days",
        "What was consumed on a day, by type, metric, unit, project and region.",
        (*SOURCE_DAY, *RESOURCE_METRIC, *RESOURCE_IDS, RECORDS),
        build_rows(ResourceDay, RESOURCE_NAMES),
    ),
    View(
        "recipe_days",
        "What recipes did on a day, by workspace, recipe and folder.",
        (
            *SOURCE_DAY,
            *WORKSPACE,
            *with_name("recipe_id", "The recipe; null for the deleted recipes of the workspace.", RECIPE_NAMES),
            DELETED,
            *with_name("folder_id", "The folder of the recipe; null without one.", RECIPE_NAMES),
            *COUNTS,
            RECORDS,
        ),
        build_rows(RecipeDay, RECIPE_NAMES),
    ),
)


def build_recipe_total(count: str, unit: str) -> str:
    """Return the SELECT of a count of recipes for the view of totals."""
    return f"""SELECT source_id, day, 'recipe-usage', '{count}', '{unit}', sum({count}), sum(records),
           sum(records_without_{count})
    FROM {RecipeWorkspaceDay._meta.db_table} GROUP BY source_id, day"""  # noqa: S608 (our own names)


TOTALS: Final = f"""{SCOPE}
JOIN (
    SELECT source_id, day, 'environment-usage', 'runtime_seconds', 'seconds', sum(runtime_seconds), sum(records),
           sum(records_without_runtime)
    FROM {EnvironmentDay._meta.db_table} GROUP BY source_id, day
    UNION ALL
    SELECT source_id, day, 'resource-usage', billing_metric, consumed_unit, sum(consumed_quantity), sum(records), 0
    FROM {ResourceDay._meta.db_table} GROUP BY source_id, day, billing_metric, consumed_unit
    UNION ALL
    {build_recipe_total("task_count", "tasks")}
    UNION ALL
    {build_recipe_total("job_succeeded_count", "jobs")}
    UNION ALL
    {build_recipe_total("job_failed_count", "jobs")}
) AS t (source_id, day, kind, metric, unit, quantity, records, records_without) ON t.source_id = scope.id"""  # noqa: S608 (our own names)
TOTAL_VIEW: Final = View(
    "daily_totals",
    "What a source used on a day, one row for each metric and unit. Rows of different units are never added.",
    (
        *SOURCE_DAY,
        column("kind", "`environment-usage`, `resource-usage` or `recipe-usage`."),
        column("metric", "What is added up: `runtime_seconds`, a billing metric, or one of the counts of recipes."),
        column("unit", "Its unit: `seconds`, that of the vendor, `tasks` or `jobs`."),
        column("quantity", "The sum, exactly; null where no record has a value."),
        column("records", "How many records the row adds up.", "t.records::bigint"),
        column(
            "records_without", "How many of them have no value, which the sum leaves out.", "t.records_without::bigint"
        ),
    ),
    TOTALS,
)
QUALITY: Final = (
    *SOURCE_DAY,
    column("starts_at", "When the day begins."),
    column("ends_at", "When the day ends."),
    column("status", "What is known of the day, in one word, such as `final`."),
    column("complete", "Whether the whole day was read after its end, and every record kept."),
    column("final", "Whether it was read for the last time: the vendor corrects it no more."),
    column(
        "verification",
        "`verified` or `unverified` by the vendor's own sums, `none` where it gives none.",
        "t.verification::text",
    ),
    column("loaded_at", "When the day was last read; null where it never was."),
    column("restated_at", "When it last came back different; null where it never did."),
    column("accepted_at", "When a person accepted what is wrong with it."),
    column("accepted_reason", "Why; empty where nobody did."),
    column("records", "How many records it has, withdrawn ones left out."),
    column("withdrawn", "How many records the vendor no longer reports."),
    column("rejected", "How many records could not be stored."),
    column("rolled_up", "Whether the views of days have it. A day without records needs no rows there."),
    column("pruned_at", "When its records were dropped; the views of days still have what they came to."),
)
SOURCES: Final = View(
    "sources",
    "The sources that the role may see.",
    (
        *SOURCE,
        column("time_zone", "The zone of its days.", "scope.time_zone::text"),
        column("first_day", "The first day that is to be stored.", "scope.backfill_from"),
        column("retired_after", "Its last day, where it is not used any more.", "scope.retired_after"),
        column("look_back_days", "How many days after its end a day is read again.", "scope.look_back_days"),
    ),
    SCOPE,
)


def build_views() -> tuple[View, ...]:
    """Return all views, in the order of docs/reporting.md."""
    quality = View(
        "data_quality", "How far a day can be trusted, one row for each day of a source.", QUALITY, build_days()
    )
    return (*RECORD_VIEWS, TOTAL_VIEW, *DAY_VIEWS, quality, SOURCES)


def build_days() -> str:
    """Return the days of the scope with their status as of the statement, which the ORM knows the rules of."""
    stored_columns = {column.name for column in QUALITY} & {field.name for field in SourceDay._meta.concrete_fields}
    days = SourceDay.objects.with_status(Now()).order_by().values("source_id", *sorted(stored_columns), "status")
    return f"{SCOPE}\nJOIN ({bind(*days.query.sql_with_params())}) AS t ON t.source_id = scope.id"
