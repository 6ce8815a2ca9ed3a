"""The limits of texts: the most that the indexes take, as PostgreSQL itself says."""

import random
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, models, transaction

from sync.vendors.decoding import PAYLOAD_BYTES
from sync.vendors.gcore import schema as gcore
from sync.vendors.large_records import MAX_FIELDS, MAX_UNCUT_BYTES, RECORD_BYTES
from sync.vendors.ona import mapping as ona
from sync.vendors.record_limits import DEPTH, DIGITS, JSON_BYTES, NAME_BYTES, TAGS_KEPT
from sync.vendors.workato import schema as workato
from tests.support.factories import SourceFactory
from usage.limits import get_text_limits, list_index_limits
from usage.models import (
    KINDS,
    EnvironmentUsage,
    RecipeUsage,
    ResourceUsage,
    Rollup,
    UsageRecord,
)

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
VALUES = {
    "DateField": NOON.date(),
    "DateTimeField": NOON,
    "BigIntegerField": 7,
    "TextField": "",
    "DecimalField": Decimal(1),
    "NumericField": Decimal(1),
}
MODELS = [*KINDS.values(), *Rollup.__subclasses__()]
INDEXES = [
    pytest.param(model, index, id=index.name)
    for model in MODELS
    for index in (*model._meta.indexes, *model._meta.constraints)
    if isinstance(index, models.Index | models.UniqueConstraint) and list_index_limits(model, index)
]
TABLE = Path(__file__).parents[2] / "docs/vendors/limits.md"


def make_text(size: int) -> str:
    """Return text of `size` bytes that PostgreSQL cannot compress."""
    return "".join(map(chr, random.Random(7).choices(range(33, 127), k=size)))


def insert(model: type[models.Model], **texts: str) -> None:
    """Insert a row with these texts and something plain in every other column."""
    values: dict[str, Any] = {"source": SourceFactory(slug=f"source-{uuid4()}")}
    for field in model._meta.concrete_fields:
        if field.primary_key or field.generated or field.name in values:
            continue
        if field.name == "resource_key":
            values[field.name] = uuid4()
        elif field.name == "ends_at":
            values[field.name] = NOON.replace(hour=13)
        elif field.name in texts:
            values[field.name] = texts[field.name]
        elif not field.has_default() or field.get_internal_type() == "TextField":
            values[field.name] = VALUES.get(type(field).__name__, VALUES.get(field.get_internal_type()))
    if model is ResourceUsage and not values.get("resource_type"):
        values["resource_type"] = "volume"
    values |= {name: None for name in ("withdrawn_at", "first_seen", "last_seen", "created_at") if name in values}
    for name in ("first_seen_at", "changed_at"):
        values.pop(name, None)
    with transaction.atomic():
        model.objects.create(**values)  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.parametrize(("model", "index"), INDEXES)
def test_an_index_takes_texts_at_the_limit_and_refuses_them_one_byte_above(
    model: type[models.Model], index: models.Index | models.UniqueConstraint
) -> None:
    limits = list_index_limits(model, index)
    # Another index of the table may hold the same text with less room.
    least = {name: min(limit, get_limit_in_table(model, name)) for name, limit in limits.items()}
    insert(model, **{name: make_text(limit) for name, limit in least.items()})
    with pytest.raises(OperationalError, match=r"index row size \d+ exceeds"):
        insert(model, **{name: make_text(limit + 1) for name, limit in limits.items()})


def get_limit_in_table(model: type[models.Model], name: str) -> int:
    indexes = (*model._meta.indexes, *model._meta.constraints)
    named_indexes = [index for index in indexes if isinstance(index, models.Index | models.UniqueConstraint)]
    return min(limits[name] for index in named_indexes if name in (limits := list_index_limits(model, index)))


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS.values())
def test_every_table_of_a_kind_takes_all_texts_at_their_limits_at_once(kind: type[UsageRecord]) -> None:
    limits = get_text_limits(kind)
    for model in (kind, *(rollup for rollup in Rollup.__subclasses__() if rollup.kind is kind)):
        names = {field.name for field in model._meta.concrete_fields}
        insert(model, **{name: make_text(limit) for name, limit in limits.items() if name in names})


def test_the_table_of_the_documentation_says_what_the_indexes_say() -> None:
    rows = [
        tuple(cell.strip(" `") for cell in line.strip("|").split("|"))
        for line in TABLE.read_text().splitlines()
        if re.match(r"\| (Ona|Gcore|Workato) \|", line)
    ]
    expected = []
    for vendor, kind, ids, names in (
        ("Ona", EnvironmentUsage, ona.COLUMNS, {}),
        ("Gcore", ResourceUsage, gcore.IDS, gcore.NAMES),
        ("Workato", RecipeUsage, workato.IDS, workato.NAMES),
    ):
        limits = get_text_limits(kind)
        expected += [(vendor, name, column, f"{limits[column]:,}", "rejected") for name, column in ids.items()]
        expected += [(vendor, name, column, f"{NAME_BYTES:,}", "cut") for name, column in names.items()]
        assert all(limits.get(column, NAME_BYTES) >= NAME_BYTES for column in names.values())
        assert limits.keys() <= {*ids.values(), *names.values()}
    assert rows == expected


def test_the_other_limits_of_the_documentation_are_those_of_the_code() -> None:
    numbers = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", TABLE.read_text())}
    assert {
        TAGS_KEPT,
        NAME_BYTES,
        JSON_BYTES,
        RECORD_BYTES,
        MAX_FIELDS,
        MAX_UNCUT_BYTES,
        DEPTH,
        DIGITS,
        PAYLOAD_BYTES,
    } <= numbers
