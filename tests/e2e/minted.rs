//! What is minted tells no secret (M 17): tokens of every kind that this issuer signs, decoded and searched for private keys,
//! SVIDs, other tokens and deferral codes.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marque_intent::is_secret_name;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::Call;
use crate::support::oauth::{
    ASSERTION_TYPE, Client, Fields, GRANT_TYPE, PREVIEW, exchange_fields, inline_fields, restart,
};
use crate::support::secrets::Canaries;
use crate::support::tokens::{claims, header};

const PARTNER: &str = "https://issuer.partner.example.org";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TXN_TOKEN: &str = "urn:ietf:params:oauth:token-type:txn_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";

/// A playbook whose target is another domain, and one that a person approves; both as the shipped one otherwise.
fn more_playbooks(trust_domains: &Path) {
    let folder = trust_domains.join(NON_PRODUCTION);
    let playbooks = folder.join("playbooks");
    let shipped = fs::read_to_string(playbooks.join("restart-preview.toml")).expect("a playbook");
    let other = |id: &str, changes: &[(&str, &str)]| {
        let named = shipped.replace("id = \"restart-preview\"", &format!("id = \"{id}\""));
        let text = changes.iter().fold(named, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        fs::write(playbooks.join(format!("{id}.toml")), text).expect("a playbook");
    };
    other("restart-partner", &[(PREVIEW.audience, PARTNER)]);
    other("restart-asked", &[("mode = \"auto\"", "mode = \"always\"")]);
    let document = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&document).expect("the document");
    let server = format!(
        "\n[[authorization_servers]]\nname = \"partner\"\nenvironment = \"non-production\"\n\
         issuer = \"{PARTNER}\"\ngrants_for = [\"jwt\", \"id-jag\"]\n"
    );
    fs::write(document, text + &server).expect("the document");
}

fn request(playbook: &str) -> Value {
    let mut request = restart();
    request["playbook"] = playbook.into();
    request["session"] = "sess_2026_05_12_001".into();
    request["task"] = "task_8842".into();
    request["justification"] = "the preview of pr-1207 hangs".into();
    request
}

