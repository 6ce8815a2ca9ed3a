"""The sandbox server: faults on demand, a real rate limit, counts, control while it runs, and its command."""

import os
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command

from sync.sandbox.faults import DAY_FAULTS, Faults, FaultsOf, parsed
from sync.sandbox.process import GREETING, SandboxProcess
from sync.sandbox.server import SandboxServer
from sync.sandbox.stats import RateLimit
from sync.sandbox.upstream import ELSEWHERE, NOT_WHAT_WAS_PROMISED, sandboxes
from sync.sandbox.world import PLAIN, Edit, World
from sync.vendors import readers
from sync.vendors.ona.sandbox import LIST

ROOT = Path(__file__).resolve().parent.parent
DAY = {"dateRange": {"startTime": "2026-11-10T00:00:00Z", "endTime": "2026-11-11T00:00:00Z"}}
BODY = {"filter": DAY, "pagination": {"pageSize": 100}}
HEADERS = {"Authorization": "Bearer sandbox-key"}


@pytest.fixture(autouse=True)
def _clock(sandbox: SandboxServer) -> None:
    sandbox.world.set_clock(datetime(2026, 11, 18, 15, tzinfo=UTC))


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sandbox.url, headers=HEADERS, timeout=10) as client:
        yield client


def ask(client: httpx2.Client) -> httpx2.Response:
    return client.post(f"/ona{LIST}", json=BODY)


# Serving.


def test_every_vendor_has_a_stand_in(sandbox: SandboxServer):
    assert set(sandboxes()) == set(readers())
    assert set(sandbox.upstream.vendors) == set(readers())


def test_it_listens_on_loopback_only(sandbox: SandboxServer):
    addresses = socket.getaddrinfo(socket.gethostname(), sandbox.port, family=socket.AF_INET)
    others = {address[4][0] for address in addresses if not str(address[4][0]).startswith("127.")}
    for address in others:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((str(address), sandbox.port), timeout=5)
    assert sandbox.url.startswith("http://127.0.0.1:")


def test_a_vendor_that_does_not_exist_is_not_found(client: httpx2.Client):
    assert client.get("/nobody/at/all").status_code == 404


def test_answers_are_compressed_only_where_both_sides_want_it(sandbox: SandboxServer, client: httpx2.Client):
    plain = ask(client)
    sandbox.settings.compress = True
    packed = ask(client)
    refused = client.post(f"/ona{LIST}", json=BODY, headers={"Accept-Encoding": "identity"})
    assert [answer.headers.get("content-encoding") for answer in (plain, packed, refused)] == [None, "gzip", None]
    assert plain.content == packed.content == refused.content


def test_a_taken_port_is_an_error(sandbox: SandboxServer):
    with pytest.raises(OSError, match="in use"):
        SandboxServer(port=sandbox.port).start()


# Faults of requests.


