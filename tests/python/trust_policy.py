"""What clouds would say: the trust policies that `marque trust-policy` makes, evaluated over the claims of tokens.

Run by the end-to-end test `clouds`. Reads one JSON object, `aws`, `gcp`, `azure` (the documents) and `tokens` (claims by name), and
prints for each cloud and token whether it is believed. The conditions of AWS are `StringEquals` over the keys that STS makes of a
token; those of Google Cloud are evaluated by PyPI's `cel-python`; Entra compares three values.
"""

import json
import sys

import celpy

asked = json.load(sys.stdin)


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def by_aws(claims: dict) -> bool:
    (statement,) = asked["aws"]["Statement"]
    provider = statement["Principal"]["Federated"].split(":oidc-provider/")[1]
    if claims.get("iss") != f"https://{provider}":
        return False
    context = {f"{provider}:aud": claims.get("aud"), f"{provider}:sub": claims.get("sub")}
    tags = claims.get("https://aws.amazon.com/tags", {}).get("principal_tags", {})
    context |= {f"aws:RequestTag/{name}": value for name, (value,) in tags.items()}
    if tags and "sts:TagSession" not in statement["Action"]:
        return False
    assert set(statement["Condition"]) == {"StringEquals"}
    conditions = statement["Condition"]["StringEquals"]
    return all(
        isinstance(context.get(key), str) and context[key] in listed(wanted)
        for key, wanted in conditions.items()
    )


def cel(expression: str, claims: dict):
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression))
    return program.evaluate({"assertion": celpy.json_to_cel(claims)})


def by_gcp(claims: dict) -> bool:
    provider = asked["gcp"]["provider"]
    if claims.get("iss") != provider["oidc"]["issuerUri"]:
        return False
    if claims.get("aud") not in provider["oidc"]["allowedAudiences"]:
        return False
    try:
        if not cel(provider["attributeCondition"], claims):
            return False
        subject = str(cel(provider["attributeMapping"]["google.subject"], claims))
        for expression in provider["attributeMapping"].values():
            cel(expression, claims)
    except celpy.CELEvalError:
        return False
    if len(subject.encode()) > 127:
        return False
    pool = provider["name"].split("/providers/")[0]
    member = f"principal://iam.googleapis.com/{pool}/subject/{subject}"
    return member in asked["gcp"]["binding"]["members"]


def by_azure(claims: dict) -> bool:
    return any(
        claims.get("iss") == one["issuer"]
        and claims.get("sub") == one["subject"]
        and claims.get("aud") in one["audiences"]
        for one in asked["azure"]
    )


json.dump(
    {
        cloud: {name: believed(claims) for name, claims in asked["tokens"].items()}
        for cloud, believed in {"aws": by_aws, "gcp": by_gcp, "azure": by_azure}.items()
    },
    sys.stdout,
)
