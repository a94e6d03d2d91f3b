//! What becomes of tokens after their issue: revoked by who holds them or by an operator, used up, killed; told by
//! introspection, as a signed answer too, and by status lists, which Python reads with libraries that are not ours.

use std::path::Path;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use marque_status_list::{MAX_LIST_BYTES, Status, StatusList, StatusListClaims};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR, SECOND_ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{ASSERTION_TYPE, Client, GRANT_TYPE, INGRESS, approved_rotation};
use crate::support::python::{interpreter, run_script, said};
use crate::support::tokens::{claims, header, now};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// An agent with a token, and the resource server that it is for.
struct AtWork {
    daemon: Daemon,
    agent: Client,
    resource: Client,
    intent: String,
    token: String,
}

impl AtWork {
    async fn start() -> Self {
        Self::over(Daemon::start().await).await
    }

    async fn over(daemon: Daemon) -> Self {
        let agent = Client::start(&daemon, ROTATOR).await;
        let resource = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
        let intent = approved_rotation(&daemon, &agent).await;
        let token = agent.exchange(&intent).await.expect(200).text("access_token");
        Self { daemon, agent, resource, intent, token }
    }

    /// Exchanges a token for one that derives from it.
    async fn derive(&self, token: &str) -> Answer {
        let fields = [
            ("grant_type", GRANT_TYPE),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &self.agent.svid),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        self.agent.send(Call::form(&self.agent.place.token_endpoint, &fields)).await
    }

    /// The list that a token is on, and the token's place.
    async fn list(&self, token: &str) -> (Answer, u64) {
        let place = claims(token)["status"]["status_list"].clone();
        let list = self.resource.send(Call::get(place["uri"].as_str().expect("a URI"))).await;
        (list.expect(200), place["idx"].as_u64().expect("a place"))
    }

    /// What the list says of a token, by our own reader.
    async fn status(&self, token: &str) -> Status {
        let (list, idx) = self.list(token).await;
        let claims: StatusListClaims = serde_json::from_value(claims(&list.body)).expect("claims");
        StatusList::decode(&claims.status_list, MAX_LIST_BYTES)
            .expect("a list")
            .status(idx)
            .unwrap()
    }

    async fn is_dead(&self, token: &str) {
        let told = self.resource.introspect(token).await.expect(200).json();
        assert_eq!(told, json!({"active": false}));
        assert_eq!(self.agent.introspect(token).await.expect(200).json(), json!({"active": false}));
        crate::support::wait::until("the status list says so", async || {
            (self.status(token).await == Status::Invalid).then_some(())
        })
        .await;
    }

    async fn is_alive(&self, token: &str) {
        assert!(self.resource.is_active(token).await);
        assert_eq!(self.status(token).await, Status::Valid);
    }

    async fn log_verifies(&self) {
        self.daemon.operator(PRODUCTION).run(&["audit", "verify"]).await.succeeded();
    }
}

fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().expect("a jti").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_12_2_a_token_is_revoked_by_its_holder_and_by_no_other_client() {
    let work = AtWork::start().await;
    work.is_alive(&work.token).await;
    let second = Client::start(&work.daemon, SECOND_ROTATOR).await;
    for other in [&second, &work.resource] {
        other.revoke(&work.token).await.expect(400).oauth_error("unauthorized_client");
    }
    work.is_alive(&work.token).await;
    work.agent.revoke(&work.agent.svid).await.expect(400).oauth_error("unsupported_token_type");
    for _ in 0..2 {
        let answer = work.agent.revoke(&work.token).await.expect(200);
        assert_eq!(
            (answer.body.as_str(), &answer.headers["cache-control"]),
            ("", &"no-store".parse().unwrap())
        );
    }
    work.is_dead(&work.token).await;
    work.agent.revoke("x").await.expect(200);
    work.log_verifies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_12_3_an_operator_revokes_a_token_with_all_that_derives_from_it() {
    let work = AtWork::start().await;
    let child = work.derive(&work.token).await.expect(200).text("access_token");
    let grandchild = work.derive(&child).await.expect(200).text("access_token");
    for token in [&work.token, &child, &grandchild] {
        work.is_alive(token).await;
    }
    let operator = work.daemon.operator(PRODUCTION);
    let revoked =
        operator.json(&["token", "revoke", &jti(&child), "--reason", "seen in a log"]).await;
    assert_eq!(revoked["revoked"].as_array().map(Vec::len), Some(2), "{revoked}");
    work.is_dead(&child).await;
    work.is_dead(&grandchild).await;
    work.is_alive(&work.token).await;
    // What was revoked is not exchanged any more (keycloak#51633), and the one that was not is.
    for dead in [&child, &grandchild] {
        work.derive(dead).await.oauth_error("invalid_request");
    }
    work.derive(&work.token).await.expect(200);
    let listed = operator.json(&["token", "list", "--intent", &work.intent]).await;
    let stands: Vec<(String, bool)> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|token| (token["id"].as_str().unwrap().to_owned(), token.get("ended_code").is_none()))
        .collect();
    assert_eq!(stands.len(), 4, "{listed}");
    for (token, live) in [(&work.token, true), (&child, false), (&grandchild, false)] {
        assert!(stands.contains(&(jti(token), live)), "{listed}");
    }
    let shown = operator.json(&["token", "show", &jti(&grandchild)]).await;
    assert_eq!(shown["ended_code"], "grant_revoked", "{shown}");
    assert_eq!(shown["parent"], jti(&child), "{shown}");
    let unknown = operator.run(&["token", "show", "tok_00000000000000000000000000000000"]).await;
    assert_eq!(unknown.failed().code, 1);
    work.log_verifies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_8922_every_end_is_told_by_introspection_and_by_the_status_list() {
    let work = AtWork::start().await;
    let by_kill = AtWork::start().await;
    work.agent.end(&work.intent, "complete", &json!({"outcome": "success"})).await.expect(200);
    work.is_dead(&work.token).await;
    by_kill.is_alive(&by_kill.token).await;
    let operator = by_kill.daemon.operator(PRODUCTION);
    operator.kill(&["agent", &by_kill.agent.place.id(ROTATOR.path)]).await;
    // The first list that is asked for after the kill says so already.
    assert_eq!(by_kill.status(&by_kill.token).await, Status::Invalid);
    let told = by_kill.resource.introspect(&by_kill.token).await.expect(200).json();
    assert_eq!(told, json!({"active": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_11_5_a_signed_answer_verifies_with_a_library_that_is_not_ours() {
    let work = AtWork::start().await;
    let place = &work.resource.place;
    let fields = [
        ("token", work.token.as_str()),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &work.resource.svid),
    ];
    let call = Call::form(&place.introspection_endpoint(), &fields)
        .header("accept", "application/token-introspection+jwt");
    let answer = work.resource.send(call).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/token-introspection+jwt");
    assert_eq!(header(&answer.body)["typ"], "token-introspection+jwt");
    let keys = work.resource.send(Call::get(&place.jwks_url)).await.expect(200).json();
    let keys: JwkSet = serde_json::from_value(keys).unwrap();
    let kid = jsonwebtoken::decode_header(&answer.body).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[place.id(INGRESS.path)]);
    validation.set_issuer(&[&place.issuer_url]);
    validation.required_spec_claims.remove("exp");
    let decoded = jsonwebtoken::decode::<Value>(&answer.body, &key, &validation).unwrap().claims;
    let plain = work.resource.introspect(&work.token).await.expect(200).json();
    assert_eq!(decoded["token_introspection"], plain);
    assert_eq!(plain["active"], true);
    assert_eq!(plain["status"], claims(&work.token)["status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_introspections_of_a_token_of_a_single_use_one_says_active() {
    let daemon = Daemon::start_with(|trust_domains| {
        let file = trust_domains.join("prod.example.org/playbooks/ingress-cert-rotation.toml");
        let text = std::fs::read_to_string(&file).expect("the playbook");
        let changed = text.replace("\nuses = 1\n", "\nuses = 1\nsingle_use_tokens = true\n");
        assert_ne!(changed, text);
        std::fs::write(&file, changed).expect("write the playbook");
    })
    .await;
    let work = AtWork::over(daemon).await;
    assert_eq!(claims(&work.token)["single_use"], true);
    // Its holder may look at it as often as it likes.
    for _ in 0..2 {
        assert!(work.agent.is_active(&work.token).await);
    }
    let asking = (0..16).map(|_| work.resource.is_active(&work.token));
    let answers = futures::future::join_all(asking).await;
    assert_eq!(answers.iter().filter(|active| **active).count(), 1, "{answers:?}");
    work.is_dead(&work.token).await;
    work.derive(&work.token).await.oauth_error("invalid_request");
    work.log_verifies().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_15_2_the_list_is_found_cached_and_read_by_clients_that_are_not_ours() {
    let work = AtWork::start().await;
    let revoked = work.derive(&work.token).await.expect(200).text("access_token");
    work.agent.revoke(&revoked).await.expect(200);
    work.is_dead(&revoked).await;
    let url = format!("{}/.well-known/oauth-authorization-server", work.agent.place.issuer_url);
    let metadata = work.agent.send(Call::get(&url)).await.expect(200).json();
    let aggregation = metadata["status_list_aggregation_endpoint"].as_str().expect("an endpoint");
    let lists = work.agent.send(Call::get(aggregation)).await.expect(200).json();
    let uri = claims(&work.token)["status"]["status_list"]["uri"].clone();
    assert_eq!(lists, json!({"status_lists": [uri]}));
    let (list, _) = work.list(&work.token).await;
    assert_eq!(list.headers["content-type"], "application/statuslist+jwt");
    assert_eq!(list.headers["cache-control"], "no-cache");
    let uri = uri.as_str().unwrap();
    work.agent.send(Call::get(&format!("{uri}?time=1"))).await.expect(501);
    let other = format!("{}1", uri.strip_suffix('0').expect("list 0"));
    work.agent.send(Call::get(&other)).await.expect(404);
    let Some(python) = interpreter() else { return };
    let place = |token: &str| claims(token)["status"]["status_list"]["idx"].clone();
    let keys = work.agent.send(Call::get(&work.agent.place.jwks_url)).await.expect(200).json();
    let asked =
        json!({"list": list.body, "jwks": keys, "idx": [place(&work.token), place(&revoked)]});
    let read = read_by_python(&python, &asked).await;
    assert_eq!(read["statuses"], json!([0, 1]), "{read}");
    assert_eq!((&read["typ"], &read["sub"]), (&json!("statuslist+jwt"), &json!(uri)));
    assert_eq!(read["places"], 131_072);
    let (iat, exp) = (read["iat"].as_u64().unwrap(), read["exp"].as_u64().unwrap());
    assert!(iat <= now() && now() < exp && read["ttl"].as_u64().unwrap() <= exp - iat, "{read}");
}

async fn read_by_python(python: &Path, asked: &Value) -> Value {
    let output = run_script(python, "status_list", asked).await;
    assert!(output.status.success(), "{output:?}");
    said(&output)
}
