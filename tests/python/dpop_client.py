"""An agent in Python that binds its token to a key: PyPI's `requests-oauth2client` and its own DPoP.

Run by the end-to-end test `the_python_oauth_client_binds_its_token_after_a_nonce`:

    dpop_client.py <endpoints.json> <trust domain> ask
    dpop_client.py <endpoints.json> <trust domain> exchange <intent>

Prints one JSON object. The client begins without a nonce, is told `use_dpop_nonce`, and asks again on its own.
"""

import json
import sys

from oauth_client import JWT_TYPE, ask, connect


def main(file: str, trust_domain: str, deed: str, *arguments: str) -> None:
    at, session, svid, client = connect(file, trust_domain, dpop_bound_access_tokens=True)
    if deed == "ask":
        print(json.dumps(ask(at, session, svid)))
        return
    metadata = session.get(f"{at['issuer_url']}/.well-known/oauth-authorization-server", timeout=30).json()
    answers = []
    session.hooks["response"].append(lambda answer, **_: answers.append(answer))
    details = [{"type": "marque_intent", "intent_id": arguments[0]}]
    token = client.token_exchange(
        subject_token=svid, subject_token_type=JWT_TYPE, authorization_details=json.dumps(details), dpop=True
    )
    print(
        json.dumps(
            {
                "access_token": token.access_token,
                "token_type": token.token_type,
                "jkt": token.dpop_key.dpop_jkt,
                "statuses": [answer.status_code for answer in answers],
                "errors": [answer.json().get("error") for answer in answers],
                "nonces": [answer.headers.get("DPoP-Nonce") for answer in answers],
                "algorithms": metadata["dpop_signing_alg_values_supported"],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
