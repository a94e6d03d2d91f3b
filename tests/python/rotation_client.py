"""A peer in Python: verifies what the Workload API gives it, over and over, while authorities rotate.

PyPI's `spiffe` fetches, `cryptography` verifies certificates, `joserfc` tokens. Run by the end-to-end tests of authorities with an
audience and for how many seconds. Prints one JSON object.
"""

import json
import sys
import time

from cryptography.exceptions import InvalidSignature
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from spiffe import JwtSource, X509Source
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import import_key


def issued_by_one_of(leaf, roots) -> bool:
    """Whether one of the roots signed the leaf."""
    for root in roots:
        try:
            leaf.verify_directly_issued_by(root)
            return True
        except (InvalidSignature, ValueError):
            continue
    return False


def key_set(authorities) -> KeySet:
    """The keys of a JWT bundle, for joserfc."""
    keys = []
    for kid, key in authorities.items():
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        kind = "RSA" if hasattr(key, "public_numbers") and hasattr(key.public_numbers(), "n") else "EC"
        keys.append(import_key(pem, kind, {"kid": kid}))
    return KeySet(keys)


def verified(token: str, keys: KeySet, audience: str) -> bool:
    """Whether joserfc takes the token."""
    try:
        claims = jwt.decode(token, keys, algorithms=["ES256", "RS256"]).claims
    except (JoseError, ValueError):
        return False
    return audience in claims["aud"] and claims["exp"] > time.time()


def main(audience: str, seconds: float) -> None:
    told = {"certificates": 0, "tokens": 0, "failures": [], "kids": [], "roots": 0}
    kids = set()
    end = time.monotonic() + seconds
    with X509Source(timeout_in_seconds=30) as x509, JwtSource(timeout_in_seconds=30) as source:
        while time.monotonic() < end:
            svid = x509.svid
            bundle = x509.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
            roots = bundle.x509_authorities
            told["roots"] = max(told["roots"], len(roots))
            if issued_by_one_of(svid.leaf, roots):
                told["certificates"] += 1
            else:
                told["failures"].append("certificate")
            token = source.fetch_svid({audience})
            bundle = source.get_bundle_for_trust_domain(token.spiffe_id.trust_domain)
            if verified(token.token, key_set(bundle.jwt_authorities), audience):
                told["tokens"] += 1
            else:
                told["failures"].append("token")
            kids.add(json.loads(header(token.token))["kid"])
            time.sleep(0.1)
    told["kids"] = sorted(kids)
    print(json.dumps(told))


def header(token: str) -> bytes:
    """The header of a compact JWS."""
    import base64

    first = token.split(".")[0]
    return base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
