"""Wrong or missing settings: every way to start the portal says what to set, and does not start."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from pytest_django import Settings

from portal import checks, database_checks
from portal.embedded import ServiceError
from portal.embedded.paths import DataFolder
from portal.environment import BASE_DIR, EnvironmentVariables, read_environment

EXAMPLE = (BASE_DIR / ".env.example").read_text()
GOOD = {
    "SECRET_KEY": "correct-horse-battery-staple-correct-horse-battery-staple",
    "PORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "DATABASE_URL": "postgres://portal@127.0.0.1:9/portal",
    "REDIS_URL": "redis://127.0.0.1:9/0",
}
# Each of these is one start: wrong values by variable, and the number of the check that reports them.
WRONG = [
    {
        ("SECRET_KEY", "short"): "portal.E002",
        ("SECRET_KEY_FALLBACKS", "short"): "portal.E002",
        ("DATABASE_URL", "mysql://root@127.0.0.1/portal"): "portal.E003",
        ("PORTAL_OWNER_DATABASE_URL", "postgres://owner@127.0.0.1:9/another"): "portal.E017",
        ("DATABASE_REPLICA_URL", "postgres://portal@127.0.0.1:10/another"): "portal.E019",
        ("PORTAL_REPLICA_LAG_SECONDS", "0"): "portal.E007",
        ("REDIS_URL", "memcached://127.0.0.1"): "portal.E004",
        ("PORTAL_ENCRYPTION_KEYS", "short"): "portal.E005",
        ("PORTAL_TICK_SECONDS", "a minute"): "portal.E001",
        ("PORTAL_HTTP_TIMEOUT_SECONDS", "long"): "portal.E001",
        ("PORTAL_HTTPS", "maybe"): "portal.E001",
        ("PORTAL_LOG_FORMAT", "xml"): "portal.E001",
        ("PORTAL_LOG_LEVEL", "chatty"): "portal.E001",
        ("PORTAL_LEASE_SECONDS", "0"): "portal.E007",
        ("PORTAL_DB_CONN_MAX_AGE", "-1"): "portal.E007",
        ("PORTAL_DB_POOL_SIZE", "2"): "portal.E014",
        ("PORTAL_ALLOWED_VENDOR_HOSTS", "https://api.example.com"): "portal.E008",
        ("PORTAL_CREDENTIAL_PREFIX", "PORTAL_"): "portal.E015",
        ("PORTAL_ALLOWED_WEBHOOK_HOSTS", "https://hooks.example.com"): "portal.E030",
        ("PORTAL_DEAD_MAN_URL", "http://hc.example.com/ping"): "portal.E031",
        ("PORTAL_URL", "usage.example.com"): "portal.E032",
        ("PORTAL_REPORT_DOMAINS", "cfo@example.com"): "portal.E034",
        ("PORTAL_REPORT_FILE_MB", "51"): "portal.E035",
        ("PORTAL_RESTATED_AMOUNTS", "minutes=some"): "portal.E033",
        ("PORTAL_RESTATED_SHARE", "0"): "portal.E007",
        ("PORTAL_SECOND_FACTOR", "everybody"): "portal.E001",
        ("PORTAL_OIDC_SECOND_FACTOR", "perhaps"): "portal.E001",
        ("PORTAL_SESSION_IDLE_MINUTES", "0"): "portal.E007",
        ("PORTAL_SESSION_HOURS", "721"): "portal.E016",
        ("PORTAL_INVITATION_HOURS", "721"): "portal.E016",
        ("PORTAL_OIDC_ISSUER", "http://login.example.com"): "portal.E010",
        ("PORTAL_OIDC_CLIENT_ID", ""): "portal.E011",
        ("PORTAL_OIDC_CLIENT_SECRET", ""): "portal.E011",
        ("PORTAL_OIDC_GROUPS", "staff=chief"): "portal.E012",
        ("PORTAL_EMAIL_URL", "mail.example.com"): "portal.E001",
        ("PORTAL_SENTRY_DSN", "sentry.example.com"): "portal.E018",
        ("PORTAL_TRACES_URL", "127.0.0.1:4318"): "portal.E021",
        ("PORTAL_LAKE_URL", "lake"): "portal.E036",
        ("PORTAL_LAKE_MINUTES", "0"): "portal.E007",
        ("PORTAL_LAKE_TAG_DAYS", "-1"): "portal.E007",
    },
    {
        ("SECRET_KEY", ""): "portal.E002",
        ("DATABASE_URL", "postgres://portal@host:port/portal"): "portal.E001",
        ("REDIS_URL", "sentinel://127.0.0.1:port/main"): "portal.E004",
        ("PORTAL_OWNER_DATABASE_URL", "postgres://owner@host:port/portal"): "portal.E001",
        ("PORTAL_ENCRYPTION_KEYS", ""): "portal.E005",
        ("PORTAL_HTTP_TIMEOUT_SECONDS", "-1"): "portal.E007",
        ("PORTAL_ALLOWED_VENDOR_HOSTS", "api.example.com:99999"): "portal.E008",
        ("PORTAL_CREDENTIAL_PREFIX", "KEY"): "portal.E015",
        ("PORTAL_DEAD_MAN_URL", "https://169.254.169.254/ping"): "portal.E031",
        ("PORTAL_LATE_HOURS", "some"): "portal.E001",
        ("PORTAL_RESTATED_SHARE", "5%"): "portal.E001",
        ("PORTAL_REPORT_FILE_MB", "nan"): "portal.E001",
        ("PORTAL_EXPORT_SECONDS", "31536000"): "portal.E007",
        ("PORTAL_SESSION_IDLE_MINUTES", "721"): "portal.E016",
        ("PORTAL_API_RATE", "many"): "portal.E009",
        ("PORTAL_API_FAILURES_RATE", "0/min"): "portal.E009",
        ("ALLOWED_HOSTS", "portal.example.com,*"): "portal.E013",  # mail is sent
        ("PORTAL_EMAIL_URL", "mail.example.com"): "portal.E001",
        ("PORTAL_EMAIL_FROM", "Usage portal"): "portal.E024",  # mail is sent
    },
    {
        ("DATABASE_URL", "postgres://portal@127.0.0.1:9"): "portal.E022",
        ("REDIS_URL", "redis://127.0.0.1:port/0"): "portal.E004",
        ("ALLOWED_HOSTS", "https://portal.example.com"): "portal.E013",
        ("PORTAL_OIDC_DOMAINS", "@example.com"): "portal.E023",
        ("PORTAL_LATE_HOURS", "99999999"): "portal.E007",
        ("PORTAL_SCRUB_DAYS", "3651"): "portal.E007",
        ("PORTAL_XLSX_MAX_ROWS", "1048576"): "portal.E007",
    },
    {
        ("DATABASE_URL", "postgres://portal@127.0.0.1:9/portal?sslmod=require"): "portal.E022",
        ("REDIS_URL", "redis://127.0.0.1/main"): "portal.E004",
        ("ALLOWED_HOSTS", "127.0.0.1,portal.example.com:443"): "portal.E013",
    },
]
# What may be left unset.
OPTIONAL = {
    "DATABASE_REPLICA_URL": "postgres://portal@127.0.0.1:10/portal",
    "PORTAL_OIDC_ISSUER": "https://login.example.com",
    "PORTAL_OIDC_CLIENT_ID": "portal",
    "PORTAL_OIDC_CLIENT_SECRET": "secret",
    "PORTAL_OIDC_DOMAINS": "example.com,sub.example.org",
    "PORTAL_REPORT_DOMAINS": "example.com,sub.example.org",
    "PORTAL_SENTRY_DSN": "https://key@sentry.example.com/1",
    "PORTAL_TRACES_URL": "http://127.0.0.1:4318/v1/traces",
}
CHECK = ["manage.py", "check"]
# `manage.py` starts servers where none is named.
STARTS = {
    "web": ["-m", "portal.web", "--port", "0"],
    "granian": ["-m", "granian", "--interface", "wsgi", "--port", "0", "--workers", "1", "portal.wsgi:application"],
    "worker": ["-m", "celery", "-A", "portal.celery", "worker", "--pool", "solo"],
    "beat": ["-m", "celery", "-A", "portal.celery", "beat"],
}


def run_process(arguments: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the portal with these variables, and no others that the portal reads."""
    removed_names = {*list_documented_variables(), "DATABASE_URL", "REDIS_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in removed_names}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"PORTAL_IGNORE_DOTENV": "1"} | variables,
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def list_documented_variables() -> set[str]:
    """Return the variables that .env.example names."""
    return set(re.findall(r"^#? ?([A-Z_]+)=", EXAMPLE, re.MULTILINE))


def read_by_code() -> set[str]:
    """Return the variables that the settings and the services read from the environment."""
    files = [*(BASE_DIR / "portal").glob("*.py"), *(BASE_DIR / "portal" / "embedded").glob("*.py")]
    calls = r'env\.(?:str|int|float|bool|list|choice|database|mail)\(\s*"([A-Z_]+)"'
    variables = r'variable = "([A-Z_]+)"'
    text = "\n".join(path.read_text() for path in files)
    return set(re.findall(calls, text)) | set(re.findall(variables, text))


@pytest.mark.parametrize("expected", WRONG)
def test_every_wrong_variable_is_named_at_once_with_what_to_set(expected: dict[tuple[str, str], str]) -> None:
    result = run_process(CHECK, **(GOOD | dict(expected.keys())))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    reports = re.findall(r"\((portal\.E\d+)\) ([A-Z_]+) .*\n\tHINT: .", result.stderr)
    assert sorted(reports) == sorted((number, name) for (name, _), number in expected.items())


@pytest.mark.parametrize("start", STARTS)
def test_no_process_starts_without_servers_or_on_wrong_settings(start: str) -> None:
    result = run_process(STARTS[start], SECRET_KEY=GOOD["SECRET_KEY"], PORTAL_ENCRYPTION_KEYS="no key")
    assert result.returncode != 0
    assert set(re.findall(r"\((portal\.E\d+)\) ([A-Z_]+) ", result.stderr)) >= {
        ("portal.E003", "DATABASE_URL"),
        ("portal.E004", "REDIS_URL"),
        ("portal.E005", "PORTAL_ENCRYPTION_KEYS"),
    }


@pytest.mark.parametrize("optional", [{}, OPTIONAL])
def test_good_settings_pass(optional: dict[str, str]) -> None:
    result = run_process(CHECK, **GOOD, **optional)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("setting", "module", "check", "number"),
    [
        ("PORTAL_SENTRY_DSN", "error_reports", checks.check_sentry, "portal.E018"),
        ("PORTAL_TRACES_URL", "traces", checks.check_traces, "portal.E021"),
    ],
)
def test_a_setting_whose_library_is_not_installed_is_named_with_the_extra(
    setting: str, module: str, check: Any, number: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"portal.{module}.find_spec", lambda _: None)
    assert list(check()) == []
    setattr(settings, setting, OPTIONAL[setting])
    (message,) = check()
    assert (message.id, message.msg) == (number, f"{setting} needs a library that is not installed.")
    assert "the extra `" in message.hint


