"""A witness of transparency logs (C2SP tlog-witness and tlog-cosignature), written from the specifications.

    witness.py NAME SEED [CERTIFICATE KEY]

It prints {"port": ..., "control": ..., "key": vkey} on one line, and serves until it is ended: over TLS with a certificate. On the
port `control`, which is plain, `POST /control` takes
{"trust": vkey} for the key of a log, and {"manner": "honest" | "false" | "other_key"} for what it does then. `GET /seen` says
what it was asked, and what it answered.
"""

import base64
import hashlib
import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Refused(Exception):
    def __init__(self, status, body=b"", media_type="text/plain"):
        self.status, self.body, self.media_type = status, body, media_type


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_consistent(old, old_root, new, new_root, proof):
    """RFC 9162 section 2.1.4.2; the sizes differ, and neither is zero."""
    if old & (old - 1) == 0:
        proof = [old_root] + proof
    if not proof:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for hash in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(hash, fr), node(hash, sr)
            while fn != 0 and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, hash)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def decimal(text):
    if not text.isascii() or not text.isdigit() or str(int(text)) != text:
        raise Refused(400)
    return int(text)


class Witness:
    def __init__(self, name, seed):
        self.name = name
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
        self.other = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"other" + seed.encode()).digest())
        self.logs, self.latest, self.seen = {}, {}, []
        self.manner, self.lock = "honest", threading.Lock()

    def public(self, key):
        return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def vkey(self):
        public = self.public(self.key)
        material = base64.b64encode(b"\x04" + public).decode()
        return f"{self.name}+{key_id(self.name, 4, public).hex()}+{material}"

    def trust(self, vkey):
        name, _, material = vkey.split("+", 2)
        material = base64.b64decode(material)
        assert material[0] == 1 and len(material) == 33
        self.logs[name] = material[1:]

    def cosign(self, body):
        now = int(time.time())
        key = self.other if self.manner == "other_key" else self.key
        said = body if self.manner != "false" else body + "false\n"
        signature = key.sign(f"cosignature/v1\ntime {now}\n{said}".encode())
        blob = key_id(self.name, 4, self.public(key)) + now.to_bytes(8, "big") + signature
        return f"\u2014 {self.name} {base64.b64encode(blob).decode()}\n"

    def add_checkpoint(self, request):
        head, _, note = request.partition("\n\n")
        first, *lines = head.split("\n")
        if not first.startswith("old "):
            raise Refused(400)
        old, proof = decimal(first[4:]), [base64.b64decode(line, validate=True) for line in lines]
        body, _, signatures = note.rpartition("\n\n")
        body += "\n"
        if len(proof) > 63 or any(len(hash) != 32 for hash in proof) or not note.endswith("\n"):
            raise Refused(400)
        origin, size, root = body.split("\n")[:3]
        size, root = decimal(size), base64.b64decode(root, validate=True)
        public = self.logs.get(origin)
        if public is None:
            raise Refused(404)
        self.check_signature(origin, public, body, signatures)
        if old > size:
            raise Refused(400)
        known, known_root = self.latest.get(origin, (0, None))
        if old != known:
            raise Refused(409, f"{known}\n".encode(), "text/x.tlog.size")
        if old == 0:
            if proof:
                raise Refused(422)
        elif old == size:
            if proof or root != known_root:
                raise Refused(409, f"{known}\n".encode(), "text/x.tlog.size")
        elif not is_consistent(old, known_root, size, root, proof):
            raise Refused(422)
        answer = self.cosign(body)
        if self.manner == "honest":
            self.latest[origin] = (size, root)
        return answer

    def check_signature(self, origin, public, body, signatures):
        own = key_id(origin, 1, public)
        for line in signatures.removesuffix("\n").split("\n"):
            dash, name, blob = line.split(" ")
            blob = base64.b64decode(blob, validate=True)
            if dash == "\u2014" and name == origin and blob[:4] == own:
                try:
                    return Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], body.encode())
                except InvalidSignature:
                    raise Refused(403)
        raise Refused(403)


def handler(witness):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self, status, body, media_type="text/plain; charset=utf-8"):
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer(200, json.dumps(witness.seen).encode(), "application/json")

        def do_POST(self):
            request = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with witness.lock:
                if self.path == "/control":
                    order = json.loads(request)
                    if "trust" in order:
                        witness.trust(order["trust"])
                    witness.manner = order.get("manner", witness.manner)
                    return self.answer(200, b"")
                if self.path != "/log/add-checkpoint":
                    return self.answer(405, b"")
                seen = {"old": request.split("\n", 1)[0], "hashes": request.split("\n\n", 1)[0].count("\n")}
                try:
                    body, status, media_type = witness.add_checkpoint(request).encode(), 200, "text/plain"
                except Refused as refused:
                    body, status, media_type = refused.body, refused.status, refused.media_type
                witness.seen.append(seen | {"status": status})
                self.answer(status, body, media_type)

    return Handler


def main():
    name, seed, *tls = sys.argv[1:]
    witness = Witness(name, seed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(witness))
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    control = ThreadingHTTPServer(("127.0.0.1", 0), handler(witness))
    threading.Thread(target=control.serve_forever, daemon=True).start()
    ports = {"port": server.server_address[1], "control": control.server_address[1]}
    print(json.dumps(ports | {"key": witness.vkey()}), flush=True)
    server.serve_forever()


main()
