//! Five agents and the playbooks by which the first may hand a token on.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{ASSERTION_TYPE, Client, Fields, GRANT_TYPE, JWT_TYPE, PREVIEW};
use crate::support::tokens::ScratchKey;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What is asked for in each dimension: each hop gets one less of the four.
const VERBS: [&str; 4] = ["get", "list", "watch", "patch"];
const KINDS: [&str; 4] = ["deployment", "service", "configmap", "ingress"];
const CLUSTERS: [&str; 4] = ["c1", "c2", "c3", "c4"];
const CLASSES: [&str; 4] = ["events", "infra_metadata", "logs", "traces"];
/// The programs of `b`, `c`, `d` and `e`: copies that other tests have as well.
const PROGRAMS: [(&str, &str); 4] =
    [("b", "cert-rotator-one"), ("c", "cert-rotator-two"), ("d", "ingress"), ("e", "helper")];

static PROOFS: AtomicUsize = AtomicUsize::new(0);

/// The playbook that may be handed on three times, to the agents below `/agent/chain` and to the first one.
fn playbook() -> String {
    let scopes = VERBS.map(|verb| format!("\"deployments.{verb}\"")).join(", ");
    let actions = VERBS.map(|verb| format!("\"{verb}\"")).join(", ");
    let kinds =
        KINDS.map(|kind| format!("\"k8s://dev/ns/previews/{kind}/{{{{params.preview}}}}\""));
    let tools = VERBS.map(|verb| format!("[[tools]]\nserver = \"k8s\"\nname = \"{verb}\"\n"));
    format!(
        r#"apiVersion = "marque/v1"
kind = "Playbook"
id = "review-preview"
version = 1
title = "Look after one preview deployment"
owner = "group:platform-dev"
review_by = "2027-03-01"
tenant = "example"
trust_domain = "dev.example.org"
status = "active"
purpose = "review"
data_classes = {CLASSES:?}
resources = [{kinds}]
delivery = "token"

[risk]
base = 10

[who]
agents = ["spiffe://dev.example.org/agent/preview-restarter/*"]

[parameters]
type = "object"
additionalProperties = false
required = ["preview"]

[parameters.properties.preview]
type = "string"
pattern = "^pr-[0-9]{{1,6}}$"

[[permits]]
audience = "https://preview.dev.example.org"
scopes = [{scopes}]

[[permits.authorization_details]]
type = "k8s_object"
actions = [{actions}]
identifier = "ns/previews"

{tools}
[constraints]
clusters = {CLUSTERS:?}
max_age_days = 40

[limits]
max_records = 40
max_calls = 40

[on_behalf]
max_depth = 3
agents = [
    "spiffe://dev.example.org/agent/chain/*",
    "spiffe://dev.example.org/agent/preview-restarter/*",
]

[time]
expected_runtime = "2m"
retry_buffer = "1m"
max_duration = "10m"
uses = 1
request_ttl = "10m"
start_within = "10m"

[approval]
mode = "auto"
on_timeout = "deny"

[[approval.levels]]
any = [{{ approve = 1, groups = ["operators", "platform-dev"] }}]
"#,
        kinds = kinds.join(", "),
        tools = tools.join("\n"),
    )
}

fn write(trust_domains: &Path, id: &str, text: &str) {
    let text = text.replace("\"review-preview\"", &format!("\"{id}\""));
    let file = trust_domains.join(NON_PRODUCTION).join("playbooks").join(format!("{id}.toml"));
    std::fs::write(file, text).expect("write the playbook");
}

/// What is asked for at a hop, from 1 on: one less of everything.
pub(super) fn less(hop: usize) -> (String, Value) {
    let left = 4 - hop;
    let scope = VERBS[..left].iter().map(|verb| format!("deployments.{verb}")).collect::<Vec<_>>();
    let tools: serde_json::Map<String, Value> = VERBS[..left]
        .iter()
        .map(|verb| (format!("k8s.{verb}"), json!({"max_calls": left})))
        .collect();
    let identifier = ["ns/previews", "deployment", "pr-7", "status"][..=hop].join("/");
    let purpose = ["review", "deployment", "status", "read"][..=hop].join(".");
    let details = json!([
        {"type": "k8s_object", "actions": VERBS[..left], "identifier": identifier},
        {"type": "marque_rights", "tools": tools, "data_classes": CLASSES[..left],
            "constraints": {"clusters": CLUSTERS[..left], "max_age_days": 10 * left},
            "limits": {"max_records": 10 * left, "max_calls": 10 * left},
            "purpose": purpose},
    ]);
    (scope.join(" "), details)
}

/// An agent, and the key that its tokens are bound to.
pub(super) struct Agent {
    pub(super) client: Client,
    pub(super) wit: String,
    pub(super) key: ScratchKey,
}

