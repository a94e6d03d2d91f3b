"""An agent in Python: PyPI's `requests-oauth2client` exchanges an SVID and an intent, and does what else a client does.

Run by the end-to-end tests `python` and `oauth_clients::python`:

    oauth_client.py <endpoints.json> <trust domain> <deed> [arguments]

    ask                             the production playbook at the intents API
    exchange <intent>               the SVID and the intent for a token
    inline <request>                the SVID for a token, with the request in `authorization_details` (RFC 9396)
    delegate                        another agent's token for one of its own, as its actor
    introspect, revoke              what it says; tokens come on standard input
    backchannel <hint> <message>    begins CIBA for the production playbook
    poll <auth_req_id> <interval>   polls once, after so many seconds

Prints one JSON object: the answer, or the OAuth error with its extension members.
"""

import json
import sys
from urllib.parse import parse_qs

import requests
from attrs import field, frozen
from requests_oauth2client import BackChannelAuthenticationPollingJob, BearerToken, OAuth2Client
from requests_oauth2client.client_authentication import BaseClientAuthenticationMethod
from requests_oauth2client.exceptions import OAuth2Error
from spiffe import WorkloadApiClient

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
ROTATION = {
    "playbook": "ingress-cert-rotation",
    "parameters": {"service": "checkout", "region": "us-east-1"},
    "ticket": "CHG-1842",
}


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
    answer = session.post(at["intents_url"], json=ROTATION, headers={"Authorization": f"Bearer {svid}"}, timeout=30)
    answer.raise_for_status()
    return answer.json()


def told(token: BearerToken) -> dict:
    return {name: getattr(token, name) for name in ("access_token", "token_type", "scope", "expires_in")} | {
        "authorization_details": token.authorization_details
    }


def exchange(client: OAuth2Client, svid: str, detail: dict) -> dict:
    details = json.dumps([{"type": "marque_intent"} | detail])
    return told(
        client.token_exchange(subject_token=svid, subject_token_type=JWT_TYPE, authorization_details=details)
    )


def delegate(client: OAuth2Client, svid: str, token: str) -> dict:
    return told(
        client.token_exchange(
            subject_token=token, subject_token_type=ACCESS_TOKEN_TYPE, actor_token=svid, actor_token_type=JWT_TYPE
        )
    )


def backchannel(client: OAuth2Client, hint: str, message: str) -> dict:
    details = json.dumps([{"type": "marque_intent"} | ROTATION])
    asked = client.backchannel_authentication_request(
        login_hint=hint, binding_message=message, authorization_details=details
    )
    return {name: getattr(asked, name) for name in ("auth_req_id", "intent_id", "interval", "expires_in")}


def poll(client: OAuth2Client, auth_req_id: str, interval: str) -> dict:
    job = BackChannelAuthenticationPollingJob(client, auth_req_id)
    job.interval = int(interval)
    token = job()
    return {"pending": True, "interval": job.interval} if token is None else told(token)


def connect(file: str, trust_domain: str, **options) -> tuple[dict, requests.Session, str, OAuth2Client]:
    """The endpoints, a session, the SVID of this process and its client, by what the issuer says of itself."""
    at = place(file, trust_domain)
    with WorkloadApiClient() as workload:
        svid = workload.fetch_jwt_svid({at["issuer_url"]})
    session = requests.Session()
    session.trust_env = False  # neither proxies nor REQUESTS_CA_BUNDLE, which would override the next line
    session.verify = at["ca_file"]
    metadata = session.get(f"{at['issuer_url']}/.well-known/oauth-authorization-server", timeout=30).json()
    client = OAuth2Client.from_discovery_document(
        metadata,
        issuer=at["issuer_url"],
        session=session,
        auth=JwtSpiffe(str(svid.spiffe_id), svid.token),
        testing=True,
        # The one endpoint that the library does not look up.
        backchannel_authentication_endpoint=metadata.get("backchannel_authentication_endpoint"),
        **options,
    )
    return at, session, svid.token, client


def main(file: str, trust_domain: str, deed: str, *arguments: str) -> None:
    at, session, svid, client = connect(file, trust_domain)
    deeds = {
        "ask": lambda: ask(at, session, svid),
        "exchange": lambda intent: exchange(client, svid, {"intent_id": intent}),
        "inline": lambda request: exchange(client, svid, json.loads(request)),
        "delegate": lambda: delegate(client, svid, sys.stdin.read().strip()),
        "introspect": lambda: dict(client.introspect_token(sys.stdin.read().strip())),
        "revoke": lambda: {"revoked": client.revoke_access_token(sys.stdin.read().strip())},
        "backchannel": lambda hint, message: backchannel(client, hint, message),
        "poll": lambda auth_req_id, interval: poll(client, auth_req_id, interval),
    }
    try:
        answer = deeds[deed](*arguments)
    except OAuth2Error as error:
        answer = error.response.json()
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
