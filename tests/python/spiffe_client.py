"""A workload in Python: PyPI's `spiffe` client gets its identities from the socket in SPIFFE_ENDPOINT_SOCKET.

Run by the end-to-end test `the_python_spiffe_client_gets_and_validates_identities`. Prints one JSON object.
"""

import json
import sys

from spiffe import JwtSource, JwtSvid, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError


def refused(call) -> bool:
    """Whether the client reports an error."""
    try:
        call()
    except PySpiffeError:
        return True
    return False


def main(audience: str) -> None:
    told = {}
    with X509Source(timeout_in_seconds=30) as source:
        svid = source.svid
        bundle = source.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
        told["x509_svid"] = str(svid.spiffe_id)
        told["trust_domain"] = str(bundle.trust_domain)
        root = next(iter(bundle.x509_authorities))
        svid.leaf.verify_directly_issued_by(root)
    with JwtSource(timeout_in_seconds=30) as source:
        token = source.fetch_svid({audience})
        told["jwt_svid"] = str(token.spiffe_id)
        bundle = source.get_bundle_for_trust_domain(token.spiffe_id.trust_domain)
        parsed = JwtSvid.parse_and_validate(token.token, bundle, {audience})
        told["parsed_with_bundle"] = str(parsed.spiffe_id)
    with WorkloadApiClient() as client:
        told["validated"] = str(client.validate_jwt_svid(token.token, audience).spiffe_id)
        told["wrong_audience_refused"] = refused(
            lambda: client.validate_jwt_svid(token.token, "https://other.example.org")
        )
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
