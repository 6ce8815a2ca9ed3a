"""`manage.py sandbox`: the stand-in vendors over HTTP, on this machine's loopback only."""

import asyncio
import gc
import os
import signal
from argparse import ArgumentParser
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError

from sync.sandbox.faults import parsed
from sync.sandbox.server import HOST, listening
from sync.sandbox.upstream import Settings, Upstream
from sync.sandbox.world import World


class Command(BaseCommand):
    help = "Serve stand-ins for the vendors on 127.0.0.1, with made-up usage and faults on demand."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        plain = World()
        parser.add_argument("--port", type=int, default=8900, help="0 takes any free port. Default: 8900.")
        parser.add_argument("--seed", type=int, default=plain.seed, help="Same seed, same history.")
        parser.add_argument("--days", type=int, default=plain.days, help="How far history reaches back.")
        parser.add_argument("--scale", type=float, default=plain.scale, help="Multiplies the number of records.")
        parser.add_argument("--records-per-day", type=int, help="Exactly so many, in place of a busy-looking curve.")
        parser.add_argument("--credential", default=plain.credential, help="What every vendor accepts.")
        parser.add_argument("--zone", default=plain.zone, help="Time zone of the accounts that have one.")
        parser.add_argument("--latency-ms", type=float, default=0.0, help="Waited before every answer.")
        parser.add_argument("--requests-per-minute", type=int, help="Answer 429 to what a credential asks beyond.")
        parser.add_argument("--fault", action="append", default=[], metavar="[VENDOR.]NAME=P", help="Repeatable.")
        parser.add_argument("--compress", action="store_true", help="Compress answers for clients that accept it.")
        parser.add_argument("--with-parent", action="store_true", help="Stop when the starting process is gone.")

    def handle(self, *_args: Any, **options: Any) -> None:
        upstream = Upstream(_world(options), _settings(options))
        gc.freeze()  # the portal's modules stay; no collection needs to look through them again
        parent = os.getppid() if options["with_parent"] else None
        try:
            asyncio.run(self._serve(upstream, options["port"], parent))
        except OSError as error:
            raise CommandError(f"Port {options['port']} of {HOST} cannot be had: {error.strerror}.") from None

    async def _serve(self, upstream: Upstream, port: int, parent: int | None) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with listening(upstream, port) as taken:
            self._greet(upstream, taken)
            watch = asyncio.create_task(_watch(parent, stop)) if parent is not None else None
            await stop.wait()
            if watch is not None:
                watch.cancel()

    def _greet(self, upstream: Upstream, port: int) -> None:
        names = ", ".join(f"/{name}" for name in sorted(upstream.vendors))
        self.stdout.write(f"Sandbox at http://{HOST}:{port} ({names}), credential {upstream.world.credential}")
        self.stdout.flush()


def _world(options: dict[str, Any]) -> World:
    try:
        ZoneInfo(options["zone"])
    except (ZoneInfoNotFoundError, ValueError):
        raise CommandError(f"There is no time zone {options['zone']!r}.") from None
    try:
        faults = dict(parsed(text) for text in options["fault"])
    except ValueError as error:
        raise CommandError(str(error)) from None
    shape = ("seed", "days", "scale", "records_per_day", "credential", "zone")
    return World(**{name: options[name] for name in shape}, faults=faults)


def _settings(options: dict[str, Any]) -> Settings:
    return Settings(
        latency_ms=options["latency_ms"],
        requests_per_minute=options["requests_per_minute"],
        compress=options["compress"],
    )


async def _watch(parent: int, stop: asyncio.Event) -> None:
    """Stop the server once the process that started it is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells an orphan that it is one
        await asyncio.sleep(0.5)
    stop.set()
