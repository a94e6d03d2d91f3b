//! Exchanges of tokens through the token service, with a store in memory.

mod chains;
mod details;
mod gate;
mod lessons;
mod policy;
mod refusals;
mod rules;

use std::{collections::BTreeSet, time::Duration};

use marque_intent::{Dimension, GrantTerms, OnBehalf};
use marque_jose::{HolderKey, UnverifiedJws};
use marque_spiffe::SpiffeId;
use marque_testkit::START;
use serde_json::Value;

use crate::{
    GRANT_TYPE_TOKEN_EXCHANGE, OAuthError, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_JWT, TokenId,
    TokenRecord, TokenServiceConfig,
    fixture::{AUDIENCE, Fields, Rig, SECOND_AUDIENCE},
};

const EVERYBODY: &str = "spiffe://prod.example.org/agent/*";

/// A rig whose grant may be handed on, and whose tokens are for two gateways and for three more agents.
struct Team {
    rig: Rig,
    b: SpiffeId,
    c: SpiffeId,
    d: SpiffeId,
}

fn behalf(max_depth: u8, agents: &[&str]) -> OnBehalf {
    OnBehalf {
        max_depth,
        agents: agents.iter().map(|agent| agent.parse().unwrap()).collect(),
        equal: BTreeSet::new(),
    }
}

fn team() -> Team {
    team_with(|_| {}, |_| {})
}

fn team_with(
    configure: impl FnOnce(&mut TokenServiceConfig),
    shape: impl FnOnce(&mut GrantTerms),
) -> Team {
    let agent = |name: &str| -> SpiffeId {
        format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
    };
    let (b, c, d) = (agent("b"), agent("c"), agent("d"));
    let rig = Rig::with(configure, |terms| {
        terms.on_behalf = Some(behalf(3, &[EVERYBODY]));
        terms.audiences.extend([&b, &c, &d].map(ToString::to_string));
        terms.scopes.extend(["secrets.list", "secrets.watch"].map(|scope| scope.parse().unwrap()));
        shape(terms);
    });
    Team { rig, b, c, d }
}

/// What a token says.
fn claims(token: &str) -> Value {
    let jws = UnverifiedJws::parse(token).unwrap();
    Value::Object(jws.dangerous_unverified_claims().clone())
}

impl Team {
    /// The token of the first agent, for its own SVID.
    async fn first(&self) -> String {
        let response = self.rig.exchange(&self.rig.fields()).await.unwrap();
        response.access_token().expose_token().to_owned()
    }

    fn svid(&self, agent: &SpiffeId) -> String {
        self.rig.svid_of(&self.rig.own, agent)
    }

    /// A request of `client` for a token for `token`.
    fn for_token(&self, client: &SpiffeId, token: &str) -> Fields {
        Fields::default()
            .set("grant_type", GRANT_TYPE_TOKEN_EXCHANGE)
            .authenticated(&self.svid(client))
            .set("subject_token", token)
            .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
    }

    /// The same with less of everything that can be less.
    fn narrower(&self, client: &SpiffeId, token: &str, audiences: &[&str], scope: &str) -> Fields {
        let fields = self.for_token(client, token).set("scope", scope);
        audiences.iter().fold(fields, |fields, audience| fields.add("audience", audience))
    }

    async fn exchange(&self, fields: &Fields) -> Result<String, OAuthError> {
        let response = self.rig.exchange(fields).await?;
        Ok(response.access_token().expose_token().to_owned())
    }

    /// What is kept of a token.
    fn record(&self, token: &str) -> TokenRecord {
        let id: TokenId = claims(token)["jti"].as_str().unwrap().parse().unwrap();
        self.rig.store.kept().tokens[&id].clone()
    }

    /// The token of `b`, which may be handed on to `c` and `d`.
    async fn second(&self) -> String {
        self.second_of(&self.first().await).await
    }

    async fn second_of(&self, first: &str) -> String {
        let audiences = [AUDIENCE, self.c.as_str(), self.d.as_str()];
        let scope = "secrets.update secrets.read secrets.list";
        self.exchange(&self.narrower(&self.b, first, &audiences, scope)).await.unwrap()
    }

    /// The token of `c`, which may be handed on to `d`.
    async fn third(&self) -> String {
        let second = self.second().await;
        let audiences = [AUDIENCE, self.d.as_str()];
        self.exchange(&self.narrower(&self.c, &second, &audiences, "secrets.read secrets.list"))
            .await
            .unwrap()
    }

    fn wit(&self, agent: &SpiffeId, holder: &HolderKey) -> String {
        let end = START + Duration::from_secs(300);
        self.rig.own.wit_svid(agent, holder, end).expose_token().to_owned()
    }
}

fn equal(dimensions: &[Dimension]) -> OnBehalf {
    OnBehalf { equal: dimensions.iter().copied().collect(), ..behalf(3, &[EVERYBODY]) }
}

fn is_subset(child: &Value, parent: &Value) -> bool {
    let set = |value: &Value| -> BTreeSet<String> {
        match value {
            Value::String(text) => text.split(' ').map(str::to_owned).collect(),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
            }
            _ => BTreeSet::new(),
        }
    };
    set(child).is_subset(&set(parent))
}
