"""Whatever goes wrong, and however often programs are killed: no wrong number is called right, and nothing is stuck."""

import os
import re
import subprocess
import sys

import pytest

from portal.environment import BASE_DIR
from tests.chaos.plan import FAULTS, SIGNALS, make_plan

SEED = "7"
SECONDS = "8"  # twice as much with its start and its end


@pytest.mark.slow
def test_seconds_of_faults_kills_and_restatements_leave_every_record_as_the_vendors_report_it() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    command = [sys.executable, "-m", "tests.chaos", "--seed", SEED, "--seconds", SECONDS]
    ran = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-5000:]
    counts = {
        name: int(number.replace(",", ""))
        for name, number in re.findall(r"^([a-z ]+): ([\d,]+)", ran.stdout, re.MULTILINE)
    }
    assert counts["violations"] == 0
    # How much happens in the time depends on how busy the machine is.
    assert counts["records compared"] > 1_000
    assert counts["faults by kind"] > 5
    assert counts["kills"] > 2


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    assert make_plan(7, 300) == make_plan(7, 300)
    assert make_plan(7, 300) != make_plan(8, 300)
    assert [event.at for event in make_plan(7, 300)] == sorted(event.at for event in make_plan(7, 300))


def test_a_run_of_a_minute_plans_every_fault_and_every_kill() -> None:
    plan = make_plan(7, 60)
    assert {name for event in plan for name, _ in event.faults} == set(FAULTS)
    assert {event.action for event in plan} == {"faults", "edit", *SIGNALS}