/// Everything that was signed, by what it is.
struct Minted(Vec<(&'static str, String)>);

impl Minted {
    /// Exchanges an SVID and a request for this playbook.
    async fn of_intent(
        &mut self,
        kind: &'static str,
        agent: &Client,
        playbook: &str,
        more: &[(&'static str, &str)],
    ) -> String {
        let intent = agent.ask(&request(playbook)).await.expect(201).text("id");
        let mut fields = exchange_fields(&agent.svid, &intent);
        fields.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let token = agent.token(&fields).await.expect(200).text("access_token");
        self.0.push((kind, token.clone()));
        token
    }

    /// Exchanges a token of ours.
    async fn of_token(
        &mut self,
        kind: &'static str,
        agent: &Client,
        token: &str,
        more: &[(&'static str, &str)],
    ) {
        let mut fields: Fields = vec![
            ("grant_type", GRANT_TYPE.to_owned()),
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", agent.svid.clone()),
            ("subject_token", token.to_owned()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
        ];
        fields.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let token = agent.token(&fields).await.expect(200).text("access_token");
        self.0.push((kind, token));
    }
}

/// Every text of a JSON value, with the names of members.
fn texts<'a>(value: &'a Value, names: &mut Vec<&'a str>, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, names, found)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            names.push(name);
            texts(value, names, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a text is a compact JWS, whatever it says.
fn is_token(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && URL_SAFE_NO_PAD.decode(parts[0]).is_ok_and(|header| {
            serde_json::from_slice::<Value>(&header).is_ok_and(|header| header["alg"].is_string())
        })
}

/// Nothing in a decoded token is a secret: neither one of ours nor anything named like one.
fn scan(kind: &str, token: &str, canaries: &Canaries) {
    for (part, value) in [("header", header(token)), ("claims", claims(token))] {
        let place = format!("the {part} of the {kind}");
        canaries.search(&place, value.to_string().as_bytes());
        let (mut names, mut found) = (Vec::new(), Vec::new());
        texts(&value, &mut names, &mut found);
        assert!(!names.iter().any(|name| is_secret_name(name)), "{place}: {names:?}");
        for text in found {
            assert!(!is_token(text) && !text.contains("PRIVATE KEY"), "{place} holds a token");
            // What is packed is searched as well.
            if let Ok(packed) = URL_SAFE_NO_PAD.decode(text) {
                canaries.search(&place, &packed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m_17_no_claim_of_any_token_holds_a_secret() {
    let daemon = Daemon::start_with(more_playbooks).await;
    let mut agent = Client::start(&daemon, RESTARTER).await;
    let preview = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
    let mut canaries = Canaries::default();
    canaries.token("the agent's SVID", &agent.svid);
    canaries.token("the service's SVID", &preview.svid);
    let svid = agent.workload.x509_svid().await.expect("an X.509-SVID");
    canaries.key(
        "the agent's key",
        &hex::decode(svid["key"].as_str().expect("a key")).expect("hexadecimal"),
    );
    assert!(canaries.secret_files(&daemon.path("")) >= 3, "the issuer's own keys");

    // A code that was given for what waits while everything else is minted.
    let mut fields = inline_fields(&agent.svid, &request("restart-asked"));
    fields.push(("completion_mode", "deferred".to_owned()));
    let deferred = agent.token(&fields).await.oauth_error("authorization_pending");
    canaries.add("the deferral code", deferred.text("deferral_code").as_bytes());

    let mut minted = Minted(Vec::new());
    let access = minted.of_intent("access token", &agent, "restart-preview", &[]).await;
    minted.of_token("derived token", &agent, &access, &[]).await;
    let more = [
        ("requested_token_type", TXN_TOKEN),
        ("audience", NON_PRODUCTION),
        ("scope", PREVIEW.scope),
    ];
    minted.of_token("transaction token", &agent, &access, &more).await;
    for (kind, requested) in [("chaining grant", JWT), ("ID-JAG", ID_JAG)] {
        let more = [("requested_token_type", requested), ("audience", PARTNER)];
        minted.of_intent(kind, &agent, "restart-partner", &more).await;
    }
    let fields = [
        ("token", access.as_str()),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &preview.svid),
    ];
    let call = Call::form(&preview.place.introspection_endpoint(), &fields)
        .header("accept", "application/token-introspection+jwt");
    let introspected = preview.send(call).await.expect(200).body;
    assert_eq!(claims(&introspected)["token_introspection"]["active"], true);
    minted.0.push(("introspection answer", introspected));
    let list = claims(&access)["status"]["status_list"]["uri"].as_str().expect("a URI").to_owned();
    minted.0.push(("status list", preview.send(Call::get(&list)).await.expect(200).body));

    // The envelope is in them, so that there is something to search.
    let said = claims(&access);
    for (name, value) in [
        ("tenant_id", json!("example")),
        ("session_id", json!("sess_2026_05_12_001")),
        ("task_id", json!("task_8842")),
        ("purpose", json!("restart-preview")),
    ] {
        assert_eq!(said[name], value, "{said}");
    }
    let kinds: Vec<Value> =
        minted.0.iter().map(|(_, token)| header(token)["typ"].clone()).collect();
    assert_eq!(
        kinds,
        [
            "at+jwt",
            "at+jwt",
            "txntoken+jwt",
            "authorization-grant+jwt",
            "oauth-id-jag+jwt",
            "token-introspection+jwt",
            "statuslist+jwt",
        ]
    );
    for (kind, token) in &minted.0 {
        // No token holds another, nor its own signature.
        let mut others = canaries.clone();
        for (name, other) in &minted.0 {
            others.token(name, other);
        }
        scan(kind, token, &others);
    }
}
