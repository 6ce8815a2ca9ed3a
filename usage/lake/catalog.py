"""The catalog in the portal's own PostgreSQL, and the tables: one for each kind of usage, and `days`.

The tables of usage have the schema of the Parquet export. What it gains later is added to them; days that were
published before have nulls there.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from django.conf import settings
from django.db import connections
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.update.spec import UpdateSpec
from sqlalchemy import URL, create_engine

from usage.api.serializers import RECORD_SERIALIZERS
from usage.columns import Column, get_columns
from usage.exports.formats.parquet import build_schema, split_numbers
from usage.lake.storage import LakeFileIO, check_properties, get_account
from usage.models import KIND_NAMES, KINDS, UsageRecord

# It logs every table that it loads.
logging.getLogger("pyiceberg.io").setLevel(logging.WARNING)
CATALOG: Final = "lake"
NAMESPACE: Final = "usage"
DAYS: Final = "days"
INSTANT: Final = pa.timestamp("us", "UTC")
DAYS_SCHEMA: Final = pa.schema(
    [
        ("source", pa.string()),
        ("day", pa.date32()),
        ("kind", pa.string()),
        ("starts_at", INSTANT),
        ("ends_at", INSTANT),
        ("complete", pa.bool_()),
        ("final", pa.bool_()),
        ("verification", pa.string()),
        ("accepted", pa.bool_()),
        ("suspect", pa.bool_()),
        ("mismatched", pa.bool_()),
        ("records", pa.int64()),
        ("withdrawn", pa.int64()),
        ("rejected", pa.int64()),
        ("sums", pa.string()),
        ("stored_digest", pa.string()),
        ("loaded_at", INSTANT),
        ("restated_at", INSTANT),
        ("finalized_at", INSTANT),
        ("digest", pa.string()),
        ("revision", pa.int64()),
        ("published_at", INSTANT),
    ]
)
PROPERTIES: Final = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # A publisher that lost its lock must not win the next round: its commit fails, and a later one compares again.
    "commit.retry.num-retries": "0",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # Bounds of ids help no reader; without them metadata has a fifth of the size.
    "write.metadata.metrics.default": "none",
    **{
        f"write.metadata.metrics.column.{column}": "full"
        for column in ("source", "day", *sorted({kind.instant for kind in KINDS.values()}))
    },
}


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables, loaded; `usage` by kind."""

    days: Table
    usage: dict[type[UsageRecord], Table]

    @property
    def tables(self) -> list[Table]:
        return [*self.usage.values(), self.days]


def get_table_name(kind: type[UsageRecord]) -> str:
    """Return e.g. `environment_usage`."""
    return KIND_NAMES[kind].replace("-", "_")


def get_lake_columns(kind: type[UsageRecord]) -> list[Column]:
    """Return the columns of a table of usage: those of the Parquet export, which have ids and no names of people."""
    return list(split_numbers(get_columns(RECORD_SERIALIZERS[kind])))


@contextmanager
def open_lake() -> Iterator[Lake]:
    """Give the tables as they are now, made where they are missing."""
    with open_catalog() as catalog:
        yield load_lake(catalog)


@contextmanager
def open_catalog() -> Iterator[SqlCatalog]:
    """Give the catalog, with the namespace of the tables."""
    catalog = connect_catalog()
    try:
        catalog.create_namespace_if_not_exists(NAMESPACE)
        yield catalog
    finally:
        catalog.close()


def load_lake(catalog: SqlCatalog) -> Lake:
    """Return the tables as they are now, made where they are missing."""
    usage = {
        kind: ensure_table(catalog, get_table_name(kind), build_schema(get_lake_columns(kind)), by_source=True)
        for kind in KINDS.values()
    }
    return Lake(ensure_table(catalog, DAYS, DAYS_SCHEMA, by_source=False), usage)


def connect_catalog() -> SqlCatalog:
    """Return the catalog; nothing outlives its transaction on a connection, so that a pooler may stand in front.

    Properties of the file system come from the environment as well: PYICEBERG_CATALOG__LAKE__S3__ENDPOINT and the like.
    Raises LakeUnavailable for credentials that are no use.
    """
    url = build_catalog_url()
    catalog = load_catalog(
        CATALOG,
        **{
            "type": "sql",
            "uri": url.render_as_string(hide_password=False),
            "warehouse": settings.PORTAL_LAKE_URL.rstrip("/"),
            "py-io-impl": f"{LakeFileIO.__module__}.{LakeFileIO.__name__}",
            **get_account(settings.PORTAL_LAKE_URL),
        },
    )
    assert isinstance(catalog, SqlCatalog)  # noqa: S101
    check_properties(catalog.properties)
    catalog.engine.dispose()
    catalog.engine = create_engine(url, connect_args={"prepare_threshold": None})
    return catalog


def build_catalog_url() -> URL:
    """Return the address of the portal's database for SQLAlchemy."""
    params: dict[str, Any] = connections["default"].get_connection_params()
    dsn_params = {"user", "password", "host", "port", "dbname"}
    query = {
        name: str(value) for name, value in params.items() if name not in dsn_params and isinstance(value, str | int)
    }
    if params.get("host"):
        query["host"] = str(params["host"])  # also the folder of a socket
    if params.get("port"):
        query["port"] = str(params["port"])
    return URL.create(
        "postgresql+psycopg",
        username=params.get("user"),
        password=params.get("password"),
        database=params.get("dbname"),
        query=query,
    )


def ensure_table(catalog: SqlCatalog, name: str, schema: pa.Schema, *, by_source: bool) -> Table:
    """Return a table, made or widened where it is needed; partitioned by month of `day`, and by source before."""
    identifier = (NAMESPACE, name)
    try:
        table = catalog.load_table(identifier)
    except NoSuchTableError:
        creation = catalog.create_table_transaction(identifier, schema, properties=PROPERTIES)
        with creation, creation.update_spec() as spec:
            partition(spec, by_source=by_source)
        table = catalog.load_table(identifier)
    if set(schema.names) - set(table.schema().column_names):
        with table.update_schema() as update:
            update.union_by_name(schema)
    return table


def partition(spec: UpdateSpec, *, by_source: bool) -> None:
    """Add the fields that a table is partitioned by."""
    if by_source:
        spec.add_identity("source")
    spec.add_field("day", "month", "day_month")


def add_field_ids(table: Table, schema: pa.Schema) -> pa.Schema:
    """Return an Arrow schema with the ids by which Iceberg knows the columns of a file."""
    ids = {name: table.schema().find_field(name).field_id for name in schema.names}
    return pa.schema([field.with_metadata({b"PARQUET:field_id": str(ids[field.name])}) for field in schema])
