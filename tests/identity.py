"""A little OpenID provider over real HTTP: one person, who always agrees, and every fault that a test asks for."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "usage-portal", "secret-of-the-portal"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(slots=True)
class Identity:
    """The provider: who signs in (`person`), and what is told differently from what is true (`token`, `info`)."""

    issuer: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    person: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    signing_key: Any = None
    algorithm: str = "RS256"
    asked: dict[str, str] = field(default_factory=dict)
    code: str = ""

    def described(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            **self.config,
        }

    def agreed(self, query: str) -> str:
        """Note what was asked and return where the person is sent back to."""
        self.asked = {name: values[0] for name, values in parse_qs(query).items()}
        self.code = secrets.token_urlsafe(16)
        back = urlencode({"code": self.code, "state": self.asked["state"]})
        return f"{self.asked['redirect_uri']}?{back}"

    def exchanged(self, form: str) -> tuple[int, dict[str, Any]]:
        """Return the tokens for a code, once, for who asked with the verifier that fits the challenge."""
        given = {name: values[0] for name, values in parse_qs(form).items()}
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        fits = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.asked.get("code_challenge")
        secret = given.get("client_secret") == CLIENT_SECRET and given.get("client_id") == CLIENT_ID
        if not (fits and secret and self.code and given.get("code") == self.code):
            return 400, {"error": "invalid_grant"}
        self.code = ""
        return 200, {"access_token": "opens-the-user-info", "token_type": "Bearer", "id_token": self.signed()}

    def signed(self) -> str:
        """Return the id token."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": self.person["sub"],
            "iat": now,
            "exp": now + 300,
            "nonce": self.asked.get("nonce"),
            **self.token,
        }
        return jwt.encode(claims, self.signing_key or self.key, self.algorithm, headers={"kid": "one"})

    def keys(self) -> dict[str, Any]:
        """Return the public keys."""
        return {"keys": [{**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "one", "alg": "RS256"}]}


@contextmanager
def provider(**person: Any) -> Iterator[Identity]:
    """Run the provider for the time of the block, on loopback."""
    identity = Identity(person={"sub": "person-1", **person})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(identity))
    identity.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield identity
    finally:
        server.shutdown()
        server.server_close()


def handler_of(identity: Identity) -> type[BaseHTTPRequestHandler]:
    """Return what answers for a provider."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", identity.agreed(parts.query))
                self.end_headers()
            elif parts.path == "/userinfo":
                known = self.headers["Authorization"] == "Bearer opens-the-user-info"
                self.answer(200 if known else 401, {**identity.person, **identity.info})
            elif parts.path == "/jwks":
                self.answer(200, identity.keys())
            else:
                self.answer(200, identity.described())

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.answer(*identity.exchanged(self.rfile.read(length).decode()))

        def answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
