"""An agent in Python: PyPI's `requests-oauth2client` exchanges an SVID and an intent, and introspects the token.

Run by the end-to-end test `the_python_oauth_client_exchanges_and_introspects`:

    oauth_client.py <endpoints.json> <trust domain> ask
    oauth_client.py <endpoints.json> <trust domain> exchange <intent>
    oauth_client.py <endpoints.json> <trust domain> introspect      # the token comes on standard input

Prints one JSON object: the answer, or the OAuth error with its extension members.
"""

import json
import sys
from urllib.parse import parse_qs

import requests
from attrs import field, frozen
from requests_oauth2client import OAuth2Client
from requests_oauth2client.client_authentication import BaseClientAuthenticationMethod
from requests_oauth2client.exceptions import OAuth2Error
from spiffe import WorkloadApiClient

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


@frozen
class JwtSpiffe(BaseClientAuthenticationMethod):
    """Client authentication by a JWT-SVID (draft-ietf-oauth-spiffe-client-auth)."""

    svid: str = field(repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request = super().__call__(request)
        fields = parse_qs(request.body, strict_parsing=True) if request.body else {}
        fields["client_id"] = [self.client_id]
        fields["client_assertion_type"] = [ASSERTION_TYPE]
        fields["client_assertion"] = [self.svid]
        request.prepare_body(fields, files=None)
        return request


def place(file: str, trust_domain: str) -> dict:
    with open(file, encoding="utf-8") as endpoints:
        places = json.load(endpoints)["trust_domains"]
    return next(one for one in places if one["name"] == trust_domain)


def ask(at: dict, session: requests.Session, svid: str) -> dict:
    body = {
        "playbook": "ingress-cert-rotation",
        "parameters": {"service": "checkout", "region": "us-east-1"},
        "ticket": "CHG-1842",
    }
    answer = session.post(at["intents_url"], json=body, headers={"Authorization": f"Bearer {svid}"}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def exchange(client: OAuth2Client, svid: str, intent: str) -> dict:
    details = [{"type": "marque_intent", "intent_id": intent}]
    token = client.token_exchange(
        subject_token=svid, subject_token_type=JWT_TYPE, authorization_details=json.dumps(details)
    )
    return {"access_token": token.access_token, "scope": token.scope, "expires_in": token.expires_in}


def main(file: str, trust_domain: str, deed: str, *arguments: str) -> None:
    at = place(file, trust_domain)
    with WorkloadApiClient() as workload:
        svid = workload.fetch_jwt_svid({at["issuer_url"]})
    session = requests.Session()
    session.trust_env = False  # neither proxies nor REQUESTS_CA_BUNDLE, which would override the next line
    session.verify = at["ca_file"]
    metadata = session.get(f"{at['issuer_url']}/.well-known/oauth-authorization-server", timeout=30).json()
    client = OAuth2Client.from_discovery_document(
        metadata, issuer=at["issuer_url"], session=session, auth=JwtSpiffe(str(svid.spiffe_id), svid.token), testing=True
    )
    try:
        if deed == "ask":
            told = ask(at, session, svid.token)
        elif deed == "exchange":
            told = exchange(client, svid.token, *arguments)
        else:
            told = dict(client.introspect_token(sys.stdin.read().strip()))
    except OAuth2Error as error:
        told = error.response.json()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
