"""`python -m tests.chaos [--seconds N] [--seed N]`: faults, kills and restatements at once, then every record compared.

The portal runs on servers of its own against a sandbox. For `--seconds`, faults of every kind strike, programs are
killed and stopped, and days are restated, by a plan that the seed makes; then all of it ceases and the portal has to
come to exactly what the vendors report. It prints what was done and found and ends with status 1 on a violation.
"""

import argparse
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet

from portal.embedded import Services
from portal.embedded.server import Postgres
from tests.chaos.plan import DAYS, make_plan
from tests.support.data_folders import copy_migrated
from tests.support.servers import write_without_waiting

if TYPE_CHECKING:
    from tests.support.sandbox_process import SandboxProcess
    from tests.support.sandbox_server import SandboxServer

SIZE: dict[str, Any] = {"days": DAYS + 2, "records_per_day": 240, "zone": "UTC"}


def main(arguments: list[str]) -> int:
    """Run once; returns 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="How long things go wrong. Default: 300.")
    parser.add_argument("--seed", type=int, help="The same seed makes the same plan. Default: a new one.")
    parser.add_argument("--plan", action="store_true", help="Print the plan and run nothing.")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    plan = make_plan(seed, options.seconds)
    print(f"seed: {seed}, seconds: {options.seconds:g}, planned events: {len(plan)}", flush=True)
    if options.plan:
        print("\n".join(map(str, plan)))
        return 0
    # So that everything that was started is stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with own_services() as services:
        import django

        django.setup()
        from tests.chaos.oracle import Oracle
        from tests.chaos.programs import run_programs
        from tests.chaos.run import Run

        started = time.monotonic()
        with start_sandboxes(seed) as (sandbox, clean), run_programs(services) as programs:
            run = Run(sandbox, Oracle(clean, "gcore"), programs, seed)
            run.wait_for_start()
            run.carry_out(plan, options.seconds)
            run.settle()
            run.compare()
            findings = run.finish()
        print(f"{findings}\nseconds in all: {time.monotonic() - started:.0f}", flush=True)
    return int(bool(findings.violations))


@contextmanager
def own_services() -> Iterator[Services]:
    """Start servers that nobody else uses, with a migrated database, and leave nothing behind."""
    root = Path(tempfile.mkdtemp(prefix="portal-chaos-"))
    root.chmod(0o711)
    services = copy_migrated(root / "data")
    try:
        os.environ.update(
            services.start(),
            DJANGO_SETTINGS_MODULE="portal.settings",
            PORTAL_IGNORE_DOTENV="1",
            PORTAL_HTTPS="0",
            PORTAL_LOG_LEVEL="WARNING",
            PORTAL_ALLOWED_VENDOR_HOSTS="127.0.0.1:*",
            PORTAL_DATA_DIR=str(services.home.root),
            PORTAL_ENCRYPTION_KEYS=Fernet.generate_key().decode(),
            SECRET_KEY=secrets.token_urlsafe(64),
        )
        # Kills lose nothing that was written: no power is taken away.
        write_without_waiting(Postgres(services.home).superuser_url)
        yield services
    finally:
        services.remove()
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def start_sandboxes(seed: int) -> Iterator[tuple["SandboxProcess", "SandboxServer"]]:
    """Start the sandbox and its twin that knows no faults; their clocks stand still, so that today does not grow."""
    from sync.sandbox.world import World
    from tests.support.sandbox_process import SandboxProcess
    from tests.support.sandbox_server import SandboxServer

    world = World(seed=seed, **SIZE)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {"seed": seed, **SIZE}.items()]
    with SandboxProcess(*options) as faulty, SandboxServer(world) as clean:
        now = datetime.now(UTC)
        world.set_clock(now)
        faulty.post("now", now=now.isoformat())
        faulty.post("settings", hang_seconds=4, compress=True)
        yield faulty, clean


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
