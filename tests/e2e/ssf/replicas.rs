//! One word of a transmitter that comes to two replicas over one database.

use super::*;
use crate::fleet::{Fleet, Replica, database};
use crate::support::http::Http;

const WORDS: usize = 12;

async fn push(replica: &Replica, set: &str) -> Answer {
    let url = format!("{}/ssf/events/idp", replica.place.issuer_url);
    Http::trusting(&replica.place.ca_file).send(Call::post(&url, SET, set).bearer(BEARER)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_comes_to_both_replicas_at_once_makes_one_kill() {
    let (Some(server), Some(made)) = (database(), joserfc(&json!({ "generate": true })).await)
    else {
        return;
    };
    let audience = "https://issuer.example.org/ssf";
    let fleet = Fleet::new(&server).await;
    let folder = fleet.path("trust-domain");
    fs::write(folder.join("idp.json"), made["jwks"].to_string()).expect("write the keys");
    let table = format!(
        "[[ssf_transmitters]]\nname = \"idp\"\nenvironment = \"production\"\nissuer = \"{IDP}\"\n\
         audience = \"{audience}\"\njwks_file = \"idp.json\"\nsecret_file = \"bearer\"\n\
         agents = [\"spiffe://{PRODUCTION}/agent/cert-rotator/*\"]\n"
    );
    add(&folder, "", &table);
    let one = fleet.start("a").await;
    fleet.link_keys(&one, "b");
    let other = fleet.start("b").await;
    let word = |number: usize| {
        let agent = one.place.id(&format!("/agent/cert-rotator/n{number}"));
        json!({
            "iss": IDP, "aud": audience, "jti": format!("word-{number}"), "iat": now(),
            "sub_id": uri(&agent), "events": { (format!("{CAEP}session-revoked")): {} },
        })
    };
    let words: Vec<Value> = (0..WORDS).map(word).collect();
    let signed = joserfc(&json!({ "key": made["key"], "sign": words })).await.expect("Python");
    let sets = signed["signed"].as_array().expect("SETs").clone();
    for set in sets.iter().map(|set| set.as_str().expect("a SET")) {
        let (here, there) = tokio::join!(push(&one, set), push(&other, set));
        here.expect(202);
        there.expect(202);
    }
    let kills =
        async |replica: &Replica| replica.operator().json(&["kill", "list"]).await[0].clone();
    until("the kills at both", async || {
        let (here, there) = (kills(&one).await, kills(&other).await);
        (here["kills"] == there["kills"] && here["kills"].as_array()?.len() >= WORDS).then_some(())
    })
    .await;
    let kept = kills(&one).await;
    assert_eq!(kept["kills"].as_array().map(Vec::len), Some(WORDS), "{kept}");
    let leaves = log::export(&one.operator(), &fleet.path("log")).await;
    let of = |kind: &str| leaves.iter().filter(|leaf| leaf["type"] == kind).count();
    assert_eq!((of("org.marque.kill"), of("org.marque.ssf.received")), (WORDS, WORDS));
}
