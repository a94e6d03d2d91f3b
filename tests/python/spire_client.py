"""A server below, in Python: grpcio over the TLS of Python's own `ssl`, with the X.509-SVID that PyPI's `spiffe` fetches, asks for an
authority as SPIRE's client does.

Run by the end-to-end tests `upstream_spire`. Takes the address, the SPIFFE ID that the server has to have, and what to do; prints one
JSON object.
"""

import json
import socket
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from spiffe import X509Source

from spire_proto import generate

generate()
from spire.api.server.bundle.v1 import bundle_pb2, bundle_pb2_grpc  # noqa: E402
from spire.api.server.svid.v1 import svid_pb2, svid_pb2_grpc  # noqa: E402

ADDRESS, SERVER = sys.argv[1], sys.argv[2]
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER


def pem(certificates) -> bytes:
    return b"".join(one.public_bytes(PEM) for one in certificates)


def context(source: X509Source) -> ssl.SSLContext:
    """Shows the SVID, and believes the bundle that came with it: SPIFFE IDs are no host names."""
    svid = source.svid
    bundle = source.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    key = svid.private_key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    if SERVER == "anybody":
        tls.verify_mode = ssl.CERT_NONE
    else:
        tls.load_verify_locations(cadata=pem(bundle.x509_authorities).decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem(svid.cert_chain) + key)
        file.flush()
        tls.load_cert_chain(file.name)
    tls.set_alpn_protocols(["h2"])
    return tls


def connect(tls: ssl.SSLContext) -> ssl.SSLSocket:
    host, port = ADDRESS.rsplit(":", 1)
    stream = tls.wrap_socket(socket.create_connection((host, int(port))))
    if SERVER != "anybody":
        shown = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True))
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        assert uris == [SERVER], uris
        assert (stream.version(), stream.selected_alpn_protocol()) == ("TLSv1.3", "h2")
    return stream


def forward(near: socket.socket, far: ssl.SSLSocket) -> None:
    """grpcio insists on a host name in the certificate: it speaks plain to a socket of this process, which speaks TLS."""

    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for end in (near, far):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    threading.Thread(target=copy, args=(near, far), daemon=True).start()
    copy(far, near)


def channel(tls: ssl.SSLContext) -> grpc.Channel:
    far = connect(tls)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        near, _ = listener.accept()
        forward(near, far)

    threading.Thread(target=accept, daemon=True).start()
    return grpc.insecure_channel("127.0.0.1:%d" % listener.getsockname()[1])


def csr(key, name="python-server") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(DER)


def ask(svids, request: bytes, ttl=0):
    return svids.NewDownstreamX509CA(
        svid_pb2.NewDownstreamX509CARequest(csr=request, preferred_ttl=ttl), timeout=20
    )


def code(call) -> list:
    """How the server refuses."""
    try:
        call()
    except grpc.RpcError as error:
        stable = dict(error.trailing_metadata() or ()).get("marque-code")
        if stable is None:
            stable = dict(error.initial_metadata() or ()).get("marque-code")
        return [error.code().name, stable, error.details()]
    return ["OK", None, ""]


def signed(svids, key, ttl=0) -> dict:
    """An authority, held against what it has to be by `cryptography`."""
    answer = ask(svids, csr(key), ttl)
    chain = [x509.load_der_x509_certificate(der) for der in answer.ca_cert_chain]
    roots = [x509.load_der_x509_certificate(der) for der in answer.x509_authorities]
    own, issuer = chain[0], roots[0]
    own.verify_directly_issued_by(issuer)
    constraints = own.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        "chain": len(chain),
        "roots": len(roots),
        "own_key": own.public_key() == key.public_key(),
        "subject": own.subject.rfc4514_string(),
        "serial": "%x" % own.serial_number,
        "ca": [constraints.critical, constraints.value.ca, constraints.value.path_length],
        "usage": [usage.key_cert_sign, usage.crl_sign, usage.digital_signature],
        "uris": names.get_values_for_type(x509.UniformResourceIdentifier),
        "seconds": int((own.not_valid_after_utc - own.not_valid_before_utc).total_seconds()),
        "ends_with_root": own.not_valid_after_utc <= issuer.not_valid_after_utc,
    }


def everything(svids, bundles) -> dict:
    key = ec.generate_private_key(ec.SECP256R1())
    told = {
        "p256": signed(svids, key, 600),
        "p384": signed(svids, ec.generate_private_key(ec.SECP384R1())),
        "rsa": signed(svids, rsa.generate_private_key(65537, 2048), 2**31 - 1),
        "nameless": len(ask(svids, csr(key, "")).ca_cert_chain),
    }
    good = csr(key)
    tampered = bytearray(good)
    tampered[-1] ^= 1
    small = rsa.generate_private_key(65537, 1024)
    told["refused"] = {
        "nothing": code(lambda: ask(svids, b"")),
        "trailing": code(lambda: ask(svids, good + b"\0")),
        "tampered": code(lambda: ask(svids, bytes(tampered))),
        "small": code(lambda: ask(svids, csr(small))),
        "negative": code(lambda: ask(svids, good, -1)),
    }
    bundle = bundles.GetBundle(bundle_pb2.GetBundleRequest(), timeout=20)
    keys = [serialization.load_der_public_key(one.public_key) for one in bundle.jwt_authorities]
    told["bundle"] = {
        "trust_domain": bundle.trust_domain,
        "x509": len(bundle.x509_authorities),
        "tainted": [one.tainted for one in bundle.x509_authorities],
        "jwt": [type(key).__name__ for key in keys],
        "refresh_hint": bundle.refresh_hint,
        "sequence": bundle.sequence_number,
    }
    mask = bundle_pb2.GetBundleRequest()
    mask.output_mask.sequence_number = True
    told["masked"] = len(bundles.GetBundle(mask, timeout=20).x509_authorities)
    # No other call of SPIRE's server is there.
    other = svids_channel.unary_unary("/spire.api.server.svid.v1.SVID/MintX509SVID")
    told["unimplemented"] = code(lambda: other(b"", timeout=20))[0]
    told["burst"] = [code(lambda: ask(svids, good))[:2] for _ in range(12)]
    return told


with X509Source(timeout_in_seconds=30) as source:
    tls = context(source)
    if sys.argv[3] == "handshake":
        try:
            stream = connect(tls)
            stream.settimeout(20)
            told = {"read": stream.recv(1).hex()}
        except ssl.SSLError as error:
            told = {"refused": error.reason}
    else:
        svids_channel = channel(tls)
        stub = svid_pb2_grpc.SVIDStub(svids_channel)
        if sys.argv[3] == "everything":
            told = everything(stub, bundle_pb2_grpc.BundleStub(svids_channel))
        else:
            if sys.argv[3] == "held":
                # With a connection that stands already.
                folder = Path(sys.argv[4])
                (folder / "held").touch()
                while not (folder / "go").exists():
                    time.sleep(0.05)
            key = ec.generate_private_key(ec.SECP256R1())
            told = {"answer": code(lambda: ask(stub, csr(key)))}
            stub = bundle_pb2_grpc.BundleStub(svids_channel)
            told["bundle"] = code(lambda: stub.GetBundle(bundle_pb2.GetBundleRequest(), timeout=20))
json.dump(told, sys.stdout)
