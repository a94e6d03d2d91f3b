"""An agent in Python that exchanges tokens with PyPI's `google-auth`, whose `sts.Client` is a client of RFC 8693.

Run by the end-to-end test `oauth_clients::python::oauth_2_google_auth_exchanges_tokens`;
the token to exchange comes on standard input:

    sts_client.py <endpoints.json> <trust domain> narrow <scope> <audience>
    sts_client.py <endpoints.json> <trust domain> delegate <scope> <audience>

Prints one JSON object: the answer, or the OAuth error.
"""

import json
import sys

from google.auth.exceptions import OAuthError
from google.auth.transport.requests import Request
from google.oauth2 import sts
from oauth_client import ACCESS_TOKEN_TYPE, ASSERTION_TYPE, JWT_TYPE, connect

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"


class SvidClient(sts.Client):
    """Client authentication by a JWT-SVID, where the library has client secrets."""

    def __init__(self, endpoint: str, svid: str):
        super().__init__(endpoint)
        self.svid = svid

    def apply_client_authentication_options(self, headers, request_body=None, bearer_token=None):
        request_body["client_assertion_type"] = ASSERTION_TYPE
        request_body["client_assertion"] = self.svid


def main(file: str, trust_domain: str, deed: str, scope: str, audience: str) -> None:
    at, session, svid, _client = connect(file, trust_domain)
    actor = {"actor_token": svid, "actor_token_type": JWT_TYPE} if deed == "delegate" else {}
    try:
        told = SvidClient(at["token_endpoint"], svid).exchange_token(
            Request(session),
            GRANT_TYPE,
            sys.stdin.read().strip(),
            ACCESS_TOKEN_TYPE,
            audience=audience,
            scopes=[scope],
            requested_token_type=ACCESS_TOKEN_TYPE,
            **actor,
        )
    except OAuthError as error:
        told = json.loads(error.args[1])
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
