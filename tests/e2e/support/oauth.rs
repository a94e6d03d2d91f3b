//! The requests of an agent and of a resource server, as anyone would write them.

use serde_json::{Value, json};

use super::agent::Workload;
use super::daemon::{Daemon, ROTATOR, Role};
use super::http::{Answer, Call, Http};
use super::place::Place;

pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// A resource server of the shipped trust domains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResourceServer {
    pub(crate) path: &'static str,
    pub(crate) audience: &'static str,
    pub(crate) scope: &'static str,
}

/// Where the production playbook's tokens are good.
pub(crate) const INGRESS: ResourceServer = ResourceServer {
    path: "/service/ingress",
    audience: "https://ingress.prod.example.org",
    scope: "secrets.update",
};

/// Where the non-production playbook's tokens are good.
pub(crate) const PREVIEW: ResourceServer = ResourceServer {
    path: "/service/preview",
    audience: "https://preview.dev.example.org",
    scope: "deployments.restart",
};

/// The fields of a token request, in their order.
pub(crate) type Fields = Vec<(&'static str, String)>;

/// The exchange of an SVID and an intent for a token.
pub(crate) fn exchange_fields(svid: &str, intent: &str) -> Fields {
    let details = json!([{ "type": "marque_intent", "intent_id": intent }]);
    vec![
        ("grant_type", GRANT_TYPE.to_owned()),
        ("client_assertion_type", ASSERTION_TYPE.to_owned()),
        ("client_assertion", svid.to_owned()),
        ("subject_token", svid.to_owned()),
        ("subject_token_type", JWT_TYPE.to_owned()),
        ("authorization_details", details.to_string()),
    ]
}

/// The exchange of an SVID for a token, with the request for a playbook in it.
pub(crate) fn inline_fields(svid: &str, request: &Value) -> Fields {
    let mut detail = request.as_object().expect("a request").clone();
    detail.insert("type".to_owned(), "marque_intent".into());
    let mut fields = exchange_fields(svid, "");
    fields.retain(|(name, _)| *name != "authorization_details");
    fields.push(("authorization_details", json!([detail]).to_string()));
    fields
}

/// The same for the production playbook, by a client that waits.
pub(crate) fn deferred_fields(svid: &str) -> Fields {
    let mut fields = inline_fields(svid, &rotation());
    fields.push(("completion_mode", "deferred".to_owned()));
    fields
}

/// An agent at work: its process, its SVID for the issuer, and the endpoints.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) workload: Workload,
    pub(crate) svid: String,
    pub(crate) http: Http,
    pub(crate) place: Place,
}

impl Client {
    /// Starts the agent of `role` and has it fetch an SVID for its own issuer.
    pub(crate) async fn start(daemon: &Daemon, role: Role) -> Self {
        Self::of(daemon, daemon.agent(role), role.trust_domain).await
    }

    /// Revokes a token, or the code of a deferral. The hint is wrong for the one or the other, and ignored.
    pub(crate) async fn revoke(&self, token: &str) -> Answer {
        let url = format!("{}/oauth2/revoke", self.place.issuer_url);
        let fields = [
            ("token", token),
            ("token_type_hint", "access_token"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &self.svid),
        ];
        self.send(Call::form(&url, &fields)).await
    }

    /// Starts a resource server in the trust domain.
    pub(crate) async fn service(daemon: &Daemon, trust_domain: &'static str, path: &str) -> Self {
        let name = path.rsplit('/').next().expect("a path");
        Self::registered(daemon, trust_domain, path, name).await
    }

    /// Registers a copy of this program under a path and starts it.
    pub(crate) async fn registered(
        daemon: &Daemon,
        trust_domain: &'static str,
        path: &str,
        program: &str,
    ) -> Self {
        Self::of(daemon, daemon.service(trust_domain, path, program).await, trust_domain).await
    }

    async fn of(daemon: &Daemon, mut workload: Workload, trust_domain: &'static str) -> Self {
        let place = daemon.place(trust_domain).clone();
        let svid = match workload.try_jwt_svid(&[&place.issuer_url]).await {
            Ok(svid) => svid,
            Err(error) => {
                let pid = workload.pid().to_string();
                let told = daemon.operator(trust_domain).run(&["explain", "pid", &pid]).await;
                panic!("{error}: {told:?}");
            }
        };
        Self { workload, svid, http: daemon.http(trust_domain), place }
    }

    pub(crate) async fn send(&self, call: Call) -> Answer {
        self.http.send(call).await
    }

    /// `POST /v1/intents`.
    pub(crate) async fn ask(&self, body: &Value) -> Answer {
        self.send(Call::json(&self.place.intents_url, body).bearer(&self.svid)).await
    }

    /// Asks for the production playbook and gives the id of the pending intent.
    pub(crate) async fn ask_rotation(&self) -> String {
        let answer = self.ask(&rotation()).await.expect(202);
        assert_eq!(answer.json()["state"], "pending", "{answer:?}");
        answer.text("id")
    }

    /// Asks for the non-production playbook and gives the id of the approved intent.
    pub(crate) async fn ask_restart(&self) -> String {
        let answer = self.ask(&restart()).await.expect(201);
        assert_eq!(answer.json()["state"], "approved", "{answer:?}");
        answer.text("id")
    }

    /// `GET /v1/intents/{id}`.
    pub(crate) async fn look(&self, intent: &str) -> Answer {
        self.send(Call::get(&format!("{}/{intent}", self.place.intents_url)).bearer(&self.svid))
            .await
    }

    /// `POST /v1/intents/{id}/{verb}`.
    pub(crate) async fn end(&self, intent: &str, verb: &str, body: &Value) -> Answer {
        self.send(
            Call::json(&format!("{}/{intent}/{verb}", self.place.intents_url), body)
                .bearer(&self.svid),
        )
        .await
    }

    /// `POST /oauth2/token`.
    pub(crate) async fn exchange(&self, intent: &str) -> Answer {
        self.token(&exchange_fields(&self.svid, intent)).await
    }

    /// `POST /oauth2/token` with exactly these fields.
    pub(crate) async fn token(&self, fields: &Fields) -> Answer {
        self.send(Call::form(&self.place.token_endpoint, fields)).await
    }

    /// `POST /oauth2/introspect`.
    pub(crate) async fn introspect(&self, token: &str) -> Answer {
        let fields = [
            ("token", token),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", self.svid.as_str()),
        ];
        self.send(Call::form(&self.place.introspection_endpoint(), &fields)).await
    }

    /// Whether introspection says that the token is live.
    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await.expect(200).json()["active"]
            .as_bool()
            .expect("`active` is a boolean")
    }
}

/// The request for the production playbook.
pub(crate) fn rotation() -> Value {
    json!({
        "playbook": "ingress-cert-rotation",
        "parameters": { "service": "checkout", "region": "eu-west-1" },
        "ticket": "CHG-1842",
        "justification": "the certificate of checkout ends in six days",
    })
}

/// The request for the non-production playbook.
pub(crate) fn restart() -> Value {
    json!({ "playbook": "restart-preview", "parameters": { "preview": "pr-1207" } })
}

/// An intent of the production agent, approved by the operator.
pub(crate) async fn approved_rotation(daemon: &Daemon, rotator: &Client) -> String {
    let intent = rotator.ask_rotation().await;
    daemon.operator(ROTATOR.trust_domain).approve(&intent).await;
    intent
}
