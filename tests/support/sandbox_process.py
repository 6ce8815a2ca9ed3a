"""The sandbox as a process of its own: for benchmarks, which must not share its CPU, and for kill tests."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from django.conf import settings

GREETING: Final = re.compile(r"Sandbox at (http://\S+)")


class SandboxProcess:
    """The command as a child that ends with its parent: `with SandboxProcess("--seed", "7") as sandbox: …`.

    `arguments` are the command's own. Raises RuntimeError with the exit status where it does not start.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The process id while it runs, 0 otherwise."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> Self:
        """Start and wait until it listens."""
        # Not manage.py: that would start the servers that the sandbox does not need.
        django = [sys.executable, "-m", "django"]
        command = [*django, "sandbox", "--with-parent", str(os.getpid()), "--port", "0", *self.arguments]
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"}
        self._process = subprocess.Popen(
            command, cwd=Path(settings.BASE_DIR), env=environment, stdout=subprocess.PIPE, text=True
        )
        greeting = GREETING.match(self._process.stdout.readline() if self._process.stdout else "")
        if greeting is None:
            self.stop()
            raise RuntimeError(f"The sandbox did not start; its exit status is {self._process.returncode}.")
        self.url = greeting[1]
        return self

    def stop(self) -> None:
        """End the process and wait for it."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.communicate()

    def get(self, path: str) -> Any:
        """Get a control endpoint, e.g. `stats`."""
        return self._control(path, None)

    def post(self, path: str, **fields: Any) -> Any:
        """Post to a control endpoint, e.g. `post("settings", latency_ms=50)`."""
        return self._control(path, json.dumps(fields).encode())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _control(self, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(f"{self.url}/_sandbox/{path}", data=body)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
