//! Details that leave no room in a token.

use super::*;

/// A detail that says `bytes` more of a tool's arguments.
fn described(bytes: usize) -> Value {
    rights(&json!({"tools": {"crm.read": {"arguments": {"type": "object", "properties": {},
        "additionalProperties": false, "description": "x".repeat(bytes)}}}}))
}

#[tokio::test]
async fn oauth_8_4_what_is_too_long_for_a_token_costs_no_use() {
    // An entry that nobody divided is as long as the grant has it; together with what is asked for it is too long.
    let long = |terms: &mut GrantTerms| {
        rich(terms);
        terms.resources = vec![format!("urn:example:{}", "r".repeat(6 * 1024))];
    };
    let team = team_with(|_| {}, long);
    let error = team.exchange(&team.detailed(&described(3 * 1024))).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails);
    let uses = team.rig.store.kept().intents[&team.rig.intent].uses().len();
    assert_eq!((uses, team.rig.store.kept().tokens.len()), (0, 0));
    team.exchange(&team.detailed(&described(1024))).await.unwrap();
    // In a transaction, what goes along with it takes of the same room.
    let team = team_with(|_| {}, long);
    let fields = team
        .detailed(&described(1024))
        .set("requested_token_type", TOKEN_TYPE_TXN_TOKEN)
        .set("audience", "prod.example.org")
        .set("scope", "secrets.read");
    let context = json!({"note": "x".repeat(3 * 1024)}).to_string();
    let error = team.exchange(&fields.clone().set("request_context", &context)).await.unwrap_err();
    assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails);
    assert!(team.rig.store.kept().tokens.is_empty());
    team.exchange(&fields).await.unwrap();
}

#[tokio::test]
async fn oauth_8_4_what_grows_too_long_along_a_chain_is_never_kept() {
    let team = rich_team();
    let mut token = team.exchange(&team.detailed(&described(3000))).await.unwrap();
    let mut issued = 1;
    let error = loop {
        let own = with(team.for_token(&team.rig.agent, &token), &described(3000 + issued));
        match team.exchange(&own).await {
            Ok(next) => token = next,
            Err(error) => break error,
        }
        issued += 1;
    };
    assert_eq!(error.code(), OAuthErrorCode::InvalidAuthorizationDetails);
    // Two schemas fit beside the rest, and a third does not; every token that was kept is in somebody's hands.
    assert_eq!((issued, team.rig.store.kept().tokens.len()), (2, 2));
}
