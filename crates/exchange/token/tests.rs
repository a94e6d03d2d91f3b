use marque_testkit::{START, SeededRandom};

use super::*;

const ID: &str = "tok_00000000000000000000000000000001";

fn agent(name: &str) -> SpiffeId {
    format!("spiffe://prod.example.org/agent/{name}").parse().unwrap()
}

fn record() -> TokenRecord {
    TokenRecord {
        id: ID.parse().unwrap(),
        intent: "int_00000000000000000000000042".parse().unwrap(),
        client: agent("rotator"),
        audiences: vec!["https://k8s.example.org".to_owned()],
        issued_at: START,
        expires_at: START,
        epoch: 0,
        revoked_at: None,
        kind: TokenKind::AccessToken,
        through: Vec::new(),
        parent: None,
        ancestors: Vec::new(),
        keys_above: Vec::new(),
        root: None,
        root_groups: BTreeSet::new(),
        confirmation: None,
        single_use: false,
        used_at: None,
        status_index: None,
    }
}

#[test]
fn a_token_id_reads_back_and_other_spellings_do_not() {
    let random = SeededRandom::new(1);
    let draw = || TokenId::generate(&random, START).unwrap();
    let (one, two) = (draw(), draw());
    assert_ne!(one, two);
    assert_eq!(one.as_str().parse(), Ok(one.clone()));
    for bad in [
        "",
        "tok_",
        ID.strip_suffix('1').unwrap(),
        &format!("{ID}0"),
        &ID.replace('1', "A"),
        &ID.replace("tok", "TOK"),
        ID.trim_start_matches("tok_"),
    ] {
        assert!(bad.parse::<TokenId>().is_err(), "{bad}");
    }
}

#[test]
fn a_record_reads_back_from_json() {
    let derived = TokenRecord {
        through: vec![agent("b"), agent("a")],
        parent: Some(ID.parse().unwrap()),
        single_use: true,
        used_at: Some(START),
        ..record()
    };
    for record in [record(), derived] {
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<TokenRecord>(&json).unwrap(), record);
    }
}

#[test]
fn a_chain_begins_with_the_oldest_agent() {
    assert_eq!(*record().first_holder(), agent("rotator"));
    let derived = TokenRecord { through: vec![agent("b"), agent("a")], ..record() };
    assert_eq!(*derived.first_holder(), agent("a"));
    let agents: Vec<_> = derived.holders().cloned().collect();
    assert_eq!(agents, [agent("rotator"), agent("b"), agent("a")]);
}
