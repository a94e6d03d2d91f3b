//! PyPI `requests-oauth2client` and `google-auth` as agents, `authlib` and `joserfc` as those who verify.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::python::run;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION, ROTATOR};
use crate::support::http::Call;
use crate::support::oauth::{Client, INGRESS, PREVIEW, approved_rotation, restart};
use crate::support::python::{interpreter, own_interpreter};
use crate::support::tokens::{ScratchKey, claims, header, with_claims, with_header};

/// Lets the agent of the production playbook hand its token on as it is, once, to one other.
const ON_BEHALF: &str = r#"
[on_behalf]
max_depth = 1
agents = ["spiffe://prod.example.org/agent/second/python"]
equal = ["audiences", "scopes", "authorization_details", "resources", "data_classes"]
"#;

/// A daemon, and Pythons that it knows apart.
struct Scene {
    daemon: Daemon,
    python: PathBuf,
    trust_domain: &'static str,
}

impl Scene {
    async fn new(trust_domain: &'static str) -> Option<Self> {
        let python = interpreter()?;
        let daemon = Daemon::start_with(|trust_domains| {
            let file = trust_domains.join(PRODUCTION).join("playbooks/ingress-cert-rotation.toml");
            let playbook = fs::read_to_string(&file).expect("a playbook");
            fs::write(file, playbook + ON_BEHALF).expect("write a playbook");
        })
        .await;
        Some(Self { daemon, python, trust_domain })
    }

    /// A Python that is the agent of this path.
    async fn agent(&self, path: &str) -> PathBuf {
        let name = path.replace('/', "-");
        let program = own_interpreter(&self.python, &self.daemon.path(""), &format!("py{name}"));
        let id = self.id(path);
        self.daemon.operator(self.trust_domain).register(&id, "agent", &program).await;
        program
    }

    fn id(&self, path: &str) -> String {
        self.daemon.place(self.trust_domain).id(path)
    }

    async fn run(&self, agent: &Path, script: &str, arguments: &[&str], input: &str) -> Value {
        let endpoints = self.daemon.endpoints_file().display().to_string();
        let arguments = [&[&*endpoints, self.trust_domain][..], arguments].concat();
        run(agent, script, self.daemon.place(self.trust_domain), &arguments, input).await
    }

    async fn oauth(&self, agent: &Path, arguments: &[&str], input: &str) -> Value {
        self.run(agent, "oauth_client.py", arguments, input).await
    }

    /// The token of an approved intent.
    async fn token(&self, agent: &Path) -> String {
        let asked = self.oauth(agent, &["ask"], "").await;
        let intent = asked["id"].as_str().expect("an intent");
        self.daemon.operator(self.trust_domain).approve(intent).await;
        token(&self.oauth(agent, &["exchange", intent], "").await)
    }

    async fn is_active(&self, agent: &Path, token: &str) -> bool {
        self.oauth(agent, &["introspect"], token).await["active"] == true
    }
}

