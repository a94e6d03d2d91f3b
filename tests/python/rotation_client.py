"""Peers in Python that live through rotations: mutual TLS between two of them and tokens, over and over.

PyPI's `spiffe` fetches; OpenSSL, as Python's `ssl` has it, speaks TLS; tokens are verified by `joserfc` and by `spiffe` itself, which
uses PyJWT. Run by the end-to-end tests of rotations with an audience. Ends when its standard input does, and with the first failure.
Prints what was seen so far as a JSON object, a line about every second and one at the end.
"""

import base64
import json
import select
import ssl
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt
from joserfc.jwk import KeySet, import_key
from spiffe import JwtSource, JwtSvid, X509Source

PAUSE = 0.05
FLIGHTS = 10


class Peer:
    """One end of mutual TLS, which follows its own stream of the Workload API."""

    def __init__(self, source: X509Source, protocol: int, folder: Path) -> None:
        self.source, self.protocol, self.folder = source, protocol, folder
        self.held = None

    def follow(self) -> ssl.SSLContext:
        """TLS by what was pushed last."""
        pushed = self.source.get_x509_context()
        svid = pushed.default_svid
        bundle = pushed.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        roots = sorted(root.public_bytes(Encoding.PEM).decode() for root in bundle.x509_authorities)
        chain = [one.public_bytes(Encoding.PEM).decode() for one in svid.cert_chain]
        if self.held != (roots, chain):
            self.context = self.tls(svid, roots, chain)
            self.held, self.spiffe_id, self.roots = (roots, chain), str(svid.spiffe_id), len(roots)
        return self.context

    def tls(self, svid, roots: list[str], chain: list[str]) -> ssl.SSLContext:
        context = ssl.SSLContext(self.protocol)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata="".join(roots))
        key = svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        file = self.folder / "svid.pem"
        file.write_text(key + "".join(chain))
        context.load_cert_chain(file)
        file.unlink()
        return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> list[x509.Certificate]:
    """A handshake and a word each way; the leaves that the two showed."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_side=False)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [near, far]
    for _flight in range(FLIGHTS):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not waiting:
            break
    assert not waiting, "the handshake does not end"
    for one, other in ((near, far), (far, near)):
        one.write(b"hello")
        assert other.read(5) == b"hello", "another word arrived"
    return [x509.load_der_x509_certificate(end.getpeercert(binary_form=True)) for end in (near, far)]


def authority_of(leaf: x509.Certificate) -> str:
    """The key identifier of the authority that signed a certificate."""
    return leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier.hex()


def is_of(leaf: x509.Certificate, spiffe_id: str) -> bool:
    """Whether the certificate names this workload and nobody else."""
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier) == [spiffe_id]


def key_set(authorities) -> KeySet:
    """The keys of a JWT bundle, for joserfc."""
    keys = []
    for kid, key in authorities.items():
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        kind = "RSA" if hasattr(key.public_numbers(), "n") else "EC"
        keys.append(import_key(pem, kind, {"kid": kid}))
    return KeySet(keys)


def verify(token: str, bundle, audience: str) -> None:
    """Whether both libraries take the token; raises when one does not."""
    claims = jwt.decode(token, key_set(bundle.jwt_authorities), algorithms=["ES256", "RS256"]).claims
    assert audience in claims["aud"] and claims["exp"] > time.time(), "not for this audience, or over"
    JwtSvid.parse_and_validate(token, bundle, {audience})


def header(token: str) -> dict:
    """The header of a compact JWS."""
    first = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))


class Seen:
    """What was seen so far."""

    def __init__(self) -> None:
        self.x509, self.jwt, self.failures = Counter(), Counter(), []
        self.handshakes = self.tokens = self.most_roots = 0
        self.algorithms = set()
        self.told = 0.0

    def tell(self) -> None:
        """A line, if the last one is long enough ago."""
        if time.monotonic() < self.told + 1:
            return
        self.told = time.monotonic()
        self.tell_all()

    def tell_all(self) -> None:
        """A line."""
        told = {name: getattr(self, name) for name in ("handshakes", "tokens", "x509", "jwt", "most_roots", "failures")}
        print(json.dumps(told | {"algorithms": sorted(self.algorithms)}), flush=True)


def round_of(client: Peer, server: Peer, tokens: JwtSource, audience: str, seen: Seen) -> None:
    """A handshake and a token. What fails is named."""
    try:
        leaves = shake_hands(client.follow(), server.follow())
        assert all(is_of(leaf, client.spiffe_id) for leaf in leaves), "another peer"
        seen.x509.update(authority_of(leaf) for leaf in leaves)
        seen.most_roots = max(seen.most_roots, client.roots)
        seen.handshakes += 1
    except Exception as error:  # whatever it is, it is a handshake that failed
        seen.failures.append(f"handshake {seen.handshakes + 1} at {time.time():.3f}: {error!r}")
    try:
        token = tokens.fetch_svid({audience})
        bundle = tokens.get_bundle_for_trust_domain(token.spiffe_id.trust_domain)
        verify(token.token, bundle, audience)
        seen.jwt[header(token.token)["kid"]] += 1
        seen.algorithms.add(header(token.token)["alg"])
        seen.tokens += 1
    except Exception as error:  # as above
        seen.failures.append(f"token {seen.tokens + 1} at {time.time():.3f}: {error!r}")


def main(audience: str) -> None:
    seen = Seen()
    timeout = {"timeout_in_seconds": 30}
    with (
        tempfile.TemporaryDirectory() as folder,
        X509Source(**timeout) as near,
        X509Source(**timeout) as far,
        JwtSource(**timeout) as tokens,
    ):
        client = Peer(near, ssl.PROTOCOL_TLS_CLIENT, Path(folder))
        server = Peer(far, ssl.PROTOCOL_TLS_SERVER, Path(folder))
        while not seen.failures and not select.select([sys.stdin], [], [], PAUSE)[0]:
            round_of(client, server, tokens, audience, seen)
            seen.tell()
    seen.tell_all()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
