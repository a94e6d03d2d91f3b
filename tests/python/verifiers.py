"""Two verifiers of access tokens: PyPI's `authlib`, by RFC 9068, and `joserfc`, by the JOSE specifications.

Run by the end-to-end test `oauth_clients::python::oauth_9_authlib_and_joserfc_verify_access_tokens`.
Reads one JSON object, `jwks`,
`issuer`, `audience`, `scope` and `tokens`, and prints for each verifier the subject or the name of the error, by token.
"""

import json
import sys

from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

asked = json.load(sys.stdin)


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return KeySet.import_key_set(asked["jwks"])


def with_authlib(token: str) -> dict:
    validator = Validator(asked["issuer"], asked["audience"])
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, [asked["scope"]], None)
    return claims


def with_joserfc(token: str) -> dict:
    verified = jwt.decode(token, KeySet.import_key_set(asked["jwks"]), algorithms=["ES256"])
    if verified.header["typ"] != "at+jwt":
        raise ValueError("typ")
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": asked["issuer"]},
        aud={"essential": True, "value": asked["audience"]},
        exp={"essential": True},
    ).validate(verified.claims)
    return verified.claims


def outcome(verify, token: str) -> dict:
    try:
        return {"sub": verify(token)["sub"]}
    except (JoseError, OAuth2Error, ValueError) as error:
        return {"refused": type(error).__name__}


json.dump(
    {
        name: {what: outcome(verify, token) for what, token in asked["tokens"].items()}
        for name, verify in {"authlib": with_authlib, "joserfc": with_joserfc}.items()
    },
    sys.stdout,
)
