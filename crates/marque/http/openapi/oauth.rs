//! The endpoints of the token service.

use marque_exchange::{Endpoint, GRANT_TYPE_TOKEN_EXCHANGE, INTROSPECTION_MEDIA_TYPE, Offers};
use marque_status_list::{KILL_STATE_MEDIA_TYPE, STATUS_LIST_MEDIA_TYPE};
use serde_json::{Value, json};

use super::operation::{FORM, JSON, Operation, path, reference};

pub(super) fn paths(offers: &Offers) -> Vec<(String, Value)> {
    // The keys are described with what anybody may read.
    let mut paths: Vec<_> = Endpoint::offered(offers)
        .filter_map(|endpoint| Some(path(endpoint.path(), [operation(endpoint, offers)?])))
        .collect();
    if Endpoint::StatusLists.is_offered(offers) {
        let one = format!("{}/{{list}}", Endpoint::StatusLists.path());
        paths.push(path(&one, [status_list()]));
    }
    paths
}

fn operation(endpoint: Endpoint, offers: &Offers) -> Option<Operation> {
    match endpoint {
        Endpoint::Token => Some(token(offers)),
        Endpoint::Introspection => Some(introspection(offers)),
        Endpoint::BackchannelAuthentication => Some(backchannel(offers)),
        Endpoint::Revocation => Some(revocation(offers)),
        Endpoint::AttestationChallenge => Some(challenge()),
        Endpoint::StatusLists => Some(status_lists()),
        Endpoint::KillState => Some(kill_state()),
        Endpoint::Jwks => None,
    }
}

/// What a client sends a form to, having said who it is.
fn form(
    id: &'static str,
    summary: &'static str,
    schema: &'static str,
    example: &Value,
    offers: &Offers,
) -> Operation {
    // The assertion is in the body, for which the specification has no scheme.
    let schemes: &[&str] = if offers.mutual_tls { &["", "x509_svid"] } else { &[""] };
    let operation = Operation::new("post", "tokens", id, summary)
        .secured(schemes)
        .body(FORM, schema, example)
        .refusal(400, "refused, with a code of RFC 6749 5.2 or an extension of it")
        .refusal(
            401,
            "the client tried the `Authorization` header, which authenticates nobody here",
        )
        .header(401, "WWW-Authenticate", "the scheme that failed")
        .refusal(413, "the body is too large")
        .refusal(503, "nothing was issued: storage or signing is out of reach");
    let fresh = [
        (offers.dpop, "DPoP-Nonce", "for the next DPoP proof, where one came"),
        (
            offers.wit_client_authentication,
            "OAuth-Client-Attestation-Challenge",
            "for the next proof beside a client attestation, where one came",
        ),
    ];
    let fresh = fresh.into_iter().filter(|(offered, ..)| *offered);
    fresh.fold(operation, |operation, (_, name, what)| operation.header(400, name, what))
}

