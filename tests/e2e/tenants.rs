//! Two trust domains in one daemon: whatever one of them named is unknown in the other.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, PRODUCTION, RESTARTER, ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{
    ASSERTION_TYPE, Client, Fields, INGRESS, approved_rotation, deferred_fields,
};

/// A request to an endpoint beside the token endpoint, about a token.
async fn about(client: &Client, endpoint: &str, token: &str) -> Answer {
    let url = format!("{}/oauth2/{endpoint}", client.place.issuer_url);
    let fields = [
        ("token", token),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", client.svid.as_str()),
    ];
    client.send(Call::form(&url, &fields)).await
}

fn poll(client: &Client, code: &str) -> Fields {
    vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:deferred".to_owned()),
        ("client_assertion_type", ASSERTION_TYPE.to_owned()),
        ("client_assertion", client.svid.clone()),
        ("deferral_code", code.to_owned()),
    ]
}

/// The answer without what names the request itself.
fn said(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    for member in ["instance", "intent_id"] {
        body.as_object_mut().expect("an object").remove(member);
    }
    (answer.status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_40264_what_one_trust_domain_named_is_unknown_in_the_other() {
    let daemon = Daemon::start().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let restarter = Client::start(&daemon, RESTARTER).await;
    let ingress = Client::service(&daemon, PRODUCTION, INGRESS.path).await;
    let (used, unused) =
        (approved_rotation(&daemon, &rotator).await, approved_rotation(&daemon, &rotator).await);
    let token = rotator.exchange(&used).await.expect(200).text("access_token");

    let nobodys = "int_00000000000000000000000000";
    for intent in [&used, &unused] {
        assert_eq!(said(&restarter.look(intent).await), said(&restarter.look(nobodys).await));
        let refused = restarter.exchange(intent).await.expect(400);
        assert_eq!(said(&refused), said(&restarter.exchange(nobodys).await));
        let ended = restarter.end(intent, "cancel", &json!({})).await.expect(404);
        assert_eq!(said(&ended), said(&restarter.end(nobodys, "cancel", &json!({})).await));
    }
    let told = about(&restarter, "introspect", &token).await.expect(200);
    assert_eq!(told.json(), json!({ "active": false }));
    // As good as revoked, since it is nothing there: and it lives on where it is something.
    assert!(about(&restarter, "revoke", &token).await.status < 500);
    assert!(ingress.is_active(&token).await, "a token was revoked from another trust domain");

    let deferred = rotator.token(&deferred_fields(&rotator.svid)).await;
    let code = deferred.oauth_error("authorization_pending").text("deferral_code");
    let stolen = restarter.token(&poll(&restarter, &code)).await.oauth_error("invalid_grant");
    let unknown = restarter.token(&poll(&restarter, &"A".repeat(43))).await;
    assert_eq!(said(&stolen), said(&unknown));
    rotator.token(&poll(&rotator, &code)).await.oauth_error("authorization_pending");
    rotator.exchange(&unused).await.expect(200);
}
