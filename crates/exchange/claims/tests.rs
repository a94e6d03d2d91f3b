use std::collections::BTreeSet;

use marque_intent::OnBehalf;
use marque_jose::{Signer as _, UnverifiedJws, VerifiedJws};

use crate::{
    GRANT_TYPE_TOKEN_EXCHANGE, TOKEN_TYPE_ACCESS_TOKEN, TOKEN_TYPE_ID_TOKEN, TokenResponse,
    fixture::{AUDIENCE, Fields, ISSUER, Login, Rig},
};

fn verified(rig: &Rig, answer: &TokenResponse) -> VerifiedJws {
    let jws = UnverifiedJws::parse(answer.access_token().expose_token()).unwrap();
    jws.verify(rig.signer.public_key(), rig.signer.public_key().algorithms()).unwrap()
}

/// Whichever way a token came about: for an SVID, for a person, by narrowing and by handing on.
#[tokio::test]
async fn oauth_9_1_every_access_token_has_what_rfc_9068_demands() {
    let other = "spiffe://prod.example.org/agent/b";
    let rig = Rig::with(
        |_| {},
        |terms| {
            let agents = vec![other.parse().unwrap()];
            terms.on_behalf = Some(OnBehalf { max_depth: 2, agents, equal: BTreeSet::new() });
            terms.audiences.push(other.to_owned());
            terms.uses = 4;
        },
    );
    let first = rig.exchange(&rig.fields()).await.unwrap();
    let for_token = |svid: &str| {
        Fields::default()
            .set("grant_type", GRANT_TYPE_TOKEN_EXCHANGE)
            .authenticated(svid)
            .set("subject_token", first.access_token().expose_token())
            .set("subject_token_type", TOKEN_TYPE_ACCESS_TOKEN)
            .set("audience", AUDIENCE)
            .set("scope", "secrets.read")
    };
    let alice = rig.login.sign(&Login::alice());
    let alice = rig.fields().set("subject_token", &alice);
    let agent = rig.agent.as_str();
    let mut ids = BTreeSet::new();
    for (name, fields, sub, client) in [
        ("an SVID", rig.fields(), agent, agent),
        ("a person", alice.set("subject_token_type", TOKEN_TYPE_ID_TOKEN), "corp:alice", agent),
        ("its own token", for_token(&rig.svid()), agent, agent),
        ("handed on", for_token(&rig.svid_of(&rig.own, &other.parse().unwrap())), agent, other),
    ] {
        let token = verified(&rig, &rig.exchange(&fields).await.unwrap());
        assert_eq!(token.header().typ(), Some("at+jwt"), "{name}");
        let claims = token.claims();
        let says = |claim: &str| claims[claim].as_str();
        assert_eq!((says("iss"), says("sub")), (Some(ISSUER), Some(sub)), "{name}");
        assert_eq!(says("client_id"), Some(client), "{name}");
        let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(iat, rig.now().as_second(), "{name}");
        assert!(iat < exp && exp <= iat + 240, "{name}");
        let audiences = claims["aud"].as_array().map_or(1, Vec::len);
        assert!(audiences > 0 && (audiences > 1) != claims["aud"].is_string(), "{name}");
        assert!(ids.insert(says("jti").unwrap().to_owned()), "{name}");
    }
}
