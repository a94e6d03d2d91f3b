//! A token on its way through four agents with the real daemon (M 20–22): each hands on less than it has, to the key in the
//! next one's WIT-SVID, and nobody else gets anything.

mod chain;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use self::chain::{Chain, less};
use crate::support::daemon::{NON_PRODUCTION, RESTARTER, ROTATOR};
use crate::support::oauth::{Client, Fields};
use crate::support::tokens::{claims, with_claims};
use crate::support::wait::until;

fn set(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => text.split(' ').map(str::to_owned).collect(),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
        }
        other => panic!("{other}"),
    }
}

fn at(said: &Value, pointer: &str) -> Value {
    said.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {said}")).clone()
}

/// Panics unless the later token has less than the earlier in every dimension that a token speaks of.
fn has_less(later: &Value, earlier: &Value) {
    for list in [
        "/scope",
        "/authorization_details/1/actions",
        "/allowed_tools",
        "/resource_constraints/clusters",
        "/resource_constraints/data_classes",
        "/rights/resources",
    ] {
        let (less, more) = (set(&at(later, list)), set(&at(earlier, list)));
        assert!(less.len() < more.len() && less.is_subset(&more), "{list}: {later} {earlier}");
    }
    for number in [
        "/resource_constraints/max_age_days",
        "/resource_constraints/max_records",
        "/rights/limits/max_calls",
    ] {
        let of = |said: &Value| at(said, number).as_u64().expect("a number");
        assert!(of(later) < of(earlier), "{number}");
    }
    for below in ["/authorization_details/1/identifier", "/purpose"] {
        let of = |said: &Value| at(said, below).as_str().expect("a text").to_owned();
        assert!(of(later).len() > of(earlier).len() && of(later).starts_with(&of(earlier)));
    }
    for equal in ["sub", "iss", "aud", "tenant_id", "intent"] {
        assert_eq!(later[equal], earlier[equal], "{equal}");
    }
    assert!(later["exp"].as_u64() <= earlier["exp"].as_u64());
    let depth = |said: &Value| said["rights"]["on_behalf"]["max_depth"].as_u64().unwrap_or(0);
    assert!(depth(later) < depth(earlier));
}

#[tokio::test(flavor = "multi_thread")]
async fn m_22_a_chain_of_four_agents_ends_with_less_than_it_began_in_every_dimension() {
    let chain = Chain::start().await;
    let tokens = chain.tokens().await;
    let said: Vec<Value> = tokens.iter().map(|token| claims(token)).collect();
    for (hop, earlier) in said.iter().enumerate() {
        for later in &said[hop + 1..] {
            has_less(later, earlier);
        }
    }
    // The root never changes; the newest actor stands outermost, and each token is bound to its holder's key.
    let root = chain.a.place.id(RESTARTER.path);
    let issuer = &chain.a.place.issuer_url;
    let mut act = Value::Null;
    for (hop, name) in [None, Some("b"), Some("c"), Some("d")].into_iter().enumerate() {
        assert_eq!(said[hop]["sub"], json!(root));
        if let Some(name) = name {
            let mut outer = json!({"sub": chain.id(name), "iss": issuer});
            if !act.is_null() {
                outer["act"] = act;
            }
            act = outer;
            assert_eq!(said[hop]["client_id"], json!(chain.id(name)));
            assert!(said[hop]["cnf"]["jkt"].is_string(), "{}", said[hop]);
        }
        assert_eq!(said[hop].get("act").unwrap_or(&Value::Null), &act);
        // The resource server learns all of it.
        let told = chain.resource.introspect(&tokens[hop]).await.expect(200).json();
        assert_eq!(told["active"], true, "{hop}");
        for claim in ["sub", "act", "scope", "client_id", "cnf", "authorization_details", "rights"]
        {
            assert_eq!(told.get(claim), said[hop].get(claim), "{hop} {claim}");
        }
    }
    assert_eq!(said[3]["scope"], "deployments.get");
    chain.daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}

