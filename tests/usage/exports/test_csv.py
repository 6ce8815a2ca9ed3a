"""CSV is safe to open in a spreadsheet, and has a byte order mark on request."""

import json
from codecs import BOM_UTF8

import pytest
from django.test import Client

from tests.support.api_clients import API, get_problem_details
from tests.support.api_clients import client as client
from tests.support.exports import download, parse_csv, stream
from tests.support.factories import EnvironmentUsageFactory
from usage.models import EnvironmentUsage

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


STARTS = ["=", "+", "-", "@", "\t", "\r"]
# What a spreadsheet may take for one of these signs, or leave out before it.
DISGUISED = [
    "＝",
    "＋",
    "－",
    "＠",
    " =",
    "\u00a0=",
    "\ufeff=",
    "\n=",
    "\r\n=",
    " \n\ufeff ＝",
    "\u3000@",
    "\u200b+",
    "\x01-",
]


@pytest.mark.parametrize("start", [*STARTS, *DISGUISED])
def test_text_that_a_spreadsheet_would_run_is_neutralised(client: Client, start: str) -> None:
    EnvironmentUsageFactory(user_id=f"{start}cmd|' /C calc'!A0", project_id=f"x{start}y", extra={"k": f"{start}1"})
    (row,) = parse_csv(download(client, "environment-usage", format="csv"))
    assert row["user_id"] == f"'{start}cmd|' /C calc'!A0"
    assert row["project_id"] == f"x{start}y"
    assert json.loads(row["extra"]) == {"k": f"{start}1"}
    (line,) = download(client, "environment-usage", format="ndjson").splitlines()
    assert json.loads(line)["user_id"] == f"{start}cmd|' /C calc'!A0"


@pytest.mark.parametrize("start", STARTS)
def test_a_formula_in_the_first_column_is_neutralised_and_what_is_empty_or_missing_stays_so(
    client: Client, start: str
) -> None:
    EnvironmentUsageFactory(user_id=f'{start}1,"a"\n{start}2', runner_id="", created_at=None)
    EnvironmentUsageFactory(user_id=f"{start}1", runner_id="r", created_at=None)
    body = download(
        client, "environment-usage", format="csv", fields="user_id,runner_id,created_at", ordering="stopped_at"
    )
    quote = b'"' if start == "\r" else b""
    first = f'"\'{start}1,""a""\n{start}2","",'.encode()
    assert body == b"\r\n".join(
        [b"user_id,runner_id,created_at", first, quote + f"'{start}1".encode() + quote + b",r,", b""]
    )


@pytest.mark.parametrize("text", ["é=1", "a =1", "＃=1", "「=1", "\u2014=1", "'=1", " a", "\ufeffa", "\n"])
def test_text_that_no_spreadsheet_would_run_stays_as_it_is(client: Client, text: str) -> None:
    EnvironmentUsageFactory(user_id=text, project_id="-1")
    (row,) = parse_csv(download(client, "environment-usage", format="csv"))
    assert (row["user_id"], row["project_id"]) == (text, "'-1")


def test_a_byte_order_mark_is_there_where_it_is_asked_for_and_in_csv_only(client: Client) -> None:
    EnvironmentUsageFactory(user_id="Zoë")
    content = download(client, "environment-usage", format="csv")
    assert download(client, "environment-usage", format="csv", bom="1") == BOM_UTF8 + content
    assert download(client, "environment-usage", format="csv", bom="0") == content
    errors = get_problem_details(client.get(f"{API}/environment-usage/", {"format": "csv", "bom": "yes"}))
    assert errors["bom"] == ["“yes” is not one of: 0, 1."]
    for form in ("ndjson", "json"):
        errors = get_problem_details(client.get(f"{API}/environment-usage/", {"format": form, "bom": "1"}))
        assert errors["bom"] == ["Only of format=csv."]


def test_json_that_is_no_object_begins_no_formula_either() -> None:
    for value in (-1, "=1+1", "+1", "@a", "\ta", "\ra", [-1]):
        record = EnvironmentUsageFactory(extra=value)
        (row,) = parse_csv(b"".join(stream(EnvironmentUsage.objects.filter(pk=record.pk), "csv")))
        assert json.loads(row["extra"]) == value
        # A number is left alone as every number is; all else begins with a sign of JSON's own.
        assert row["extra"][0] in {'"', "["} or row["extra"] == "-1"