impl Agent {
    pub(super) async fn of(mut client: Client) -> Self {
        let (wit, key) = client.workload.wit_svid().await;
        Self { client, wit, key: ScratchKey::of_jwk(&key) }
    }

    /// A request for a token for `token`, handed on to whoever the WIT-SVID is of.
    pub(super) fn hands(&self, token: &str, hop: usize, actor: &str) -> Fields {
        let (scope, details) = less(hop);
        let mut fields = self.asks(token);
        fields.extend([
            ("actor_token", actor.to_owned()),
            ("actor_token_type", JWT_TYPE.to_owned()),
            ("scope", scope),
            ("authorization_details", details.to_string()),
        ]);
        fields.extend(
            KINDS[..4 - hop]
                .iter()
                .map(|kind| ("resource", format!("k8s://dev/ns/previews/{kind}/pr-7"))),
        );
        fields
    }

    /// A request for a token for `token`, with nothing else said.
    pub(super) fn asks(&self, token: &str) -> Fields {
        vec![
            ("grant_type", GRANT_TYPE.to_owned()),
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", self.client.svid.clone()),
            ("subject_token", token.to_owned()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
        ]
    }

    pub(super) async fn send(&self, fields: &Fields) -> Answer {
        self.client.token(fields).await
    }

    /// Sends it with a new proof by this key.
    pub(super) async fn send_proving(&self, fields: &Fields, key: &ScratchKey) -> Answer {
        let endpoint = &self.client.place.token_endpoint;
        let jti = format!("proof-{}", PROOFS.fetch_add(1, Ordering::Relaxed));
        let proof = key.proof(endpoint, &jti, None);
        self.client.send(Call::form(endpoint, fields).header("dpop", proof)).await
    }

    pub(super) async fn sends(&self, fields: &Fields) -> Answer {
        self.send_proving(fields, &self.key).await
    }
}

/// The first agent and four more, and the resource server that their tokens are for.
pub(super) struct Chain {
    pub(super) daemon: Daemon,
    pub(super) a: Client,
    pub(super) others: Vec<Agent>,
    pub(super) resource: Client,
}

impl Chain {
    pub(super) async fn start() -> Self {
        let daemon = Daemon::start_with(|trust_domains| {
            let text = playbook();
            write(trust_domains, "review-preview", &text);
            let all = r#""spiffe://dev.example.org/agent/chain/*","#;
            let only = text.replace(all, r#""spiffe://dev.example.org/agent/chain/b","#);
            let only = only.replacen(
                r#"    "spiffe://dev.example.org/agent/preview-restarter/*",
]"#,
                "]",
                1,
            );
            assert!(only.contains("chain/b\",\n]"), "{only}");
            write(trust_domains, "review-by-b", &only);
            let brief = text
                .replace("expected_runtime = \"2m\"", "expected_runtime = \"1s\"")
                .replace("retry_buffer = \"1m\"", "retry_buffer = \"1s\"");
            write(trust_domains, "review-briefly", &brief);
        })
        .await;
        let a = Client::start(&daemon, RESTARTER).await;
        let mut others = Vec::new();
        for (name, program) in PROGRAMS {
            let path = format!("/agent/chain/{name}");
            let client = Client::registered(&daemon, NON_PRODUCTION, &path, program).await;
            others.push(Agent::of(client).await);
        }
        let resource = Client::service(&daemon, NON_PRODUCTION, PREVIEW.path).await;
        Self { daemon, a, others, resource }
    }

    pub(super) fn id(&self, name: &str) -> String {
        self.a.place.id(&format!("/agent/chain/{name}"))
    }

    /// The token of the first agent, of this playbook.
    pub(super) async fn first(&self, playbook: &str) -> String {
        let asked = json!({ "playbook": playbook, "parameters": { "preview": "pr-7" } });
        let intent = self.a.ask(&asked).await.expect(201).text("id");
        self.a.exchange(&intent).await.expect(200).text("access_token")
    }

    /// The first agent as one that hands on.
    pub(super) fn hands(&self, token: &str, hop: usize, to: &Agent) -> Fields {
        let mut fields = self.others[0].hands(token, hop, &to.wit);
        for (name, value) in &mut fields {
            if *name == "client_assertion" {
                value.clone_from(&self.a.svid);
            }
        }
        fields
    }

    /// The tokens of `a`, `b`, `c` and `d`.
    pub(super) async fn tokens(&self) -> Vec<String> {
        let [b, c, d, _] = &self.others[..] else { panic!("four agents") };
        let first = self.first("review-preview").await;
        let second = self.a.token(&self.hands(&first, 1, b)).await.expect(200).text("access_token");
        let third = b.sends(&b.hands(&second, 2, &c.wit)).await.expect(200).text("access_token");
        let fourth = c.sends(&c.hands(&third, 3, &d.wit)).await.expect(200).text("access_token");
        vec![first, second, third, fourth]
    }
}
