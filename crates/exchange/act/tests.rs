use serde_json::json;

use super::*;

const ISSUER: &str = "https://issuer.prod.example.org";

fn agent(name: &str) -> SpiffeId {
    format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
}

fn longest(chain: Chain, name: impl Fn(usize) -> String) -> (Chain, Denial) {
    let mut chain = chain;
    for step in 0.. {
        match chain.delegated(agent(&name(step)), ISSUER) {
            Ok(next) => chain = next,
            Err(denial) => return (chain, denial),
        }
    }
    unreachable!()
}

#[test]
fn oauth_2_9_act_is_nested_newest_first() {
    let chain = Chain::of_person("corp:alice".to_owned(), agent("a"));
    let chain = chain.delegated(agent("b"), ISSUER).unwrap();
    let act = serde_json::to_value(chain.act(ISSUER)).unwrap();
    let inner = json!({"sub": agent("a"), "iss": ISSUER});
    assert_eq!(act, json!({"sub": agent("b"), "iss": ISSUER, "act": inner}));
    assert_eq!(chain.root().as_str(), "corp:alice");
    assert_eq!((chain.holder(), chain.through()), (&agent("b"), &[agent("a")][..]));
}

#[test]
fn an_agent_that_acts_for_itself_has_no_act_and_is_no_actor_of_its_chain() {
    let chain = Chain::of_agent(agent("a"));
    assert_eq!(chain.act(ISSUER), None);
    let chain = chain.delegated(agent("b"), ISSUER).unwrap();
    let act = chain.act(ISSUER).unwrap();
    assert_eq!((act.sub, act.act), (agent("b"), None));
    assert_eq!(chain.root(), &Principal::Agent(agent("a")));
}

#[test]
fn oauth_2_18_a_chain_is_eight_deep_and_not_nine() {
    for root in
        [Chain::of_agent(agent("root")), Chain::of_person("corp:alice".to_owned(), agent("root"))]
    {
        let (chain, denial) = longest(root, |step| format!("a{step}"));
        assert_eq!(chain.acting().count(), MAX_ACT_DEPTH);
        assert_eq!(denial.code(), DenialCode::ChainTooDeep);
    }
}

#[test]
fn oauth_2_18_a_chain_of_long_names_ends_at_eight_kilobytes() {
    let root = Chain::of_agent(agent("root"));
    let (chain, denial) = longest(root, |step| format!("{step}{}", "a".repeat(1900)));
    let bytes = serde_json::to_vec(&chain.act(ISSUER)).unwrap().len();
    assert!(chain.acting().count() < MAX_ACT_DEPTH && bytes <= MAX_ACT_BYTES, "{bytes}");
    assert_eq!(denial.code(), DenialCode::ChainTooDeep);
}

#[test]
fn oauth_2_18_no_agent_is_in_a_chain_twice() {
    let chain = Chain::of_agent(agent("a")).delegated(agent("b"), ISSUER).unwrap();
    for again in [agent("a"), agent("b")] {
        let denial = chain.delegated(again, ISSUER).unwrap_err();
        assert_eq!(denial.code(), DenialCode::ChainInvalid);
    }
}

#[test]
fn oauth_2_17_may_act_permits_only_whom_every_member_names() {
    let may_act = |members: Value| serde_json::from_value::<MayAct>(members).unwrap();
    let sub = agent("b");
    for members in [json!({"sub": sub}), json!({"sub": sub, "iss": ISSUER, "client_id": sub})] {
        assert!(may_act(members.clone()).permits(&sub, ISSUER), "{members}");
    }
    assert!(MayAct::agent(&sub, ISSUER).permits(&sub, ISSUER));
    for members in [
        json!({}),
        json!({"iss": ISSUER}),
        json!({"sub": agent("c")}),
        json!({"sub": [sub]}),
        json!({"sub": "*"}),
        json!({"sub": sub, "iss": "https://elsewhere.example.org"}),
        json!({"sub": sub, "client_id": agent("c")}),
        json!({"sub": sub, "email": "b@example.org"}),
    ] {
        assert!(!may_act(members.clone()).permits(&sub, ISSUER), "{members}");
    }
}

#[test]
fn what_begins_like_a_spiffe_id_is_no_person() {
    assert_eq!(agent("a").as_str().parse(), Ok(Principal::Agent(agent("a"))));
    assert_eq!("corp:alice".parse(), Ok(Principal::Person("corp:alice".to_owned())));
    for text in ["", "alice", "spiffe:alice", "SPIFFE://prod.example.org/a", "spiffe://"] {
        assert!(text.parse::<Principal>().is_err(), "{text}");
    }
}