def test_a_connection_can_be_reset(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("reset", times=4)
    for _ in range(4):
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
            ask(client)
    assert ask(client).status_code == 200
    assert sandbox.stats.count(status=0) == 4


def test_an_answer_can_be_shorter_than_it_promises(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("truncated")
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending complete message body"):
        ask(client)


def test_a_request_can_hang_until_the_client_leaves(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("hang")
    with pytest.raises(httpx2.ReadTimeout):
        client.post(f"/ona{LIST}", json=BODY, timeout=0.2)
    assert ask(client).status_code == 200
    assert sandbox.stats.now["ona"] == 0


def test_a_hanging_request_ends_by_itself(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.hang_seconds = 0.1
    sandbox.faults.next("hang")
    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        ask(client)


def test_too_many_requests_say_when_to_come_back_in_seconds_or_as_a_date(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("rate_limited", times=12)
    answers = [ask(client) for _ in range(12)]
    waits = [answer.headers["retry-after"] for answer in answers]
    dates = [parsedate_to_datetime(wait) for wait in waits if wait != "1"]
    assert {answer.status_code for answer in answers} == {429}
    assert {answer.json()["code"] for answer in answers} == {"resource_exhausted"}
    assert 0 < len(dates) < 12
    assert all(timedelta(0) <= at - datetime.now(UTC) < timedelta(seconds=3) for at in dates[-1:])


def test_a_vendor_can_be_unavailable_in_its_own_words_or_in_its_gateways(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("unavailable", times=20)
    answers = {answer.status_code: answer for answer in (ask(client) for _ in range(20))}
    assert set(answers) == {500, 502, 503}
    assert answers[502].headers["content-type"].startswith("text/html")
    assert (answers[500].json()["code"], answers[503].json()["code"]) == ("internal", "unavailable")


@pytest.mark.parametrize("vendor", sorted(readers()))
def test_every_vendor_refuses_in_its_own_shape(sandbox: SandboxServer, client: httpx2.Client, vendor: str):
    for fault, status in (("unauthorized", 401), ("forbidden", 403), ("rate_limited", 429)):
        sandbox.faults.next(f"{vendor}.{fault}")
        answer = client.post(f"/{vendor}/")
        assert answer.status_code == status
        assert isinstance(answer.json(), dict)


def test_an_answer_can_be_something_else_altogether(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("wrong_json", times=30)
    bodies = {ask(client).raise_for_status().content for _ in range(30)}
    assert bodies == set(NOT_WHAT_WAS_PROMISED)


def test_a_request_can_be_sent_to_another_host(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("redirect")
    answer = ask(client)
    assert (answer.status_code, answer.headers["location"]) == (307, ELSEWHERE)


def test_an_answer_can_be_endless(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("huge")
    read = 0
    with client.stream("POST", f"/ona{LIST}", json=BODY) as answer:
        for chunk in answer.iter_raw():
            read += len(chunk)
            if read > 8_000_000:
                break
    assert ask(client).status_code == 200


def test_a_small_answer_can_unpack_to_a_very_large_one(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("gzip_bomb")
    with client.stream("POST", f"/ona{LIST}", json=BODY) as answer:
        packed = b"".join(answer.iter_raw())
    unpacker, unpacked, rest = zlib.decompressobj(wbits=31), 0, packed
    while not unpacker.eof:
        unpacked += len(unpacker.decompress(rest, 1_000_000))
        rest = unpacker.unconsumed_tail
    assert (len(packed) < 1_000_000, unpacked) == (True, 128 * 2**20)


def test_a_fault_can_be_for_one_vendor_only(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.set("gcore.unauthorized")
    assert ask(client).status_code == 200
    assert client.post("/gcore/cloud/v1/usage_report").status_code == 401


def test_faults_strike_in_their_share_of_requests_and_the_same_ones_every_time(sandbox: SandboxServer):
    def struck(seed: int) -> list[str]:
        faults = Faults(World(seed=seed, faults={"ona.reset": 0.2, "unavailable": 0.1}))
        return [faults.of_request("ona") for _ in range(1000)]

    counts = Counter(struck(1))
    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 150 < counts["reset"] < 250
    assert 50 < counts["unavailable"] < 130


def test_an_arranged_fault_strikes_as_often_as_arranged_and_no_more(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.faults.next("forbidden", times=2, after=1)
    assert [ask(client).status_code for _ in range(5)] == [200, 403, 403, 200, 200]


def test_a_content_fault_strikes_only_where_it_is_set():
    world = World()
    faults = Faults(world)
    of_ona = FaultsOf(faults, "ona")
    assert not of_ona.hit("duplicate")
    faults.set("ona.duplicate")
    assert of_ona.hit("duplicate")
    assert not FaultsOf(faults, "gcore").hit("duplicate")
    faults.clear()
    assert not of_ona.hit("duplicate")


def test_an_unknown_fault_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Unknown fault 'fire'; known are .*rate_limited"):
        Faults(World()).set("fire")
    with pytest.raises(ValueError, match="fault of a day"):
        Faults(World()).next("restated")


@pytest.mark.parametrize("text", ["reset=2", "reset=-0.1", "reset=often", "fire=1", "reset=nan"])
def test_a_fault_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(ValueError, match=text.partition("=")[0]):
        parsed(text)


def test_a_fault_without_a_probability_always_strikes():
    assert parsed("ona.reset") == ("ona.reset", 1.0)
    assert parsed("reset=0.25") == ("reset", 0.25)


# Days that change.


@pytest.mark.parametrize("fault", sorted(DAY_FAULTS))
def test_a_share_of_past_days_changes_some_hours_after_its_end(fault: str):
    now = datetime(2026, 11, 18, tzinfo=UTC)
    world = World(days=400, faults={fault: 0.2})
    days = [date(2026, 1, 1) + timedelta(days=i) for i in range(300)]
    world.set_clock(now)
    changed = [day for day in days if world.edit("ona", day) != PLAIN]
    assert 30 < len(changed) < 90
    for day in changed:
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        world.set_clock(end + timedelta(hours=2))
        assert world.edit("ona", day) == PLAIN
        world.set_clock(end + timedelta(hours=49))
        assert world.edit("ona", day) != PLAIN


def test_an_arranged_edit_goes_before_chance():
    world = World(faults={"emptied": 1.0})
    day = world.first_day
    assert world.edit("ona", day) == Edit(emptied=True)
    world.edits["ona", day] = PLAIN
    assert world.edit("ona", day) == PLAIN


# The rate limit and the counts.


def test_a_credential_gets_no_more_requests_a_minute_than_allowed(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.requests_per_minute = 3
    answers = [ask(client) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert client.post(f"/ona{LIST}", headers={"Authorization": "Bearer other"}).status_code != 429
    assert client.post("/gcore/cloud/v1/usage_report", json={}).status_code != 429
    sandbox.settings.requests_per_minute = None
    assert ask(client).status_code == 200


def test_the_rate_limit_slides():
    limit = RateLimit(2)
    assert [limit.wait("ona", "key", at) for at in (0.0, 30.0, 59.0, 60.0, 61.0, 90.5)] == [0, 0, 1, 0, 29, 0]


def test_what_was_asked_can_be_looked_up(sandbox: SandboxServer, client: httpx2.Client):
    ask(client)
    sandbox.faults.next("forbidden")
    ask(client)
    first, second = sandbox.stats.requests
    assert (first.vendor, first.method, first.path, first.status, first.fault) == ("ona", "POST", LIST, 200, "")
    assert (second.status, second.fault) == (403, "forbidden")
    assert b"dateRange" in first.body
    assert first.user_agent.startswith("python-httpx")
    assert first.at <= second.at
    assert (sandbox.stats.count(), sandbox.stats.count("ona", 200), sandbox.stats.count("gcore")) == (2, 1, 0)
    sandbox.stats.reset()
    assert sandbox.stats.count() == 0


def test_the_most_requests_at_once_are_counted(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.settings.latency_ms = 300
    threads = [threading.Thread(target=ask, args=(client,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sandbox.stats.most == {"ona": 4}
    sandbox.settings.latency_ms = 0
    sandbox.stats.reset()
    ask(client)
    assert sandbox.stats.most == {"ona": 1}


# Control.


def control(client: httpx2.Client, path: str, body: Any = None) -> Any:
    answer = client.post(f"/_sandbox/{path}", json=body or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_everything_can_be_changed_over_http_while_it_runs(sandbox: SandboxServer, client: httpx2.Client):
    control(client, "faults", {"ona.forbidden": 1})
    assert ask(client).status_code == 403
    control(client, "faults/clear")
    control(client, "faults/next", {"name": "unauthorized", "times": 1})
    assert [ask(client).status_code for _ in range(2)] == [401, 200]
    control(client, "edits", {"vendor": "ona", "day": "2026-11-10", "emptied": True})
    assert ask(client).json()["records"] == []
    control(client, "edits/clear")
    control(client, "now", {"now": "2026-11-10T00:00:00Z"})
    assert ask(client).json()["records"] == []
    assert control(client, "now", {"advance_seconds": 86400})["now"] == "2026-11-11T00:00:00Z"
    assert len(ask(client).json()["records"]) == 100
    control(client, "settings", {"requests_per_minute": 1, "latency_ms": 1})
    assert ask(client).status_code == 200
    assert ask(client).status_code == 429
    control(client, "settings", {"requests_per_minute": None})
    control(client, "credential", {"credential": "new"})
    assert ask(client).status_code == 401


def test_what_it_saw_and_how_it_is_set_can_be_read_over_http(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.world.edits["ona", date(2026, 11, 3)] = Edit(late=0.5)
    ask(client)
    stats = client.get("/_sandbox/stats").json()
    assert stats["by_status"] == [{"vendor": "ona", "path": LIST, "status": 200, "count": 1}]
    assert stats["max_concurrent"] == {"ona": 1}
    overview = client.get("/_sandbox/").json()
    assert overview["vendors"] == sorted(readers())
    assert overview["now"] == "2026-11-18T15:00:00Z"
    assert overview["edits"][0]["day"] == "2026-11-03"
    control(client, "stats/reset")
    assert client.get("/_sandbox/stats").json()["requests"] == 0
    assert control(client, "now")["now"] > "2026-11-18T15:00:00Z"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"fire": 1}),
        ("faults", {"reset": "often"}),
        ("faults", {"reset": 3}),
        ("faults/next", {"name": "fire"}),
        ("faults/next", {}),
        ("edits", {"vendor": "nobody", "day": "2026-11-10"}),
        ("edits", {"vendor": "ona", "day": "someday"}),
        ("edits", {"vendor": "ona", "day": "2026-11-10", "burnt": 1}),
        ("now", {"now": "2026-11-10T00:00:00"}),
        ("settings", {"speed": 1}),
        ("settings", {"latency_ms": "slow"}),
        ("credential", {}),
    ],
    ids=str,
)
def test_control_that_makes_no_sense_is_refused_with_a_reason(client: httpx2.Client, path: str, body: Any):
    answer = client.post(f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_an_unknown_control_endpoint_lists_the_known_ones(client: httpx2.Client):
    answer = client.post("/_sandbox/fire")
    assert answer.status_code == 404
    assert "POST /_sandbox/faults/next" in answer.json()["message"]


# The command.


def started(*arguments: str, **options: Any) -> tuple[subprocess.Popen[str], str]:
    """Start the command without the servers that it must not need; return it and its address."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    command = [sys.executable, "manage.py", "sandbox", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout
    line = process.stdout.readline()
    greeting = GREETING.match(line)
    assert greeting, line
    return process, greeting[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_needs_no_database_and_stops_cleanly_when_told(number: signal.Signals):
    process, url = started("--credential", "mine", "--records-per-day", "7", "--seed", "5", "--days", "9")
    with process:
        answer = httpx2.post(
            f"{url}/ona{LIST}", json={**BODY, "filter": yesterday()}, headers={"Authorization": "Bearer mine"}
        )
        assert len(answer.json()["records"]) == 7
        process.send_signal(number)
        assert process.wait(10) == 0


def yesterday() -> dict[str, Any]:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"dateRange": {"startTime": (end - timedelta(days=1)).isoformat(), "endTime": end.isoformat()}}


def test_the_command_ends_with_its_parent():
    starter = (
        "import subprocess, sys, os; os.write(1, str(subprocess.Popen(sys.argv[1:]).pid).encode() + b'\\n'); input()"
    )
    command = [sys.executable, "manage.py", "sandbox", "--port", "0", "--with-parent"]
    with subprocess.Popen(
        [sys.executable, "-c", starter, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        int(parent.stdout.readline())
        assert GREETING.match(parent.stdout.readline())
        parent.kill()
        parent.wait()
        # The sandbox holds the other end of this pipe; it closes when the sandbox is gone.
        assert parent.stdout.read() == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--fault", "fire=1"], "Unknown fault"),
        (["--fault", "reset=often"], "name=probability"),
        (["--zone", "Mars/Olympus"], "no time zone"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_options(arguments: list[str], reason: str):
    with pytest.raises(CommandError, match=reason):
        call_command("sandbox", *arguments)


def test_the_command_says_that_its_port_is_taken(sandbox: SandboxServer):
    with pytest.raises(CommandError, match=f"Port {sandbox.port}"):
        call_command("sandbox", "--port", str(sandbox.port))


def test_a_sandbox_in_a_process_of_its_own_is_controlled_over_http():
    with SandboxProcess("--fault", "ona.forbidden=1", "--records-per-day", "3") as sandbox:
        asked = {"filter": yesterday()}
        assert httpx2.post(f"{sandbox.url}/ona{LIST}", json=asked, headers=HEADERS).status_code == 403
        sandbox.post("faults/clear")
        assert len(httpx2.post(f"{sandbox.url}/ona{LIST}", json=asked, headers=HEADERS).json()["records"]) == 3
        assert sandbox.get("stats")["faults"] == {"ona.forbidden": 1}
        assert sandbox.pid


def test_a_sandbox_process_that_does_not_start_says_so(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(RuntimeError, match="did not start"):
        SandboxProcess("--fault", "fire=1").start()
    assert "Unknown fault" in capfd.readouterr().err
