"""Metrics: a dimension is one line, and a roll-up gives every measure that has SQL over its rows."""

from dataclasses import replace

import pytest

from tests.support.factories import EnvironmentUsageFactory
from usage.api.filters import EnvironmentUsageFilterSet
from usage.rollups import choose_rollup
from usage.summaries.metrics import METRICS, MetricSet, build_column_dimension
from usage.summaries.params import parse_params
from usage.summaries.result import summarize


@pytest.mark.django_db
def test_a_dimension_more_is_grouped_by_and_ordered_by() -> None:
    for number in range(3):
        EnvironmentUsageFactory(record_id=f"run-{number}")
    runs = METRICS["environment-usage"]
    metrics = replace(runs, dimensions=(*runs.dimensions, build_column_dimension("record_id")))
    filterset = EnvironmentUsageFilterSet({}, row_scope=None)

    assert filterset.is_valid()
    query = parse_params({"group_by": "record_id", "order_by": "-record_id"}, metrics, filterset)

    assert [row["record_id"] for row in summarize(query)["results"]] == ["run-2", "run-1", "run-0"]


@pytest.mark.parametrize("metrics", METRICS.values(), ids=METRICS)
def test_every_default_measure_is_read_from_a_rollup(metrics: MetricSet) -> None:
    for name in metrics.default_measures:
        measure = metrics.measures[name]
        assert measure.rollup_sql
        assert choose_rollup(metrics.kind, measure.rollup_columns) is not None
