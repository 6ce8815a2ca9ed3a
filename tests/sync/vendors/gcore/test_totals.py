"""A day of Gcore is compared with the vendor's own totals."""

from decimal import Context, Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.vendors.base import Comparison
from sync.vendors.gcore.mapping import build_keyless_row
from sync.vendors.gcore.totals import RowSums
from tests.support.gcore_reports import TOTAL, VOLUME
from usage.models import Verification

WIDE = Context(prec=200)


def compare_totals(*resources: dict[str, Any], totals: Any, count: int | None = None) -> Comparison:
    sums = RowSums(totals)
    for fields in resources:
        sums.add(build_keyless_row(fields), fields)
    return Comparison.from_differences(sums.find_differences(len(resources) if count is None else count, totals))


def test_a_total_that_is_not_the_sum_is_told_with_both_numbers():
    comparison = compare_totals(VOLUME, totals=[TOTAL | {"billing_value": Decimal("14400.5")}])
    assert comparison == Comparison(
        Verification.UNVERIFIED,
        [
            {
                "what": "total",
                "vendor": "14400.5",
                "portal": "14400",
                "type": "volume",
                "billing_metric_name": "volume_standard",
                "billing_value_unit": "gbminutes",
                "region_id": 76,
                "volume_type": "standard",
            }
        ],
    )


def test_a_type_that_should_have_totals_and_has_none_is_a_difference():
    assert [difference["vendor"] for difference in compare_totals(VOLUME, totals=[]).differences] == [None]


def test_backups_have_no_totals_and_are_none_the_worse():
    assert compare_totals(VOLUME | {"type": "backup"}, totals=[]).verification == Verification.VERIFIED


def test_inference_is_totalled_over_all_flavors():
    total = {name: value for name, value in TOTAL.items() if name != "volume_type"} | {
        "type": "inference",
        "billing_value": 28800,
    }
    rows = [VOLUME | {"type": "inference", "flavor": flavor} for flavor in ("a", "b")]
    assert compare_totals(*rows, totals=[total]).verification == Verification.VERIFIED


def test_an_unknown_type_is_compared_the_way_the_vendor_totals_it():
    models = [VOLUME | {"type": "tokens", "model": model} for model in ("a", "a", "b")]
    plain = {name: value for name, value in TOTAL.items() if name != "volume_type"} | {"type": "tokens"}
    totals = [plain | {"model": "a", "billing_value": 28800}, plain | {"model": "b"}]
    assert compare_totals(*models, totals=totals).verification == Verification.VERIFIED
    assert compare_totals(*models, totals=totals[:1]).verification == Verification.UNVERIFIED
    assert compare_totals(*models, totals=[]).verification == Verification.VERIFIED


def test_many_differences_are_counted_and_a_hundred_kept():
    totals = [TOTAL | {"volume_type": f"type-{number}"} for number in range(130)]
    comparison = compare_totals(totals=totals)
    assert len(comparison.differences) == 101
    assert comparison.differences[-1]["count"] == 30


QUANTITY = st.decimals(min_value=0, max_value=10**20, places=25, allow_nan=False)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(["volume", "instance", "inference", "backup", "tokens"]),
                "billing_value": QUANTITY | st.integers(0, 10**25),
                "region_id": st.integers(1, 3),
                "volume_type": st.sampled_from(["a", "b"]),
                "flavor": st.sampled_from(["a", "b"]),
            }
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_sums_agree_with_totals_made_by_plain_addition_and_notice_one_last_digit(
    resources: list[dict[str, Any]], is_changed: bool
):
    own = {"volume": "volume_type", "instance": "flavor", "tokens": "flavor"}
    totals: dict[tuple[Any, ...], list[Any]] = {}
    for fields in resources:
        if fields["type"] != "backup":
            name = own.get(fields["type"])
            group = (fields["type"], fields["region_id"], name, fields.get(name or ""))
            totals.setdefault(group, []).append(fields["billing_value"])
    listed_totals = [
        {
            "type": type_,
            "billing_metric_name": "metric",
            "billing_value": sum_plainly(values),
            "billing_value_unit": "unit",
            "region_id": region,
            **({name: value} if name else {}),
        }
        for (type_, region, name, value), values in totals.items()
    ]
    if is_changed and listed_totals:
        listed_totals[-1]["billing_value"] = sum_plainly([listed_totals[-1]["billing_value"], Decimal("1e-25")])
    rows = [{"billing_metric_name": "metric", "billing_value_unit": "unit", **fields} for fields in resources]
    assert len(compare_totals(*rows, totals=listed_totals).differences) == (1 if is_changed and listed_totals else 0)


def sum_plainly(values: list[Any]) -> Decimal:
    """Add up in whole numbers of 10^-25, without any Decimal arithmetic."""
    units = sum(int(Decimal(value).scaleb(25, context=WIDE)) for value in values)
    return Decimal(units).scaleb(-25, context=WIDE)
