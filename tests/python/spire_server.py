"""A server and an agent with SPIRE's API, as far as a server below needs them: grpcio, and certificates by PyPI's `cryptography`, with
subjects such as SPIRE gives, which name no environment.

Run by the end-to-end tests `upstream_spire` and `upstream_tiers`. Takes the trust domain's name and a folder; prints one line of JSON
(`server`, `agent`, `root_sha256`, `other_sha256`) and serves until it is killed. What it was asked is in the folder, in `asked`. What it
says of its bundle is what the file `says` names: one of SAYS, `good` where there is none.
"""

import datetime
import json
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spire_proto import generate

generate()
import workload_pb2  # noqa: E402
import workload_pb2_grpc  # noqa: E402
from spire.api.server.bundle.v1 import bundle_pb2_grpc  # noqa: E402
from spire.api.server.svid.v1 import svid_pb2, svid_pb2_grpc  # noqa: E402
from spire.api.types import bundle_pb2  # noqa: E402

NAME, FOLDER = sys.argv[1], Path(sys.argv[2])
DER = serialization.Encoding.DER
PEM = serialization.Encoding.PEM
PKCS8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def subject(*units: str) -> x509.Name:
    names = [(NameOID.COUNTRY_NAME, "US"), (NameOID.ORGANIZATION_NAME, "SPIFFE")]
    names += [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in names])


def sign(name, public_key, uri, ca, seconds, by=None):
    """A certificate by (issuer, key), or of itself."""
    issuer, issuer_key = by
    now = datetime.datetime.now(datetime.timezone.utc)
    rest = ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"]
    usage = x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **dict.fromkeys(rest, False)
    )
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(seconds=10))
        .not_valid_after(now + datetime.timedelta(seconds=seconds))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(issuer_id, critical=False)
    )
    if not ca:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


TRUST_DOMAIN = f"spiffe://{NAME}"
root_key = ec.generate_private_key(ec.SECP256R1())
root = sign(subject(), root_key.public_key(), TRUST_DOMAIN, True, 365 * 86400, (subject(), root_key))
ROOT = (subject(), root_key)
other_key = ec.generate_private_key(ec.SECP256R1())
other = sign(subject("other"), other_key.public_key(), TRUST_DOMAIN, True, 365 * 86400, (subject("other"), other_key))
# The sequence, and the roots.
SAYS = {
    "good": (5, [root.public_bytes(DER)]),
    "both": (6, [root.public_bytes(DER), other.public_bytes(DER)]),
    "empty": (7, []),
    "nonsense": (7, [b"nonsense"]),
    "back": (4, [root.public_bytes(DER), other.public_bytes(DER)]),
    "silent": None,
}


def svid(path: str):
    key = ec.generate_private_key(ec.SECP256R1())
    return sign(subject("SPIRE"), key.public_key(), TRUST_DOMAIN + path, False, 3600, ROOT), key


class Svids(svid_pb2_grpc.SVIDServicer):
    def NewDownstreamX509CA(self, request, context):
        shown = x509.load_pem_x509_certificate(context.auth_context()["x509_pem_cert"][0])
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        asked = x509.load_der_x509_csr(request.csr)
        if not asked.is_signature_valid:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "invalid CSR: signature verification failed")
        seconds = request.preferred_ttl or 3600
        signed = sign(subject("DOWNSTREAM-1"), asked.public_key(), TRUST_DOMAIN, True, seconds, ROOT)
        with (FOLDER / "asked").open("a") as log:
            caller = names.get_values_for_type(x509.UniformResourceIdentifier)
            log.write(json.dumps({"by": caller, "ttl": request.preferred_ttl}) + "\n")
        return svid_pb2.NewDownstreamX509CAResponse(
            ca_cert_chain=[signed.public_bytes(DER)], x509_authorities=[root.public_bytes(DER)]
        )


class Bundles(bundle_pb2_grpc.BundleServicer):
    def GetBundle(self, request, context):
        file = FOLDER / "says"
        says = file.read_text() if file.exists() else "good"
        with (FOLDER / "told").open("a") as log:
            log.write(says + "\n")
        if SAYS[says] is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not today")
        sequence, roots = SAYS[says]
        key = other_key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return bundle_pb2.Bundle(
            trust_domain=NAME,
            x509_authorities=[bundle_pb2.X509Certificate(asn1=one) for one in roots],
            jwt_authorities=[bundle_pb2.JWTKey(public_key=key, key_id="of-spire", expires_at=4102444800)],
            refresh_hint=1,
            sequence_number=sequence,
        )


class Agent(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    def FetchX509SVID(self, request, context):
        headers = dict(context.invocation_metadata())
        if headers.get("workload.spiffe.io") != "true":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        leaf, key = svid("/issuer/below")
        one = workload_pb2.X509SVID(
            spiffe_id=TRUST_DOMAIN + "/issuer/below",
            x509_svid=leaf.public_bytes(DER),
            x509_svid_key=key.private_bytes(DER, *PKCS8),
            bundle=root.public_bytes(DER),
        )
        yield workload_pb2.X509SVIDResponse(svids=[one])
        # A stream stays open until the caller goes.
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait()


own, own_key = svid("/spire/server")
credentials = grpc.ssl_server_credentials(
    [(own_key.private_bytes(PEM, *PKCS8), own.public_bytes(PEM))],
    root_certificates=root.public_bytes(PEM),
    require_client_auth=True,
)
server = grpc.server(futures.ThreadPoolExecutor(8))
svid_pb2_grpc.add_SVIDServicer_to_server(Svids(), server)
bundle_pb2_grpc.add_BundleServicer_to_server(Bundles(), server)
port = server.add_secure_port("127.0.0.1:0", credentials)
agent = grpc.server(futures.ThreadPoolExecutor(8))
workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(Agent(), agent)
agent_socket = FOLDER / "agent.sock"
agent.add_insecure_port(f"unix:{agent_socket}")
server.start()
agent.start()
(FOLDER / "root.pem").write_bytes(root.public_bytes(PEM))
told = {
    "server": f"127.0.0.1:{port}",
    "agent": str(agent_socket),
    "root_sha256": root.fingerprint(hashes.SHA256()).hex(),
    "other_sha256": other.fingerprint(hashes.SHA256()).hex(),
}
print(json.dumps(told), flush=True)
server.wait_for_termination()
