"""A resource server in Python: `joserfc` verifies the token, introspection says whether it is still live.

docs/resource-servers.md walks through it. It guards the TLS secrets of an ingress: `GET` and `PATCH /secrets/<name>` need
the scope `secrets.update` and an entry of `authorization_details` that permits `get` or `patch` of exactly that secret.

    server.py --issuer https://localhost:8443 --ca ca.pem --resource https://ingress.prod.example.org --listen 127.0.0.1:8080

It gets its own identity from the Workload API socket (SPIFFE_ENDPOINT_SOCKET), and asks introspection with it; with
`--offline` it asks nobody, and a revoked token is good here until it expires.
"""

import argparse
import base64
import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet
from spiffe import WorkloadApiClient

CREDENTIALS = re.compile(r"(bearer|dpop) ([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE | re.ASCII)
CLUSTER = "https://k8s.eu-west-1.prod.example.org"
SCOPE = "secrets.update"
KEYS_FRESH, RETRY_AFTER, PROOF_AGE = 300, 10, 60


class Refused(Exception):
    """A refusal: status, OAuth error and the scheme of the challenge."""

    def __init__(self, status: int, error: str | None = None, scheme: str = "Bearer"):
        super().__init__(error or "no token")
        self.status, self.error, self.scheme = status, error, scheme


class Verifier:
    def __init__(self, issuer: str, resource: str, ca: str, origin: str, offline: bool):
        self.issuer, self.resource, self.origin, self.offline = issuer, resource, origin, offline
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no other CA bundle from the environment
        self.session.verify = ca
        self.lock = threading.Lock()
        self.keys, self.fetched, self.proofs = None, 0.0, {}
        self.metadata = self.get(f"{issuer}/.well-known/oauth-authorization-server")
        if self.metadata["issuer"] != issuer:
            raise ValueError("the metadata is of another issuer")

    def get(self, url: str) -> dict:
        answer = self.session.get(url, timeout=10, allow_redirects=False)
        if answer.status_code != 200:
            raise Refused(503)
        return answer.json()

    def key_set(self, kid: str) -> KeySet:
        """The issuer's keys, fetched again when they are old, or when one is missing that may be new."""
        with self.lock:
            age = time.monotonic() - self.fetched
            known = self.keys is not None and any(key.kid == kid for key in self.keys.keys)
            if self.keys is None or age > KEYS_FRESH or (not known and age > RETRY_AFTER):
                self.keys = KeySet.import_key_set(self.get(self.metadata["jwks_uri"]))
                self.fetched = time.monotonic()
            return self.keys

    def verify(self, handler: BaseHTTPRequestHandler) -> dict:
        scheme, token = credentials(handler)
        try:
            # The type first: an identity of the same trust domain is no access token.
            header = jws.extract_compact(token.encode()).headers()
            if header.get("typ") != "at+jwt" or not isinstance(header.get("kid"), str):
                raise Refused(401, "invalid_token")
            claims = jwt.decode(token, self.key_set(header["kid"]), algorithms=["ES256"]).claims
            jwt.JWTClaimsRegistry(
                leeway=5,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self.resource},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError) as error:
            raise Refused(401, "invalid_token") from error
        self.check_binding(scheme, token, claims, handler)
        if not self.offline and not self.is_active(token):
            raise Refused(401, "invalid_token")
        return claims

    def check_binding(self, scheme: str, token: str, claims: dict, handler: BaseHTTPRequestHandler) -> None:
        """A bound token needs the proof of its key; taking one as a plain bearer token would undo its binding."""
        bound = claims.get("cnf")
        if bound is None:
            if scheme != "bearer":
                raise Refused(401, "invalid_token")
            return
        if scheme != "dpop" or set(bound) != {"jkt"}:  # this server ends no mutual TLS
            raise Refused(401, "invalid_token", "DPoP")
        proofs = handler.headers.get_all("DPoP") or []
        try:
            [proof] = proofs
            header = jws.extract_compact(proof.encode()).headers()
            key = JWKRegistry.import_key(header["jwk"])
            said = jwt.decode(proof, key, algorithms=["ES256"]).claims
            now, hashed = time.time(), hashlib.sha256(token.encode("ascii")).digest()
            good = (
                header["typ"] == "dpop+jwt"
                and not key.is_private
                and key.thumbprint() == bound["jkt"]
                and said["htm"] == handler.command
                and said["htu"] == self.origin + handler.path.split("?")[0]
                and said["ath"] == base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
                and now - PROOF_AGE <= int(said["iat"]) <= now + 10
                and self.first_use((bound["jkt"], said["jti"]), now)
            )
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Refused(401, "invalid_dpop_proof", "DPoP") from error
        if not good:
            raise Refused(401, "invalid_dpop_proof", "DPoP")

    def first_use(self, proof: tuple, now: float) -> bool:
        with self.lock:
            self.proofs = {name: until for name, until in self.proofs.items() if until >= now}
            if len(self.proofs) >= 100_000:
                raise Refused(503)
            if proof in self.proofs:
                return False
            self.proofs[proof] = now + PROOF_AGE + 10
            return True

    def is_active(self, token: str) -> bool:
        """Asks the issuer, as this service. A signature cannot say that a token was revoked since."""
        with WorkloadApiClient() as workload:
            svid = workload.fetch_jwt_svid({self.issuer})
        fields = {
            "token": token,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
            "client_assertion": svid.token,
        }
        answer = self.session.post(
            self.metadata["introspection_endpoint"], data=fields, timeout=10, allow_redirects=False
        )
        if answer.status_code != 200:
            raise Refused(503)  # not to be known just now is not the same as live
        return answer.json().get("active") is True


