"""`manage.py sandbox`: the stand-in vendors over HTTP, on this machine's loopback only."""

import asyncio
import gc
import os
import signal
from argparse import ArgumentParser
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError

from sync.sandbox.faults import parse_fault
from sync.sandbox.upstream import Settings, Upstream
from sync.sandbox.world import World
from usage.management.arguments import build_decimal_type, build_number_type, parse_port

MOST_DAYS = 500_000
MOST = 100_000_000  # records a day, and requests a minute
MOST_TIMES = 1_000
MOST_MS = 600_000


class Command(BaseCommand):
    help = "Serve stand-ins for the vendors on 127.0.0.1, with made-up usage and faults on demand."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        plain = World()
        parser.add_argument("--port", type=parse_port, default=8900, help="0 takes any free port. Default: 8900.")
        parser.add_argument("--seed", type=int, default=plain.seed, help="Same seed, same history.")
        parser.add_argument(
            "--days", type=build_number_type(1, MOST_DAYS), default=plain.days, help="How far history reaches back."
        )
        parser.add_argument(
            "--scale",
            type=build_decimal_type(0, MOST_TIMES),
            default=plain.scale,
            help="Multiplies the number of records.",
        )
        parser.add_argument(
            "--records-per-day",
            type=build_number_type(0, MOST),
            help="Exactly so many, in place of a busy-looking curve.",
        )
        parser.add_argument("--credential", default=plain.credential, help="What every vendor accepts.")
        parser.add_argument("--zone", default=plain.zone, help="Time zone of the accounts that have a zone.")
        parser.add_argument(
            "--latency-ms", type=build_decimal_type(0, MOST_MS), default=0.0, help="Waited before every answer."
        )
        parser.add_argument(
            "--requests-per-minute",
            type=build_number_type(1, MOST),
            help="Answer 429 to what a credential asks beyond.",
        )
        parser.add_argument("--fault", action="append", default=[], metavar="[VENDOR.]NAME=P", help="Repeatable.")
        parser.add_argument("--compress", action="store_true", help="Compress answers for clients that accept it.")
        parser.add_argument("--with-parent", type=int, metavar="PID", help="Stop when this starting process is gone.")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            from sync.sandbox.server import HOST, serve
        except ModuleNotFoundError as error:
            raise CommandError(
                f"The sandbox needs {error.name}, which the portal itself does not: install the extra `sandbox`."
            ) from None
        upstream = Upstream(_build_world(options), _build_settings(options))
        gc.freeze()  # the portal's modules stay; no collection needs to visit them again
        parent = options["with_parent"]

        async def run() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            async with serve(upstream, options["port"]) as port:
                names = ", ".join(f"/{name}" for name in sorted(upstream.vendors))
                self.stdout.write(f"Sandbox at http://{HOST}:{port} ({names}), credential {upstream.world.credential}")
                self.stdout.flush()
                watch = asyncio.create_task(_stop_with_parent(parent, stop)) if parent is not None else None
                await stop.wait()
                if watch is not None:
                    watch.cancel()

        try:
            asyncio.run(run())
        except OSError as error:
            raise CommandError(f"Port {options['port']} of {HOST} cannot be opened: {error.strerror}.") from None


def _build_world(options: dict[str, Any]) -> World:
    try:
        ZoneInfo(options["zone"])
    except (ZoneInfoNotFoundError, ValueError):
        raise CommandError(f"There is no time zone {options['zone']!r}.") from None
    try:
        faults = dict(parse_fault(text) for text in options["fault"])
    except ValueError as error:
        raise CommandError(str(error)) from None
    names = ("seed", "days", "scale", "records_per_day", "credential", "zone")
    return World(**{name: options[name] for name in names}, faults=faults)


def _build_settings(options: dict[str, Any]) -> Settings:
    return Settings(
        latency_ms=options["latency_ms"],
        requests_per_minute=options["requests_per_minute"],
        compress=options["compress"],
    )


async def _stop_with_parent(parent: int, stop: asyncio.Event) -> None:
    """Stop the server once the process that started it is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110 - an orphan gets no signal
        await asyncio.sleep(0.5)
    stop.set()
