//! What the HTTPS edge of the real daemon refuses. Each table is tried on one daemon, and ends with the request that it
//! spoils: that one is still answered, so nothing but the spoiling was refused, and no refusal cost a use.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::{Call, Http, form};
use crate::support::oauth::{Client, Fields, approved_rotation, exchange_fields};
use crate::support::programs::copy_of_this_program;
use crate::support::tokens::{ScratchKey, claims, header, now, segment, with_claims, with_header};
use crate::support::wait::until;

/// Forgeries of a good JWT-SVID, by name.
fn forgeries(good: &str, other_environment: &str) -> Vec<(&'static str, String)> {
    let key = ScratchKey::new();
    let (head, body) = (header(good), claims(good));
    let unsigned = |head: Value| format!("{}.{}.", segment(&head), segment(&body));
    let changed = |member: &str, value: Value| {
        let mut changed = body.clone();
        changed[member] = value;
        changed
    };
    let headed = |member: &str, value: Value| {
        let mut changed = head.clone();
        changed[member] = value;
        changed
    };
    let signature = good.rsplit('.').next().expect("three parts");
    vec![
        ("alg none", unsigned(headed("alg", json!("none")))),
        ("alg None", unsigned(headed("alg", json!("None")))),
        ("alg empty", unsigned(headed("alg", json!("")))),
        ("alg none with the old signature", with_header(good, &headed("alg", json!("none")))),
        ("alg HS256", with_header(good, &headed("alg", json!("HS256")))),
        ("alg ES512", with_header(good, &headed("alg", json!("ES512")))),
        ("alg EdDSA", with_header(good, &headed("alg", json!("EdDSA")))),
        ("alg RS256 for a P-256 key", with_header(good, &headed("alg", json!("RS256")))),
        ("wrong key", key.sign(&head, &body)),
        ("own key in jwk", key.sign(&headed("jwk", key.jwk()), &body)),
        ("jku", key.sign(&headed("jku", json!("https://attacker.example.org/jwks")), &body)),
        ("x5u", key.sign(&headed("x5u", json!("https://attacker.example.org/chain")), &body)),
        ("unknown crit", key.sign(&headed("crit", json!(["x"])), &body)),
        ("b64 false", key.sign(&headed("b64", json!(false)), &body)),
        ("unknown kid", with_header(good, &headed("kid", json!("nobody")))),
        ("kid that is a path", with_header(good, &headed("kid", json!("../../dev/null")))),
        ("no kid", key.sign(&json!({ "alg": "ES256", "typ": "JWT" }), &body)),
        (
            "another subject",
            with_claims(good, &changed("sub", json!("spiffe://prod.example.org/agent/x"))),
        ),
        ("later end", with_claims(good, &changed("exp", json!(now() + 86_400)))),
        ("end as text", key.sign(&head, &changed("exp", json!("9999999999")))),
        ("no end", key.sign(&head, &changed("exp", Value::Null))),
        ("expired, wrong key", key.sign(&head, &changed("exp", json!(now() - 3_600)))),
        (
            "unknown trust domain",
            key.sign(&head, &changed("sub", json!("spiffe://other.example.org/agent/x"))),
        ),
        ("production id under the other environment's key", with_claims(other_environment, &body)),
        ("empty signature", good.replace(signature, "")),
        ("zero signature", good.replace(signature, &"A".repeat(86))),
        ("trailing newline", format!("{good}\n")),
        ("four parts", format!("{good}.{signature}")),
        ("ten thousand dots", ".".repeat(10_000)),
        ("longer than any SVID", format!("{good}{}", "A".repeat(15_000))),
        ("not a token", "hello".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_svids_authenticate_nobody() {
    let daemon = Daemon::start().await;
    let mut rotator = Client::start(&daemon, ROTATOR).await;
    let mut restarter = daemon.agent(RESTARTER);
    let intent = approved_rotation(&daemon, &rotator).await;
    let issuer = rotator.place.issuer_url.clone();
    let other_environment = restarter.jwt_svid(&issuer).await;
    let mut refused = forgeries(&rotator.svid, &other_environment);
    let token_endpoint = rotator.place.token_endpoint.clone();
    refused.push(("wrong audience", rotator.workload.jwt_svid("https://other.example.org").await));
    refused.push(("token endpoint as audience", rotator.workload.jwt_svid(&token_endpoint).await));
    refused.push((
        "issuer with a slash as audience",
        rotator.workload.jwt_svid(&format!("{issuer}/")).await,
    ));
    let two = rotator.workload.try_jwt_svid(&[&issuer, "https://other.example.org"]).await.unwrap();
    refused.push(("two audiences", two));
    for (name, svid) in &refused {
        let answer = rotator.token(&exchange_fields(svid, &intent)).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_eq!(answer.json()["error"], "invalid_client", "{name}: {answer:?}");
        let answer = rotator
            .send(Call::get(&rotator.place.playbooks_url()).header("authorization", bearer(svid)))
            .await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
        assert!(answer.headers.contains_key("www-authenticate"), "{name}: {answer:?}");
    }
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_subject_beside_a_good_client_is_an_invalid_request() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let mut restarter = daemon.agent(RESTARTER);
    let mut second = daemon.agent(crate::support::daemon::SECOND_ROTATOR);
    let intent = approved_rotation(&daemon, &rotator).await;
    let other_environment = restarter.jwt_svid(&rotator.place.issuer_url).await;
    for (name, svid) in forgeries(&rotator.svid, &other_environment) {
        let fields = replaced(exchange_fields(&rotator.svid, &intent), "subject_token", svid);
        let answer = rotator.token(&fields).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_eq!(answer.json()["error"], "invalid_request", "{name}: {answer:?}");
    }
    // RFC 8693 §2.2.2 as well: somebody else's good SVID is no subject for this client.
    let colleague = second.jwt_svid(&rotator.place.issuer_url).await;
    let fields = replaced(exchange_fields(&rotator.svid, &intent), "subject_token", colleague);
    let answer = rotator.token(&fields).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_svid_authenticates_nobody() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let program = copy_of_this_program("short-lived");
    let (uid, path) = (
        format!("unix:uid:{}", nix::unistd::geteuid()),
        format!("unix:path:{}", program.display()),
    );
    let id = rotator.place.id("/agent/short-lived");
    let entry = [
        "entry",
        "create",
        "--expires-in",
        "1d",
        "--spiffe-id",
        &id,
        "--role",
        "agent",
        "--owner",
        "group:tests",
    ];
    let rest = ["--jwt-lifetime", "2s", "--selector", &uid, "--selector", &path];
    daemon.operator(PRODUCTION).run(&[&entry[..], &rest[..]].concat()).await.succeeded();
    let mut workload = crate::support::agent::Workload::start(&program, &rotator.place);
    let svid = workload.jwt_svid(&rotator.place.issuer_url).await;
    let call = || Call::get(&rotator.place.playbooks_url()).header("authorization", bearer(&svid));
    rotator.send(call()).await.expect(200);
    let answer = until("the refusal of an expired SVID", async || {
        let answer = rotator.send(call()).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(now() >= claims(&svid)["exp"].as_u64().unwrap(), "it was refused before its end");
}

/// Token requests with one thing wrong, by name, and the OAuth error.
fn spoiled_requests(good: &Fields) -> Vec<(String, Fields, &'static str)> {
    let with = |name: &'static str, value: &str| [&good[..], &[(name, value.to_owned())]].concat();
    let mut spoiled: Vec<(String, Fields, &'static str)> = Vec::new();
    for (name, value) in good {
        spoiled.push((format!("{name} twice"), with(name, value), "invalid_request"));
        let without = good.iter().filter(|(other, _)| other != name).cloned().collect();
        spoiled.push((format!("no {name}"), without, "invalid_request"));
        spoiled.push((
            format!("empty {name}"),
            replaced(good.clone(), name, String::new()),
            "invalid_request",
        ));
    }
    let change = |name: &'static str, value: &str| replaced(good.clone(), name, value.to_owned());
    let id_token = "urn:ietf:params:oauth:token-type:id_token";
    let details = |value: Value| change("authorization_details", &value.to_string());
    let unknown_intent = "int_00000000000000000000000000";
    let more: Vec<(&str, Fields, &'static str)> = vec![
        (
            "another grant type",
            change("grant_type", "client_credentials"),
            "unsupported_grant_type",
        ),
        ("another subject type", change("subject_token_type", id_token), "invalid_request"),
        ("another assertion type", change("client_assertion_type", "urn:x"), "invalid_client"),
        ("another token type", with("requested_token_type", id_token), "invalid_request"),
        ("actor type without actor", with("actor_token_type", id_token), "invalid_request"),
        ("a secret beside the assertion", with("client_secret", "x"), "invalid_request"),
        (
            "somebody else's client id",
            with("client_id", "spiffe://prod.example.org/agent/x"),
            "invalid_client",
        ),
        ("a scope that was not granted", with("scope", "network.admin"), "invalid_scope"),
        ("a scope with a control character", with("scope", "secrets.update\u{0}"), "invalid_scope"),
        (
            "an audience that was not granted",
            with("audience", "https://other.example.org"),
            "invalid_target",
        ),
        (
            "a resource that was not granted",
            with("resource", "https://other.example.org/x"),
            "invalid_target",
        ),
        (
            "a resource with a fragment",
            with("resource", "https://other.example.org/x#y"),
            "invalid_target",
        ),
        ("a relative resource", with("resource", "/x"), "invalid_target"),
        (
            "details that are not JSON",
            change("authorization_details", "{"),
            "invalid_authorization_details",
        ),
        ("details that are no array", details(json!({})), "invalid_authorization_details"),
        ("no details in the array", details(json!([])), "invalid_authorization_details"),
        (
            "details of another type",
            details(json!([{ "type": "x" }])),
            "invalid_authorization_details",
        ),
        (
            "details with an unknown member",
            details(
                json!([{ "type": "marque_intent", "intent_id": unknown_intent, "scope": "all" }]),
            ),
            "invalid_authorization_details",
        ),
        (
            "an intent id that is none",
            details(json!([{ "type": "marque_intent", "intent_id": "1 OR 1=1" }])),
            "invalid_authorization_details",
        ),
    ];
    spoiled.extend(more.into_iter().map(|(name, fields, error)| (name.to_owned(), fields, error)));
    spoiled
}

#[tokio::test(flavor = "multi_thread")]
async fn spoiled_token_requests_are_refused_each_with_its_code() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let good = exchange_fields(&rotator.svid, &intent);
    for (name, fields, error) in spoiled_requests(&good) {
        let answer = rotator.token(&fields).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_eq!(answer.json()["error"], error, "{name}: {answer:?}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{name}");
        assert!(!answer.body.contains(&rotator.svid), "{name}: the answer repeats the SVID");
    }
    // Unknown parameters are ignored, and a parameter without a value is as good as absent (RFC 6749 §3.2).
    let tolerated = [&good[..], &[("scope", String::new()), ("unknown", "x".to_owned())]].concat();
    rotator.token(&tolerated).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_endpoint_takes_posted_forms_alone() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let fields = exchange_fields(&rotator.svid, &intent);
    let url = rotator.place.token_endpoint.clone();
    let body = form(&fields);
    let got = rotator.send(Call::get(&format!("{url}?{body}"))).await;
    assert_eq!(got.status, 405, "{got:?}");
    assert_eq!(got.headers["allow"], "POST");
    let members: serde_json::Map<String, Value> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let posted = rotator.send(Call::json(&url, &Value::Object(members))).await;
    assert!([400, 415].contains(&posted.status), "{posted:?}");
    let untyped = rotator.send(Call::post(&url, "text/plain", body.clone())).await;
    assert!([400, 415].contains(&untyped.status), "{untyped:?}");
    let in_query = rotator.send(Call::form::<&str, &str>(&format!("{url}?{body}"), &[])).await;
    assert_eq!(in_query.status, 400, "{in_query:?}");
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_are_refused_and_cost_nothing() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let form_type = "application/x-www-form-urlencoded";
    let good = form(&exchange_fields(&rotator.svid, &intent));
    let many = format!("{good}{}", "&a=b".repeat(200));
    rotator.send(Call::post(&rotator.place.token_endpoint, form_type, many)).await.expect(400);
    let ask =
        json!({ "playbook": "ingress-cert-rotation", "justification": "x".repeat(100 * 1024) });
    for (name, call) in [
        ("a long value", format!("{good}&unknown={}", "x".repeat(70 * 1024))),
        ("a hundred thousand fields", "a=b&".repeat(100_000)),
        ("a megabyte", "x".repeat(1024 * 1024)),
    ]
    .map(|(name, body)| (name, Call::post(&rotator.place.token_endpoint, form_type, body)))
    .into_iter()
    .chain([(
        "a long justification",
        Call::json(&rotator.place.intents_url, &ask).bearer(&rotator.svid),
    )]) {
        // Refused while it is still being sent: who does not read meanwhile learns it from the closed connection.
        if let Ok(answer) = rotator.http.try_send(call).await {
            assert!([400, 413].contains(&answer.status), "{name}: {answer:?}");
        }
    }
    // On a connection of its own: what is left of the others may be closing.
    let rotator = Client { http: Http::trusting(&rotator.place.ca_file), ..rotator };
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn badly_encoded_forms_are_invalid_requests() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let form_type = "application/x-www-form-urlencoded";
    for body in [
        &b"grant_type=%zz"[..],
        b"grant_type=%",
        b"grant_type=%ff%fe",
        b"\xff\xfe=1",
        b"a%00b=%e0%80",
    ] {
        let answer = rotator.send(Call::post(&rotator.place.token_endpoint, form_type, body)).await;
        answer.expect(400).oauth_error("invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_authenticates_by_one_method_alone() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let fields = exchange_fields(&rotator.svid, &intent);
    let url = &rotator.place.token_endpoint;
    let basic = "Basic YTpi";
    let both = rotator.send(Call::form(url, &fields).header("authorization", basic)).await;
    assert!([400, 401].contains(&both.status), "{both:?}");
    let bearer = rotator.send(Call::form(url, &fields).bearer(&rotator.svid)).await;
    assert!([400, 401].contains(&bearer.status), "{bearer:?}");
    let plain: Fields =
        fields.iter().filter(|(name, _)| !name.starts_with("client_")).cloned().collect();
    let alone = rotator.send(Call::form(url, &plain).header("authorization", basic)).await;
    assert_eq!(alone.status, 401, "{alone:?}");
    assert!(alone.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"), "{alone:?}");
    rotator.exchange(&intent).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_is_no_svid_and_an_svid_is_no_access_token() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let next = approved_rotation(&daemon, &rotator).await;
    rotator.token(&exchange_fields(&token, &next)).await.expect(400).oauth_error("invalid_client");
    let as_bearer = rotator.send(Call::get(&rotator.place.playbooks_url()).bearer(&token)).await;
    assert_eq!(as_bearer.status, 401, "{as_bearer:?}");
    let about_svid = rotator.introspect(&rotator.svid).await.expect(200);
    assert_eq!(about_svid.json(), json!({ "active": false }));
    rotator.exchange(&next).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_authenticated_client_learns_about_tokens() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let url = rotator.place.introspection_endpoint();
    let anonymous = rotator.send(Call::form(&url, &[("token", &token)])).await;
    assert!([400, 401].contains(&anonymous.status), "{anonymous:?}");
    anonymous.oauth_error("invalid_client");
    let as_bearer =
        rotator.send(Call::form(&url, &[("token", &token)]).bearer(&rotator.svid)).await;
    assert!([400, 401].contains(&as_bearer.status), "{as_bearer:?}");
    assert!(rotator.is_active(&token).await, "its own client may know");
    let second = Client::start(&daemon, crate::support::daemon::SECOND_ROTATOR).await;
    assert!(!second.is_active(&token).await, "another agent learnt about the token");
    let restarter = Client::start(&daemon, RESTARTER).await;
    assert_eq!(restarter.place.name, NON_PRODUCTION);
    assert!(!restarter.is_active(&token).await, "another trust domain's issuer knew the token");
}

fn replaced(mut fields: Fields, name: &str, value: String) -> Fields {
    fields.iter_mut().find(|field| field.0 == name).expect("the field is there").1 = value;
    fields
}

/// An `Authorization` header that HTTP can carry, whatever is in the token.
fn bearer(token: &str) -> String {
    format!("Bearer {}", token.replace('\n', "%0A"))
}
