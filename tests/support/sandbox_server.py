"""The sandbox in a thread of the tests' process."""

import asyncio
import threading
from asyncio import AbstractEventLoop
from types import TracebackType
from typing import Self

from sync.sandbox.server import HOST, serve
from sync.sandbox.upstream import Settings, Upstream
from sync.sandbox.world import World


class SandboxServer:
    """The sandbox in a thread of this process, `with SandboxServer() as sandbox: …`."""

    def __init__(self, world: World | None = None, port: int = 0, settings: Settings | None = None) -> None:
        self.world, self.settings = world or World(), settings or Settings()
        self.upstream = Upstream(self.world, self.settings)
        self.faults, self.stats = self.upstream.faults, self.upstream.stats
        self.port = port
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """The server's address without a trailing slash; a vendor's paths follow `/<vendor>`."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> Self:
        """Begin to listen; raises what kept the server from it."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop listening, drop the connections there are and wait for the thread."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self.upstream, self.port) as self.port:
            self._ready.set()
            await self._stop.wait()