fn token(offers: &Offers) -> Operation {
    let example = json!({
        "grant_type": GRANT_TYPE_TOKEN_EXCHANGE,
        "subject_token": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiJ9.e30.AA",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "authorization_details": "[{\"type\":\"marque_intent\",\"intent_id\":\"int_00000000000000000000000001\"}]",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        "client_assertion": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiJ9.e30.AA",
    });
    let operation = form("token", "gives a token for a grant", "TokenRequest", &example, offers)
    .described(
        "RFC 8693; where they are offered also RFC 7523, the deferred token response and the polling of CIBA. The grant \
         types are those of the metadata.",
    )
    .answer(200, "the token", JSON, "TokenResponse")
    .example(
        200,
        &json!({
            "access_token": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiIsInR5cCI6ImF0K2p3dCJ9.e30.AA",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 240,
            "scope": "certificates.rotate",
            "authorization_details": [
                { "type": "marque_intent", "intent_id": "int_00000000000000000000000001" },
            ],
        }),
    )
    .example(
        400,
        &json!({
            "error": "access_denied",
            "error_description": "the intent does not permit a token",
            "code": "approval_pending",
            "class": "approval",
            "retry": { "allowed": true },
        }),
    );
    beside_the_form(operation, offers)
}

/// The headers of token requests and of their answers, with what is offered.
fn beside_the_form(mut operation: Operation, offers: &Offers) -> Operation {
    let text = json!({ "type": "string" });
    if offers.dpop {
        operation = operation
            .parameter(
                "header",
                "DPoP",
                "a proof of the key to bind the token to (RFC 9449)",
                &text,
            )
            .header(200, "DPoP-Nonce", "for the next DPoP proof, where one came");
    }
    if offers.deferred {
        let key = json!({ "type": "string", "minLength": 1, "maxLength": 128 });
        let what = "makes a retry of a deferred request safe: it finds the intent of the first";
        operation = operation.parameter("header", "Idempotency-Key", what, &key);
    }
    operation
}

fn backchannel(offers: &Offers) -> Operation {
    let example = json!({
        "login_hint": "platform-sre",
        "scope": "openid",
        "binding_message": "1842",
        "authorization_details": "[{\"type\":\"marque_intent\",\"playbook\":\"ingress-cert-rotation\",\"parameters\":{\"service\":\"checkout\",\"region\":\"eu-west-1\"},\"ticket\":\"CHG-1842\"}]",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        "client_assertion": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiJ9.e30.AA",
    });
    form(
        "backchannel",
        "asks an approver, and gives what to poll with",
        "BackchannelRequest",
        &example,
        offers,
    )
    .described("OpenID CIBA Core 1.0, in its polling form.")
    .refusal(403, "the intent is refused")
    .answer(200, "how to collect the token", JSON, "BackchannelResponse")
    .example(
        200,
        &json!({
            "auth_req_id": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "expires_in": 1800,
            "interval": 5,
            "intent_id": "int_00000000000000000000000001",
        }),
    )
}

fn challenge() -> Operation {
    Operation::new("post", "discovery", "challenge", "a challenge for a client attestation")
        .described(
            "draft-ietf-oauth-attestation-based-client-auth-10, section 6.1: for the claim `challenge` of the proof beside a \
             client attestation. Whoever asks gets one, and the body of the request is not read.",
        )
        .answer(200, "the challenge", JSON, "AttestationChallenge")
        .example(200, &json!({ "attestation_challenge": "cAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }))
        .refusal(413, "the body is too large")
}

fn revocation(offers: &Offers) -> Operation {
    let example = json!({
        "token": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiIsInR5cCI6ImF0K2p3dCJ9.e30.AA",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        "client_assertion": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiJ9.e30.AA",
    });
    form(
        "revoke",
        "ends a token and everything that derives from it",
        "RevocationRequest",
        &example,
        offers,
    )
    .described(
        "RFC 7009. For the token's holder, and for those who held what it derives from. A token that is unknown is as \
         good as revoked.",
    )
    .empty(200, "the token is revoked, or unknown")
}

fn status_lists() -> Operation {
    Operation::new("get", "discovery", "statusLists", "where the token status lists are")
        .described("draft-ietf-oauth-status-list-21, aggregation.")
        .answer(200, "the lists", JSON, "StatusLists")
        .refusal(503, "storage is out of reach")
}

fn kill_state() -> Operation {
    let statement =
        json!({ "description": "the statement", "content": { KILL_STATE_MEDIA_TYPE: signed() } });
    Operation::new("get", "discovery", "killState", "the epoch of the kill switch, signed")
        .described(
            "A JWT with `iss`, `sub` (this address), `iat`, `exp` and `kill_epoch`, which rises with every kill and every \
             lift. A verifier that holds none of the last two seconds refuses.",
        )
        .response(200, statement)
        .refusal(503, "what other replicas stopped is not heard of, or nothing can be signed")
}

fn status_list() -> Operation {
    let number = json!({ "type": "integer", "minimum": 0 });
    let list =
        json!({ "description": "the list", "content": { STATUS_LIST_MEDIA_TYPE: signed() } });
    Operation::new("get", "discovery", "statusList", "which tokens ended before their time")
        .described("draft-ietf-oauth-status-list-21. Former times are not kept: `?time=` is 501.")
        .parameter("path", "list", "its number, from `status.status_list.uri` of a token", &number)
        .parameter("header", "If-None-Match", "the `ETag` of a copy", &json!({ "type": "string" }))
        .response(200, list)
        .header(200, "ETag", "a name of exactly these bytes")
        .empty(304, "the copy is still the list")
        .problem(404, "there is no such list, or no more")
        .problem(501, "lists of former times are not kept")
        .refusal(503, "storage or signing is out of reach")
}

/// A compact JWS.
fn signed() -> Value {
    json!({ "schema": { "type": "string" } })
}

fn introspection(offers: &Offers) -> Operation {
    let example = json!({
        "token": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiIsInR5cCI6ImF0K2p3dCJ9.e30.AA",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
        "client_assertion": "eyJhbGciOiJFUzI1NiIsImtpZCI6IiJ9.e30.AA",
    });
    form(
        "introspect",
        "whether a token is live, and what it is for",
        "IntrospectionRequest",
        &example,
        offers,
    )
    .described(
        "RFC 7662. Whoever may not know is told that the token is not active. Where it is offered and `Accept` prefers \
         `application/token-introspection+jwt`, the answer is signed (RFC 9701).",
    )
    .response(200, introspected(offers))
}

fn introspected(offers: &Offers) -> Value {
    let inactive = json!({ "active": false });
    let mut content =
        json!({ JSON: { "schema": reference("Introspection"), "example": inactive } });
    if let Some(content) = content.as_object_mut().filter(|_| offers.jwt_introspection) {
        content.insert(INTROSPECTION_MEDIA_TYPE.to_owned(), signed());
    }
    json!({ "description": "what the caller may know", "content": content })
}
