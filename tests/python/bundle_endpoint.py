"""A trust domain of its own: its bundle, held by PyPI's `spiffe`, at a bundle endpoint of profile https_web, and a JWT-SVID of it.

Run by the end-to-end test `federation_commands`. Takes the trust domain's name and a folder for the endpoint's certificate authority;
prints one line of JSON (`port`, `ca_file`, `token`) and serves until it is killed.
"""

import datetime
import http.server
import json
import ssl
import sys
import time
from base64 import b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey
from spiffe import JwtBundle, TrustDomain, X509Bundle

NAME, FOLDER = sys.argv[1], Path(sys.argv[2])
NOW = datetime.datetime.now(datetime.timezone.utc)


def certificate(subject, key, issuer, issuer_key, names, ca):
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"],
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(minutes=1))
        .not_valid_after(NOW + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def new(name, names, ca=True, by=None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = by or (subject, key)
    return certificate(subject, key, issuer, issuer_key, names, ca), subject, key


def bundle_document(x509_bundle: X509Bundle, jwt_bundle: JwtBundle) -> bytes:
    keys = []
    for authority in x509_bundle.x509_authorities:
        jwk = ECKey.import_key(
            authority.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ).as_dict(private=False)
        der = authority.public_bytes(serialization.Encoding.DER)
        public = {name: jwk[name] for name in ("kty", "crv", "x", "y")}
        keys.append(public | {"use": "x509-svid", "x5c": [b64encode(der).decode()]})
    for kid, key in jwt_bundle.jwt_authorities.items():
        jwk = ECKey.import_key(
            key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        ).as_dict(private=False)
        public = {name: jwk[name] for name in ("kty", "crv", "x", "y")}
        keys.append(public | {"use": "jwt-svid", "kid": kid})
    return json.dumps({"keys": keys, "spiffe_sequence": 3, "spiffe_refresh_hint": 60}).encode()


trust_domain = TrustDomain(NAME)
root, _, _ = new(NAME, [x509.UniformResourceIdentifier(f"spiffe://{NAME}")])
jwt_key = ec.generate_private_key(ec.SECP256R1())
document = bundle_document(
    X509Bundle(trust_domain, {root}), JwtBundle(trust_domain, {"python-1": jwt_key.public_key()})
)
signer = ECKey.import_key(
    jwt_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
)
claims = {"sub": f"spiffe://{NAME}/service/python", "aud": ["here"], "exp": int(time.time()) + 600}
token = jwt.encode({"alg": "ES256", "typ": "JWT", "kid": "python-1"}, claims, signer)

authority, authority_name, authority_key = new("endpoint", [x509.DNSName("ca.example.org")])
server, _, server_key = new("localhost", [x509.DNSName("localhost")], ca=False, by=(authority_name, authority_key))
(FOLDER / "endpoint-ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
chain = FOLDER / "endpoint.pem"
chain.write_bytes(
    server.public_bytes(serialization.Encoding.PEM)
    + server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
)


class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(document)))
        self.end_headers()
        self.wfile.write(document)

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain)
listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
listener.socket = context.wrap_socket(listener.socket, server_side=True)
told = {"port": listener.server_address[1], "ca_file": str(FOLDER / "endpoint-ca.pem"), "token": token}
print(json.dumps(told), flush=True)
listener.serve_forever()
