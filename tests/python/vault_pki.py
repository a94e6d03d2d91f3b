"""The PKI secrets engine of a Vault, as far as an intermediate is signed: POST /v1/pki/agents/root/sign-intermediate.

Written after the published HTTP API, over PyPI's `cryptography`. Arguments: the folder to keep things in, the environment that
the root names, and the certificate and key of its TLS listener. It prints its port. `mode` in the folder says what it does:
`sign`, or `down`; `token` what it takes. What it was asked stands in `seen.jsonl`, a line each.
"""

import datetime
import http.server
import json
import pathlib
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

FOLDER, ENVIRONMENT, CERTIFICATE, KEY = pathlib.Path(sys.argv[1]), *sys.argv[2:5]
PATH = "/v1/pki/agents/root/sign-intermediate"
NOW = datetime.datetime.now(datetime.timezone.utc)

root_key = ec.generate_private_key(ec.SECP256R1())
root_name = x509.Name([
    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ENVIRONMENT),
    x509.NameAttribute(NameOID.COMMON_NAME, "the root of a vault"),
])


def usages(certificates):
    return x509.KeyUsage(False, False, False, False, False, certificates, certificates, False, False)


root = (
    x509.CertificateBuilder()
    .subject_name(root_name)
    .issuer_name(root_name)
    .public_key(root_key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(NOW - datetime.timedelta(minutes=1))
    .not_valid_after(NOW + datetime.timedelta(days=3650))
    .add_extension(x509.BasicConstraints(True, 1), True)
    .add_extension(usages(True), True)
    .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), False)
    .sign(root_key, hashes.SHA256())
)


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def signed(asked):
    request = x509.load_pem_x509_csr(asked["csr"].encode())
    assert request.is_signature_valid and asked["use_csr_values"]
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    now = datetime.datetime.now(datetime.timezone.utc)
    lifetime = datetime.timedelta(seconds=int(asked["ttl"].removesuffix("s")))
    return (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(root_name)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        # The engine backdates by half a minute.
        .not_valid_before(now - datetime.timedelta(seconds=30))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(True, asked["max_path_length"]), True)
        .add_extension(usages(True), True)
        .add_extension(names.value, names.critical)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )


class Engine(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        token = self.headers["x-vault-token"]
        with open(FOLDER / "seen.jsonl", "a") as seen:
            print(json.dumps({"path": self.path, "token": token, "ttl": asked["ttl"]}), file=seen)
        if (FOLDER / "mode").read_text() == "down":
            self.answer(503, {"errors": ["Vault is sealed"]})
        elif self.path != PATH:
            self.answer(404, {"errors": ["no handler for route"]})
        elif token != (FOLDER / "token").read_text():
            self.answer(403, {"errors": ["permission denied"]})
        else:
            certificate = signed(asked)
            data = {
                "certificate": pem(certificate),
                "issuing_ca": pem(root),
                "ca_chain": [pem(root)],
                "serial_number": format(certificate.serial_number, "x"),
                "expiration": int(certificate.not_valid_after_utc.timestamp()),
            }
            self.answer(200, {"request_id": "0", "lease_duration": 0, "renewable": False, "data": data})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


(FOLDER / "root.pem").write_text(pem(root))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