/// The fields with one of them replaced, or taken away where there is no value.
fn but(mut fields: Fields, name: &'static str, value: Option<&str>) -> Fields {
    fields.retain(|(known, _)| *known != name);
    fields.extend(value.map(|value| (name, value.to_owned())));
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn m_20_whoever_asks_for_more_than_a_token_has_or_is_not_meant_gets_nothing() {
    let chain = Chain::start().await;
    let [b, c, d, e] = &chain.others[..] else { panic!("four agents") };
    let tokens = chain.tokens().await;
    let good = || b.hands(&tokens[1], 2, &c.wit);
    let details = |details: Value| but(good(), "authorization_details", Some(&details.to_string()));
    let k8s = |actions: &[&str], identifier: &str| {
        let mut all = less(2).1;
        all[0] = json!({"type": "k8s_object", "actions": actions, "identifier": identifier});
        details(all)
    };
    let tools = |tools: Value| {
        let mut all = less(2).1;
        all[1]["tools"] = tools;
        details(all)
    };
    let a_wit = {
        // The root's own WIT-SVID.
        let mut workload = chain.daemon.agent(RESTARTER);
        workload.wit_svid().await.0
    };
    let forged = {
        let mut said = claims(&tokens[1]);
        said["act"] = json!({"sub": chain.id("c"), "iss": chain.a.place.issuer_url});
        with_claims(&tokens[1], &said)
    };
    let asked = json!({"playbook": "review-preview", "parameters": {"preview": "pr-8"}});
    let intent = chain.a.ask(&asked).await.expect(201).text("id");
    let other = json!([{"type": "marque_intent", "intent_id": intent}]);
    let wide = "deployments.get deployments.patch";
    let jwt = c.client.svid.as_str();
    for (name, asking, fields, error) in [
        ("wider scope", b, but(good(), "scope", Some(wide)), "invalid_scope"),
        (
            "wider actions",
            b,
            k8s(&["get", "patch"], "ns/previews/deployment/pr-7"),
            "invalid_authorization_details",
        ),
        ("a wider identifier", b, k8s(&["get"], "ns/previews"), "invalid_authorization_details"),
        (
            "a tool that was left out",
            b,
            tools(json!({"k8s.patch": {}})),
            "invalid_authorization_details",
        ),
        (
            "more calls of a tool",
            b,
            tools(json!({"k8s.get": {"max_calls": 9}})),
            "invalid_authorization_details",
        ),
        (
            "all of the details",
            b,
            but(good(), "authorization_details", None),
            "invalid_authorization_details",
        ),
        ("another intent", b, details(other), "invalid_authorization_details"),
        (
            "another target",
            b,
            but(good(), "audience", Some("https://ingress.prod.example.org")),
            "invalid_target",
        ),
        (
            "the subject as the actor",
            b,
            but(good(), "actor_token", Some(&tokens[1])),
            "invalid_request",
        ),
        ("the root as an actor", b, but(good(), "actor_token", Some(&a_wit)), "access_denied"),
        ("an actor without a key", b, but(good(), "actor_token", Some(jwt)), "invalid_request"),
        ("an agent twice", c, c.hands(&tokens[2], 3, &b.wit), "access_denied"),
        ("one hop too many", d, d.hands(&tokens[3], 3, &e.wit), "access_denied"),
        ("a forged act", b, but(good(), "subject_token", Some(&forged)), "invalid_request"),
        ("who does not hold it", c, c.hands(&tokens[1], 2, &d.wit), "invalid_request"),
        ("who held what it came of", b, b.hands(&tokens[2], 3, &d.wit), "invalid_request"),
    ] {
        let answer = asking.sends(&fields).await;
        assert_eq!(answer.json()["error"], error, "{name}: {answer:?}");
    }
    // A bound token without its key, or with another.
    b.send(&good()).await.refused("sender_constraint_failed");
    b.send_proving(&good(), &c.key).await.refused("sender_constraint_failed");
    // Nothing in a request but a verified actor makes an actor.
    let mut fields = good();
    fields.push(("act", json!({"sub": chain.id("e")}).to_string()));
    let third = b.sends(&fields).await.expect(200).text("access_token");
    assert_eq!(claims(&third)["act"]["sub"], json!(chain.id("c")));
    // The other environment knows neither the token nor the agent.
    let rotator = Client::start(&chain.daemon, ROTATOR).await;
    let there = but(b.asks(&tokens[0]), "client_assertion", Some(&rotator.svid));
    rotator.token(&there).await.oauth_error("invalid_request");
    let answer = chain.a.token(&there).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    for token in &tokens {
        assert!(chain.resource.is_active(token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_2_17_the_one_agent_that_may_act_is_named_and_no_other_acts() {
    let chain = Chain::start().await;
    let [b, c, ..] = &chain.others[..] else { panic!("four agents") };
    let first = chain.first("review-by-b").await;
    assert_eq!(claims(&first)["may_act"]["sub"], json!(chain.id("b")));
    // `b` may exchange it by itself, though the token is neither its own nor for it.
    let mut fields = but(b.hands(&first, 1, ""), "actor_token", None);
    fields = but(fields, "actor_token_type", None);
    let second = b.send(&fields).await.expect(200).text("access_token");
    assert_eq!(claims(&second)["act"]["sub"], json!(chain.id("b")));
    let by_c = but(fields, "client_assertion", Some(&c.client.svid));
    c.send(&by_c).await.oauth_error("invalid_request");
    chain.a.token(&chain.hands(&first, 1, c)).await.refused("agent_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_12_3_with_the_first_token_of_a_chain_all_of_it_ends() {
    let mut chain = Chain::start().await;
    let tokens = chain.tokens().await;
    let brief = chain.first("review-briefly").await;
    for token in &tokens {
        assert!(chain.resource.is_active(token).await);
    }
    chain.a.revoke(&tokens[0]).await.expect(200);
    for token in &tokens {
        let told = chain.resource.introspect(token).await.expect(200).json();
        assert_eq!(told, json!({"active": false}));
    }
    let [b, c, d, e] = &chain.others[..] else { panic!("four agents") };
    chain.a.token(&chain.hands(&tokens[0], 1, b)).await.refused("grant_revoked");
    b.sends(&b.hands(&tokens[1], 2, &c.wit)).await.refused("grant_revoked");
    c.sends(&c.hands(&tokens[2], 3, &d.wit)).await.refused("grant_revoked");
    d.sends(&d.hands(&tokens[3], 3, &e.wit)).await.refused("grant_revoked");
    // A token that has ended by itself is no parent either.
    until("the end of the brief token", async || {
        (!chain.resource.is_active(&brief).await).then_some(())
    })
    .await;
    chain.a.token(&chain.hands(&brief, 1, b)).await.oauth_error("invalid_request");
    let intent = claims(&tokens[0])["intent"]["id"].as_str().expect("an id").to_owned();
    chain.a.exchange(&intent).await.refused("grant_consumed");
    // After a restart the use is as spent as before.
    chain.daemon.kill().await;
    chain.daemon.launch().await;
    let again = Client::start(&chain.daemon, RESTARTER).await;
    again.exchange(&intent).await.refused("grant_consumed");
    chain.daemon.operator(NON_PRODUCTION).run(&["audit", "verify"]).await.succeeded();
}
