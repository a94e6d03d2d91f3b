//! On whose behalf an agent may act: the playbook says so, the approver sees it, the token service holds to it (M 12).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{Client, exchange_fields, inline_fields, restart};
use crate::support::operator::run_marque;
use crate::support::tokens::{ScratchKey, claims, now};

const LOGIN: &str = "https://login.example.org";
const ID_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Has the non-production trust domain believe `corp`, which has this key, and its playbook want one of corp's SREs, a
/// session and a task.
fn want_a_person(trust_domains: &Path, key: &ScratchKey) {
    let folder = trust_domains.join(NON_PRODUCTION);
    let mut jwk = key.jwk();
    jwk["kid"] = "corp-1".into();
    jwk["alg"] = "ES256".into();
    jwk["use"] = "sig".into();
    fs::write(folder.join("corp.json"), json!({ "keys": [jwk] }).to_string()).expect("the keys");
    let document = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&document).expect("the document");
    let issuer = format!(
        "\n[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"non-production\"\nissuer = \"{LOGIN}\"\n\
         audiences = [\"marque-dev\"]\njwks_file = \"corp.json\"\ngroups_claim = \"groups\"\n"
    );
    fs::write(document, text + &issuer).expect("the document");
    // The shipped cases ask without a session and a task.
    fs::remove_dir_all(folder.join("policy/tests")).expect("the cases");
    let playbook = folder.join("playbooks/restart-preview.toml");
    let text = fs::read_to_string(&playbook).expect("the playbook");
    let shipped =
        "[who.delegators]\nrequired = false\npersons = [{ issuer = \"corp\", everybody = true }]";
    assert!(text.contains(shipped), "{text}");
    let wanted = "[who.delegators]\nrequired = true\npersons = [{ issuer = \"corp\", groups = [\"sre\"] }]\n\n\
                  [workflow]\nrequired = [\"session\", \"task\"]";
    fs::write(playbook, text.replace(shipped, wanted)).expect("the playbook");
}

fn id_token(key: &ScratchKey, person: &str, groups: &Value) -> String {
    let header = json!({ "alg": "ES256", "kid": "corp-1", "typ": "JWT" });
    let said = json!({
        "iss": LOGIN, "sub": person, "aud": "marque-dev", "iat": now(), "exp": now() + 120,
        "groups": groups,
    });
    key.sign(&header, &said)
}

fn review() -> Value {
    let mut request = restart();
    request["session"] = "sess_1".into();
    request["task"] = "task_2".into();
    request
}

impl Client {
    async fn for_person(&self, id_token: &str, intent: &str) -> Answer {
        let mut fields = exchange_fields(&self.svid, intent);
        fields.retain(|(name, _)| !name.starts_with("subject_token"));
        fields.push(("subject_token", id_token.to_owned()));
        fields.push(("subject_token_type", ID_TOKEN_TYPE.to_owned()));
        self.token(&fields).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m_12_a_token_without_the_person_the_session_or_the_task_that_a_playbook_wants_is_refused()
{
    let key = ScratchKey::new();
    let daemon = Daemon::start_with(|folder| want_a_person(folder, &key)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    for absent in ["session", "task"] {
        let mut request = review();
        request.as_object_mut().expect("an object").remove(absent);
        agent.ask(&request).await.expect(403).refused("workflow_mismatch");
        agent.token(&inline_fields(&agent.svid, &request)).await.refused("workflow_mismatch");
    }
    let intent = agent.ask(&review()).await.expect(201).text("id");
    agent.exchange(&intent).await.oauth_error("access_denied").refused("delegator_missing");
    let bob = id_token(&key, "bob", &json!(["dev"]));
    agent.for_person(&bob, &intent).await.refused("delegator_not_allowed");
    let forged = id_token(&ScratchKey::new(), "alice", &json!(["sre"]));
    agent.for_person(&forged, &intent).await.oauth_error("invalid_request");
    let alice = id_token(&key, "alice", &json!(["dev", "sre"]));
    let token = agent.for_person(&alice, &intent).await.expect(200).text("access_token");
    let said = claims(&token);
    assert_eq!(said["sub"], "corp:alice", "{said}");
    assert_eq!(said["delegator_id"], "corp:alice", "{said}");
    assert_eq!(said["session_id"], "sess_1", "{said}");
    assert_eq!(said["task_id"], "task_2", "{said}");
    assert_eq!(said["purpose"], "restart-preview", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_12_an_agent_acts_for_nobody_where_the_playbook_names_nobody() {
    let key = ScratchKey::new();
    let daemon = Daemon::start_with(|folder| {
        want_a_person(folder, &key);
        let playbook = folder.join(NON_PRODUCTION).join("playbooks/restart-preview.toml");
        let text = fs::read_to_string(&playbook).expect("the playbook");
        let rule = text.split("[who.delegators]").nth(1).and_then(|rest| rest.split("\n\n").next());
        let rule = format!("[who.delegators]{}", rule.expect("the rule"));
        fs::write(playbook, text.replace(&rule, "")).expect("the playbook");
    })
    .await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask(&review()).await.expect(201).text("id");
    let alice = id_token(&key, "alice", &json!(["sre"]));
    agent.for_person(&alice, &intent).await.refused("delegator_not_allowed");
    let token = agent.exchange(&intent).await.expect(200).text("access_token");
    assert!(claims(&token).get("delegator_id").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn m_30_on_whose_behalf_is_shown_to_the_approver_and_to_the_agent() {
    let key = ScratchKey::new();
    let daemon = Daemon::start_with(|folder| want_a_person(folder, &key)).await;
    let agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask(&review()).await.expect(201).text("id");
    let rule = json!({ "required": true, "persons": [{ "issuer": "corp", "groups": ["sre"] }] });

    let operator = daemon.operator(NON_PRODUCTION);
    let shown = operator.json(&["intent", "show", &intent]).await;
    assert_eq!(shown["grant"]["delegators"], rule, "{shown}");
    assert_eq!(shown["grant"]["session"], "sess_1", "{shown}");
    assert_eq!(shown["grant"]["data_classes"], json!(["infra_metadata"]), "{shown}");
    let text = operator.arguments(&["intent", "show", &intent]);
    let text: Vec<String> =
        text.into_iter().filter(|word| word != "--output" && word != "json").collect();
    let page = run_marque(&text).await.succeeded().out;
    assert!(page.contains("on behalf of  corp: whoever is in sre"), "{page}");
    assert!(page.contains("│ Its session: sess_1"), "{page}");

    let seen = agent.look(&intent).await.expect(200).json();
    assert_eq!(seen["grant"]["delegators"], rule, "{seen}");
    assert_eq!(seen["grant"]["task"], "task_2", "{seen}");
    let playbooks = agent.place.intents_url.replace("/intents", "/playbooks");
    let playbooks = agent.send(Call::get(&playbooks).bearer(&agent.svid)).await.expect(200).json();
    assert_eq!(playbooks["playbooks"][0]["delegators"], rule, "{playbooks}");
    assert_eq!(playbooks["playbooks"][0]["workflow"], json!(["session", "task"]), "{playbooks}");
}
