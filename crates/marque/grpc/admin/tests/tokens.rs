//! Issued tokens over the socket.

use marque_exchange::{Confirmation, StatusPlace, Thumbprint, TokenKind, TokenRecord};
use marque_intent::{Denial, DenialCode};
use marque_testkit::START;
use tonic::Code;

use super::super::door::TokenStanding;
use super::{Desk, TOKEN, refusal};

const INTENT: &str = "int_00000000000000000000000001";

fn standing() -> TokenStanding {
    let agent = |name: &str| format!("spiffe://test.example.org/agent/{name}").parse().unwrap();
    let record = TokenRecord {
        id: TOKEN.parse().unwrap(),
        intent: INTENT.parse().unwrap(),
        kind: TokenKind::AccessToken,
        client: agent("b"),
        through: vec![agent("a")],
        parent: Some("tok_00000000000000000000000000000002".parse().unwrap()),
        ancestors: Vec::new(),
        keys_above: Vec::new(),
        root: Some("corp:alice".parse().unwrap()),
        root_groups: Default::default(),
        confirmation: Some(Confirmation::Jkt(Thumbprint::new([0; 32]))),
        single_use: true,
        used_at: Some(START),
        status_index: Some(StatusPlace::of((1 << 17) + 5)),
        audiences: vec!["https://k8s.example.org".to_owned()],
        issued_at: START,
        expires_at: START,
        epoch: 0,
        revoked_at: None,
    };
    let ended = Some(Denial::new(DenialCode::GrantConsumed, "used"));
    TokenStanding { record, ended }
}

#[tokio::test]
async fn a_token_is_shown_with_its_chain_its_place_and_why_it_ended() {
    let mut desk = Desk::open().await;
    desk.door.keep_token(standing());
    let shown = desk.client.token(TOKEN.to_owned()).await.unwrap();
    let listed = desk.client.tokens(INTENT.to_owned()).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&shown));
    insta::assert_json_snapshot!(shown, @r#"
    {
      "id": "tok_00000000000000000000000000000001",
      "intent": "int_00000000000000000000000001",
      "kind": "access_token",
      "holder": "spiffe://test.example.org/agent/b",
      "through": [
        "spiffe://test.example.org/agent/a"
      ],
      "parent": "tok_00000000000000000000000000000002",
      "root": "corp:alice",
      "audiences": [
        "https://k8s.example.org"
      ],
      "bound_to": "jkt:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "single_use": true,
      "issued_at": "2030-01-01T00:00:00Z",
      "expires_at": "2030-01-01T00:00:00Z",
      "used_at": "2030-01-01T00:00:00Z",
      "status_list": 1,
      "status_idx": 5,
      "ended_code": "grant_consumed"
    }
    "#);
}

#[tokio::test]
async fn an_operator_revokes_a_token_with_a_reason_and_not_without() {
    let mut desk = Desk::open().await;
    let revoked = desk.client.revoke_token(TOKEN.to_owned(), "incident 7".to_owned()).await;
    assert_eq!(revoked.unwrap(), [TOKEN]);
    let actors = desk.door.actors();
    assert!(actors[0].ends_with(&format!(" revokes {TOKEN}: incident 7")), "{actors:?}");
    for reason in ["", "  "] {
        let refused = desk.client.revoke_token(TOKEN.to_owned(), reason.to_owned()).await;
        assert_eq!(refusal(refused).0, Code::InvalidArgument);
    }
    let refused = desk.client.revoke_token("tok_1".to_owned(), "incident 7".to_owned()).await;
    assert_eq!(refusal(refused).0, Code::InvalidArgument);
    assert_eq!(refusal(desk.client.token(TOKEN.to_owned()).await).0, Code::NotFound);
    assert_eq!(desk.door.actors().len(), 1);
}
