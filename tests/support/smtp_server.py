"""A mail server for tests: it speaks SMTP on a socket, keeps the mails, and can refuse recipients."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """The server; `mails` are the accepted ones.

    `refusal`: the reply to recipients in place of 250; to all, or to `refused_recipient` alone.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), MailSession)
        self.mails: list[Message] = []
        self.recipients: list[list[str]] = []
        self.refusal = self.refused_recipient = ""

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    @property
    def ids(self) -> list[str]:
        """The Message-ID of every mail."""
        return [str(mail["Message-ID"]) for mail in self.mails]


class MailSession(socketserver.StreamRequestHandler):
    """One connection of a client."""

    server: MailServer

    def handle(self) -> None:
        """Answer command after command."""
        self.reply("220 test ESMTP")
        recipients: list[str] = []
        for line in self.rfile:
            command = line.decode().strip()
            match command.partition(" ")[0].upper().partition(":")[0]:
                case "QUIT":
                    self.reply("221 bye")
                    return
                case "RCPT":
                    recipient = command.partition(":")[2].split(">")[0].strip("< ")
                    is_refused = self.server.refusal and self.server.refused_recipient in ("", recipient)
                    if not is_refused:
                        recipients.append(recipient)
                    self.reply(self.server.refusal if is_refused else "250 ok")
                case "DATA":
                    self.reply("354 go on")
                    self.server.mails.append(message_from_bytes(self.read_mail()))
                    self.server.recipients.append(recipients)
                    recipients = []
                    self.reply("250 taken")
                case _:
                    self.reply("250 ok")

    def read_mail(self) -> bytes:
        """Return the lines up to the one with a dot."""
        lines = iter(self.rfile.readline, b".\r\n")
        return b"".join(line[1:] if line.startswith(b"..") else line for line in lines)

    def reply(self, text: str) -> None:
        """Send one line."""
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def serve_mail(settings: Any, port: int = 0) -> Iterator[MailServer]:
    """Run a mail server, and point the settings at it."""
    with MailServer(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        settings.PORTAL_EMAIL_URL = f"smtp://127.0.0.1:{server.port}"
        settings.EMAIL_BACKEND = "portal.mail.MailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
