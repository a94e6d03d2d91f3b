"""Reads a token status list with joserfc and the standard library's zlib: JSON in, JSON out."""

import base64
import json
import sys
import zlib

from joserfc import jwt
from joserfc.jwk import KeySet

asked = json.load(sys.stdin)
token = jwt.decode(asked["list"], KeySet.import_key_set(asked["jwks"]), algorithms=["ES256"])
claims = token.claims
packed = claims["status_list"]["lst"]
places = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
bits = claims["status_list"]["bits"]
per_byte = 8 // bits


def status(idx):
    return (places[idx // per_byte] >> (idx % per_byte * bits)) & ((1 << bits) - 1)


json.dump(
    {
        "typ": token.header["typ"],
        "sub": claims["sub"],
        "iat": claims["iat"],
        "exp": claims["exp"],
        "ttl": claims["ttl"],
        "places": len(places) * per_byte,
        "statuses": [status(idx) for idx in asked["idx"]],
    },
    sys.stdout,
)