fn token(answer: &Value) -> String {
    answer["access_token"].as_str().unwrap_or_else(|| panic!("no token in {answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_2_the_python_client_acts_on_anothers_token_until_that_is_revoked() {
    let Some(scene) = Scene::new(PRODUCTION).await else { return };
    let first = scene.agent("/agent/cert-rotator/python").await;
    let second = scene.agent("/agent/second/python").await;
    let third = scene.agent("/agent/third/python").await;
    let parent = scene.token(&first).await;
    let derived = scene.oauth(&second, &["delegate"], &parent).await;
    let said = claims(&token(&derived));
    let (holder, actor) =
        (scene.id("/agent/cert-rotator/python"), scene.id("/agent/second/python"));
    assert_eq!((&said["sub"], &said["client_id"]), (&json!(holder), &json!(actor)), "{said}");
    assert_eq!(said["act"]["sub"], actor, "{said}");
    assert_eq!(said["scope"], INGRESS.scope, "{said}");
    // Nobody else is named, and what was handed on is not handed on again.
    let refused = scene.oauth(&third, &["delegate"], &parent).await;
    assert_eq!(refused["error"], "invalid_request", "{refused}");
    let refused = scene.oauth(&first, &["delegate"], &token(&derived)).await;
    assert_eq!(refused["error"], "invalid_request", "{refused}");
    assert!(scene.is_active(&second, &token(&derived)).await);
    let revoked = scene.oauth(&first, &["revoke"], &parent).await;
    assert_eq!(revoked, json!({"revoked": true}));
    assert!(!scene.is_active(&first, &parent).await);
    assert!(!scene.is_active(&second, &token(&derived)).await, "a descendant outlives its parent");
    let refused = scene.oauth(&second, &["delegate"], &parent).await;
    assert_eq!(refused["code"], "grant_revoked", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_18_the_python_client_polls_by_ciba_until_somebody_approved() {
    let Some(scene) = Scene::new(PRODUCTION).await else { return };
    let agent = scene.agent("/agent/cert-rotator/python").await;
    let unknown = scene.oauth(&agent, &["backchannel", "mallory", "W4SCT"], "").await;
    assert_eq!(unknown["error"], "unknown_user_id", "{unknown}");
    let asked = scene.oauth(&agent, &["backchannel", "platform-sre", "W4SCT"], "").await;
    let text = |name: &str| asked[name].as_str().unwrap_or_else(|| panic!("{name}: {asked}"));
    let (request, intent) = (text("auth_req_id"), text("intent_id"));
    let pending = scene.oauth(&agent, &["poll", request, "0"], "").await;
    assert_eq!(pending["pending"], true, "{pending}");
    let operator = scene.daemon.operator(PRODUCTION);
    let shown = operator.json(&["intent", "show", intent]).await;
    assert_eq!(shown["binding_message"], "W4SCT", "{shown}");
    operator.approve(intent).await;
    // As long as the server said; the client waits by itself.
    let interval = asked["interval"].to_string();
    let answer = scene.oauth(&agent, &["poll", request, &interval], "").await;
    assert_eq!(
        (&answer["scope"], &answer["token_type"]),
        (&json!(INGRESS.scope), &json!("Bearer"))
    );
    assert_eq!(answer["authorization_details"][0]["intent_id"], intent, "{answer}");
    assert!(scene.is_active(&agent, &token(&answer)).await);
    let again = scene.oauth(&agent, &["poll", request, "0"], "").await;
    assert_eq!(again["error"], "invalid_grant", "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_8_the_python_client_asks_for_a_playbook_in_authorization_details() {
    let Some(scene) = Scene::new(NON_PRODUCTION).await else { return };
    let agent = scene.agent("/agent/preview-restarter/python").await;
    let inline =
        async |request: &Value| scene.oauth(&agent, &["inline", &request.to_string()], "").await;
    let answer = inline(&restart()).await;
    assert_eq!(answer["scope"], PREVIEW.scope, "{answer}");
    let details = answer["authorization_details"].as_array().expect("details");
    assert_eq!(details[0]["type"], "marque_intent", "{answer}");
    let object = details.iter().find(|detail| detail["type"] == "k8s_object").expect("an object");
    assert_eq!(object["identifier"], "ns/previews/deployment/pr-1207", "{answer}");
    assert_eq!(claims(&token(&answer))["authorization_details"], answer["authorization_details"]);
    let mut wider = restart();
    wider["scopes"] = json!(["admin"]);
    let refused = inline(&wider).await;
    assert_eq!(refused["error"], "invalid_authorization_details", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_2_google_auth_exchanges_tokens() {
    let Some(scene) = Scene::new(PRODUCTION).await else { return };
    let first = scene.agent("/agent/cert-rotator/python").await;
    let second = scene.agent("/agent/second/python").await;
    let parent = scene.token(&first).await;
    let exchange = async |agent: &Path, deed: &str, scope: &str, audience: &str| {
        scene.run(agent, "sts_client.py", &[deed, scope, audience], &parent).await
    };
    let own = exchange(&first, "narrow", INGRESS.scope, INGRESS.audience).await;
    assert_eq!(own["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token", "{own}");
    assert_eq!(claims(&token(&own)).get("act"), None, "{own}");
    let acting = exchange(&second, "delegate", INGRESS.scope, INGRESS.audience).await;
    let said = claims(&token(&acting));
    assert_eq!(said["act"]["sub"], scene.id("/agent/second/python"), "{said}");
    for (scope, audience, error) in [
        ("secrets.delete", INGRESS.audience, "invalid_scope"),
        (INGRESS.scope, "https://elsewhere.prod.example.org", "invalid_target"),
    ] {
        let refused = exchange(&first, "narrow", scope, audience).await;
        assert_eq!(refused["error"], error, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_9_authlib_and_joserfc_verify_access_tokens() {
    let Some(python) = interpreter() else { return };
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let intent = approved_rotation(&daemon, &rotator).await;
    let good = rotator.exchange(&intent).await.expect(200).text("access_token");
    let (mut wider, mut unsigned) = (claims(&good), header(&good));
    wider["scope"] = "secrets.update admin".into();
    unsigned["alg"] = "none".into();
    let cut: String = good.chars().take(good.len() - 1).collect();
    let tokens = json!({
        "good": good,
        "wider": with_claims(&good, &wider),
        "unsigned": with_header(&good, &unsigned),
        "forged": ScratchKey::new().sign(&header(&good), &claims(&good)),
        "cut": cut,
        "svid": rotator.svid,
    });
    let jwks = rotator.send(Call::get(&rotator.place.jwks_url)).await.expect(200).json();
    for audience in [INGRESS.audience, "https://elsewhere.prod.example.org"] {
        let asked = json!({
            "jwks": jwks, "issuer": rotator.place.issuer_url, "audience": audience,
            "scope": INGRESS.scope, "tokens": tokens,
        });
        let told = run(&python, "verifiers.py", &rotator.place, &[], &asked.to_string()).await;
        for library in ["authlib", "joserfc"] {
            for (token, outcome) in told[library].as_object().expect("outcomes") {
                let taken = token == "good" && audience == INGRESS.audience;
                assert_eq!(outcome.get("refused").is_none(), taken, "{library} {token}: {outcome}");
                if taken {
                    assert_eq!(outcome["sub"], rotator.place.id(ROTATOR.path), "{library}");
                }
            }
        }
    }
}
