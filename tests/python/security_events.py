"""Verifies security event tokens with joserfc, and signs some: JSON in, JSON out."""

import json
import sys

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

asked = json.load(sys.stdin)


def verified(token):
    event = jwt.decode(token, KeySet.import_key_set(asked["jwks"]), algorithms=["ES256"])
    return {"header": event.header, "claims": event.claims}


def signed(claims):
    key = ECKey.import_key(asked["key"])
    return jwt.encode({"alg": "ES256", "typ": "secevent+jwt", "kid": key.kid}, claims, key)


answer = {"verified": [verified(token) for token in asked.get("verify", [])]}
if asked.get("generate"):
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
    answer["key"] = key.as_dict(private=True)
    answer["jwks"] = {"keys": [key.as_dict(private=False)]}
answer["signed"] = [signed(claims) for claims in asked.get("sign", [])]
json.dump(answer, sys.stdout)
