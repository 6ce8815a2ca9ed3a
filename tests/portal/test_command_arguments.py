"""Commands refuse an argument that makes no sense before they do anything, and say what is allowed."""

import pytest
from django.core.management import CommandError, call_command

from portal.web import build_parser

FROM_1 = "is not a whole number from 1 to"
WRONG = {
    "sync --from yesterday": "--from: “yesterday” is not a date; give one such as 2026-11-01",
    "sync --to 2026-11-31": "--to: “2026-11-31” is not a date",
    "sync --workers -1": f"--workers: “-1” {FROM_1} 100",
    "verify --from 20261101": "--from: “20261101” is not a date",
    "verify --from 2026-11-02 --to 2026-11-01": "--to: 2026-11-01 must lie after --from 2026-11-02",
    "verify --from 2026-11-01 --to 2026-11-01": "it is the day after the last",
    "add_source a ona --credential-env PORTAL_VENDOR_A --backfill-from now": "--backfill-from: “now” is not a date",
    "sandbox --port 65536": "--port: “65536” is not a whole number from 0 to 65535",
    "sandbox --days 0": f"--days: “0” {FROM_1} 500000",
    "sandbox --requests-per-minute 0": f"--requests-per-minute: “0” {FROM_1}",
    "sandbox --scale nan": "--scale: “nan” is not a number from 0 to 1000",
    "sandbox --latency-ms -1": "--latency-ms: “-1” is not a number from 0 to 600000",
    "up --port 0": f"--port: “0” {FROM_1} 65535",
    "create_reporting_role bi --seconds 0": f"--seconds: “0” {FROM_1}",
    "create_reporting_role bi --connections many": f"--connections: “many” {FROM_1}",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_argument_is_refused_by_name_with_what_is_allowed(line: str) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command(*line.split())
    assert WRONG[line] in str(refusal.value)


@pytest.mark.parametrize("arguments", ["--port 65536", "--workers 0", "--threads -1"])
def test_the_web_server_refuses_a_wrong_argument_by_name(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, value = arguments.split()
    with pytest.raises(SystemExit):
        build_parser().parse_args([name, value])
    assert f"argument {name}: “{value}” is not a whole number from" in capsys.readouterr().err
