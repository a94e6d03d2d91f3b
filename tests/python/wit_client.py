"""A workload in Python that gets a WIT-SVID, verifies it by the bundle and proves that its key belongs to it.

The calls are made with gRPC alone: there is no client library for this profile yet. JOSE is PyPI's `joserfc`, which shares
no code with the daemon. Run by the end-to-end test `the_python_jose_library_verifies_a_wit_svid_and_its_key`.
"""

import json
import os
import sys

import grpc
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

HEADER = (("workload.spiffe.io", "true"),)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> list[tuple[int, bytes]]:
    """The length-delimited fields of a message; the profile has no others."""
    found, at = [], 0
    while at < len(data):
        tag, at = varint(data, at)
        assert tag & 7 == 2, "a field of another wire type"
        length, at = varint(data, at)
        found.append((tag >> 3, data[at : at + length]))
        at += length
    return found


def first(channel: grpc.Channel, method: str) -> bytes:
    """The first message of a stream."""
    call = channel.unary_stream(
        f"/SpiffeWorkloadAPI/{method}",
        request_serializer=lambda message: message,
        response_deserializer=lambda message: message,
    )
    return next(call(b"", metadata=HEADER, timeout=30))


def is_refused(token: str, key: ECKey) -> bool:
    """Whether a proof does not verify by a key."""
    try:
        jws.deserialize_compact(token, key, algorithms=["ES256"])
    except JoseError:
        return True
    return False


def main() -> None:
    with grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"]) as channel:
        svid = dict(fields(fields(first(channel, "FetchWITSVID"))[0][1]))
        bundles = [dict(fields(entry)) for _, entry in fields(first(channel, "FetchWITBundles"))]
    bundles = {entry[1].decode(): json.loads(entry[2]) for entry in bundles}
    spiffe_id = svid[1].decode()
    trust_domain = "/".join(spiffe_id.split("/")[:3])
    keys = bundles[trust_domain]
    # The library knows the registered uses `sig` and `enc` alone.
    known = KeySet.import_key_set({"keys": [{k: v for k, v in key.items() if k != "use"} for key in keys["keys"]]})
    token = jwt.decode(svid[2].decode(), known, algorithms=["ES256"])
    jwt.JWTClaimsRegistry(leeway=0, sub={"essential": True}, exp={"essential": True}).validate(token.claims)

    holder = ECKey.import_key(json.loads(svid[3]))
    confirmed = ECKey.import_key(token.claims["cnf"]["jwk"])
    proof = jws.serialize_compact({"alg": "ES256", "typ": "wpt+jwt"}, b"{}", holder)
    jws.deserialize_compact(proof, confirmed, algorithms=["ES256"])
    told = {
        "spiffe_id": spiffe_id,
        "subject": token.claims["sub"],
        "type": token.header["typ"],
        "headers": sorted(token.header),
        "claims": sorted(token.claims),
        "uses": sorted({key["use"] for key in keys["keys"]}),
        "thumbprint_is_kid": json.loads(svid[3])["kid"] == confirmed.thumbprint(),
        "same_thumbprint": holder.thumbprint() == confirmed.thumbprint(),
        "another_holder_refused": is_refused(proof, ECKey.generate_key("P-256")),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