def credentials(handler: BaseHTTPRequestHandler) -> tuple[str, str]:
    """One header, one scheme, one space, one token."""
    values = handler.headers.get_all("Authorization") or []
    if not values:
        raise Refused(401)
    match = CREDENTIALS.fullmatch(values[0])
    if len(values) > 1 or match is None:
        raise Refused(400, "invalid_request")
    return match[1].lower(), match[2]


def permits(claims: dict, action: str, identifier: str) -> bool:
    """Whether one entry covers the action on the resource; an entry with a member that is not known here covers nothing."""
    known = {"type", "actions", "identifier", "locations"}
    return any(
        isinstance(entry, dict)
        and set(entry) <= known
        and entry.get("type") == "k8s_object"
        and action in entry.get("actions", [])
        and entry.get("identifier") == identifier
        and CLUSTER in entry.get("locations", [])
        for entry in claims.get("authorization_details", [])
    )


class Handler(BaseHTTPRequestHandler):
    verifier: Verifier

    def do_GET(self) -> None:
        self.answer("get")

    def do_PATCH(self) -> None:
        self.answer("patch")

    def answer(self, action: str) -> None:
        try:
            claims = self.verifier.verify(self)
            if SCOPE not in claims.get("scope", "").split(" "):
                raise Refused(403, "insufficient_scope")
            name = re.fullmatch(r"/secrets/([a-z0-9-]+)", self.path)
            identifier = f"ns/ingress/secret/{name[1]}" if name else ""
            if not permits(claims, action, identifier):
                raise Refused(403, "insufficient_authorization_details")
        except Refused as refused:
            return self.refuse(refused)
        except requests.RequestException:
            return self.refuse(Refused(503))
        self.say(200, f"{action} {identifier} for {claims['client_id']} under {claims['jti']}\n")

    def refuse(self, refused: Refused) -> None:
        headers = {}
        if refused.status != 503:
            error = f' error="{refused.error}"' if refused.error else ""
            headers["WWW-Authenticate"] = refused.scheme + error
        self.say(refused.status, "", headers)

    def say(self, status: int, text: str, headers: dict | None = None) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Cache-Control": "no-store", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments) -> None:
        """Nothing: a request line has no place in a log without thought."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("issuer", "resource", "ca", "listen"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--offline", action="store_true")
    given = options.parse_args()
    host, port = given.listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    address = f"{host}:{server.server_port}"
    # Where clients reach it, as their proofs say. Behind a TLS proxy this would be the proxy's https origin.
    Handler.verifier = Verifier(given.issuer, given.resource, given.ca, f"http://{address}", given.offline)
    print(f"listening on {address}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