def test_the_production_example_passes_the_deployment_check(capsys: pytest.CaptureFixture[str]) -> None:
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    call_command("new_key")
    keys = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert {name for name, value in example.items() if not value} == set(keys)
    result = run_process([*CHECK, "--deploy", "--fail-level", "WARNING"], **(example | keys))
    assert (result.returncode, result.stderr) == (0, "")
    assert "no issues (0 silenced)" in result.stdout


def test_the_example_names_every_variable_with_a_sentence() -> None:
    assert list_documented_variables() == read_by_code()
    for paragraph in EXAMPLE.strip().split("\n\n")[1:]:
        *sentences, variable = paragraph.splitlines()
        assert re.match(r"(# )?[A-Z_]+=", variable)
        assert " ".join(sentences).endswith(".")


def test_the_operations_page_has_every_variable_in_its_table() -> None:
    table = set(re.findall(r"^\| `([A-Z_]+)` \|", (BASE_DIR / "docs/operations.md").read_text(), re.MULTILINE))
    assert table == read_by_code()


@pytest.mark.django_db
def test_an_old_postgres_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(database_checks.check_postgres_version(["default"])) == []
    monkeypatch.setattr(database_checks, "OLDEST_POSTGRES", 99)
    [message] = database_checks.check_postgres_version(["default"])
    assert message.id == "portal.E006"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_TICK_SECONDS", " ")
    assert EnvironmentVariables().int("PORTAL_TICK_SECONDS", default=60) == 60


