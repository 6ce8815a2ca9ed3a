"""An OpenID provider over real HTTP with one user, who always agrees, and the faults that a test sets."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "usage-portal", "secret-of-the-portal"


def generate_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def get_key() -> rsa.RSAPrivateKey:
    """Return the provider's key, one for a process: it takes a tenth of a second to make."""
    return generate_key()


@dataclass(slots=True)
class Identity:
    """The provider and its user (`person`); `token`, `info` and `config` override values of its responses."""

    issuer: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=get_key)
    person: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    signing_key: Any = None
    algorithm: str = "RS256"
    request: dict[str, str] = field(default_factory=dict)
    code: str = ""
    omitted_name: str = ""

    def build_discovery(self) -> dict[str, Any]:
        """Return the discovery document."""
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            **self.config,
        }
        return {name: value for name, value in document.items() if name != self.omitted_name}

    def authorize(self, query: str) -> str:
        """Store the request and return the URL of the callback."""
        self.request = {name: values[0] for name, values in parse_qs(query).items()}
        self.code = secrets.token_urlsafe(16)
        back = urlencode({"code": self.code, "state": self.request["state"]})
        return f"{self.request['redirect_uri']}?{back}"

    def exchange_code(self, form: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Return the tokens for a code, once, and only with the verifier of its challenge."""
        params = {name: values[0] for name, values in parse_qs(form).items()}
        digest = hashlib.sha256(params.get("code_verifier", "").encode()).digest()
        fits = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.request.get("code_challenge")
        if self.config.get("token_endpoint_auth_methods_supported") == ["client_secret_basic"]:
            basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            secret = authorization == f"Basic {basic}"
        else:
            secret = params.get("client_secret") == CLIENT_SECRET and params.get("client_id") == CLIENT_ID
        if not (fits and secret and self.code and params.get("code") == self.code):
            return 400, {"error": "invalid_grant"}
        self.code = ""
        tokens = {"access_token": "opens-the-user-info", "token_type": "Bearer", "id_token": self.sign_id_token()}
        return 200, {name: value for name, value in tokens.items() if name != self.omitted_name}

    def sign_id_token(self) -> str:
        """Return the id token."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": self.person["sub"],
            "iat": now,
            "exp": now + 300,
            "nonce": self.request.get("nonce"),
            **self.token,
        }
        claims.pop(self.omitted_name, None)
        return jwt.encode(claims, self.signing_key or self.key, self.algorithm, headers={"kid": "one"})

    def build_jwks(self) -> dict[str, Any]:
        """Return the public keys."""
        return {"keys": [{**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "one", "alg": "RS256"}]}


@contextmanager
def run_provider(**person: Any) -> Iterator[Identity]:
    """Run the provider on loopback for the duration of the block."""
    identity = Identity(person={"sub": "person-1", **person})
    server = ThreadingHTTPServer(("127.0.0.1", 0), build_handler(identity))
    identity.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield identity
    finally:
        server.shutdown()
        server.server_close()


def build_handler(identity: Identity) -> type[BaseHTTPRequestHandler]:
    """Return the request handler of a provider."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", identity.authorize(parts.query))
                self.end_headers()
            elif parts.path == "/userinfo":
                known = self.headers["Authorization"] == "Bearer opens-the-user-info"
                self.send_json(200 if known else 401, {**identity.person, **identity.info})
            elif parts.path == "/jwks":
                self.send_json(200, identity.build_jwks())
            else:
                self.send_json(200, identity.build_discovery())

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.send_json(*identity.exchange_code(self.rfile.read(length).decode(), self.headers["Authorization"]))

        def send_json(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    return Handler