def test_the_file_of_variables_adds_those_that_are_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORTAL_TICK_SECONDS=30\nPORTAL_LATE_HOURS=7\n")
    monkeypatch.setattr("portal.environment.BASE_DIR", tmp_path)
    with patch.dict(os.environ, PORTAL_TICK_SECONDS="90", PORTAL_IGNORE_DOTENV="0"):
        os.environ.pop("PORTAL_LATE_HOURS", None)
        env = read_environment()
        assert [env.int(name) for name in ("PORTAL_TICK_SECONDS", "PORTAL_LATE_HOURS")] == [90, 7]


def test_spaces_around_the_items_of_a_list_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "portal.example.com, 127.0.0.1,")
    assert EnvironmentVariables().list("ALLOWED_HOSTS") == ["portal.example.com", "127.0.0.1"]


def test_a_value_that_begins_with_a_dollar_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_OIDC_CLIENT_SECRET", "$HOME-made")
    monkeypatch.setenv("PORTAL_TICK_SECONDS", "$PORTAL_POOL")
    env = EnvironmentVariables()
    assert env.str("PORTAL_OIDC_CLIENT_SECRET", default="") == "$HOME-made"
    assert (env.int("PORTAL_TICK_SECONDS", default=60), env.unreadable) == (
        60,
        {"PORTAL_TICK_SECONDS": "a whole number"},
    )


def test_numbers_are_read_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_HTTP_TIMEOUT_SECONDS", "1e2")
    assert EnvironmentVariables().float("PORTAL_HTTP_TIMEOUT_SECONDS") == 100


def test_without_servers_and_without_the_wheels_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.embedded.paths.find_spec", lambda name: None)
    with pytest.raises(ServiceError, match="set DATABASE_URL and REDIS_URL, or install"):
        _ = DataFolder(tmp_path).programs


def test_new_key_makes_keys_that_pass(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("new_key")
    keys = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert len(keys["SECRET_KEY"]) >= checks.SECRET_KEY_LENGTH
    assert checks.is_fernet_key(keys["PORTAL_ENCRYPTION_KEYS"])
