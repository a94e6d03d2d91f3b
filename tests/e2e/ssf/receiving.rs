//! A transmitter's word stops an agent, a person or one token, if it is believed. PyPI's joserfc signs it.

use super::*;

/// A transmitter that production listens to, whose key joserfc made.
struct Idp {
    daemon: Daemon,
    key: Value,
    url: String,
    audience: String,
}

impl Idp {
    async fn start(more: &str) -> Option<Self> {
        let made = joserfc(&json!({ "generate": true })).await?;
        let audience = "https://issuer.example.org/ssf".to_owned();
        let daemon = Daemon::start_with(|trust_domains| {
            let keys = trust_domains.join(PRODUCTION).join("idp.json");
            fs::write(keys, made["jwks"].to_string()).expect("write the keys");
            let table = format!(
                "[[ssf_transmitters]]\nname = \"idp\"\nenvironment = \"production\"\nissuer = \"{IDP}\"\n\
                 audience = \"{audience}\"\njwks_file = \"idp.json\"\nsecret_file = \"bearer\"\n\
                 agents = [\"spiffe://{PRODUCTION}/agent/cert-rotator/*\"]\n{more}"
            );
            add(trust_domains, PRODUCTION, &table);
        })
        .await;
        let url = format!("{}/ssf/events/idp", daemon.place(PRODUCTION).issuer_url);
        Some(Self { daemon, key: made["key"].clone(), url, audience })
    }

    fn claims(&self, jti: &str, event: &str, members: &Value, agent: &str) -> Value {
        json!({
            "iss": IDP, "aud": self.audience, "jti": jti, "iat": now(),
            "sub_id": uri(agent), "events": { (format!("{CAEP}{event}")): members },
        })
    }

    async fn sign(&self, claims: &Value) -> String {
        let order = json!({ "key": self.key, "sign": [claims] });
        let signed = joserfc(&order).await.expect("Python");
        signed["signed"][0].as_str().expect("a SET").to_owned()
    }

    async fn push(&self, set: &str) -> Answer {
        self.send(Call::post(&self.url, SET, set).bearer(BEARER)).await
    }

    async fn send(&self, call: Call) -> Answer {
        self.daemon.http(PRODUCTION).send(call).await
    }

    async fn kills(&self) -> Value {
        self.daemon.operator(PRODUCTION).json(&["kill", "list"]).await[0]["kills"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m_121_the_word_of_a_transmitter_stops_an_agent_once_and_is_on_record() {
    let Some(idp) = Idp::start("").await else { return };
    let agent = Client::start(&idp.daemon, ROTATOR).await;
    let second = Client::start(&idp.daemon, SECOND_ROTATOR).await;
    let resource = Client::service(&idp.daemon, PRODUCTION, INGRESS.path).await;
    let used = approved_rotation(&idp.daemon, &agent).await;
    let token = agent.exchange(&used).await.expect(200).text("access_token");
    let unused = approved_rotation(&idp.daemon, &agent).await;
    let theirs = approved_rotation(&idp.daemon, &second).await;
    let id = agent.place.id(ROTATOR.path);
    // Good news stops nobody, and neither does bad news about others.
    let compliant = json!({ "current_status": "compliant", "previous_status": "not-compliant" });
    let other = agent.place.id("/agent/other/one");
    for claims in [
        idp.claims("good", "device-compliance-change", &compliant, &id),
        idp.claims("other", "session-revoked", &json!({}), &other),
        idp.claims(
            "elsewhere",
            "session-revoked",
            &json!({}),
            "spiffe://other.example.org/agent/a",
        ),
    ] {
        idp.push(&idp.sign(&claims).await).await.expect(202);
    }
    assert!(resource.is_active(&token).await);
    let set = idp.sign(&idp.claims("bad", "session-revoked", &json!({}), &id)).await;
    idp.push(&set).await.expect(202);
    assert!(!resource.is_active(&token).await, "the token is still live");
    agent.exchange(&unused).await.oauth_error("access_denied").refused("kill_switch_agent");
    second.exchange(&theirs).await.expect(200);
    let kills = idp.kills().await;
    assert_eq!(kills[0]["actor"], "ssf:idp", "{kills}");
    // The same once more, and another about the same agent, are taken and stop nobody again.
    idp.push(&set).await.expect(202);
    let again = idp.claims("bad-2", "session-revoked", &json!({}), &id);
    idp.push(&idp.sign(&again).await).await.expect(202);
    assert_eq!(idp.kills().await.as_array().map(Vec::len), Some(1));
    let folder = idp.daemon.path("log");
    let leaves = log::export(&idp.daemon.operator(PRODUCTION), &folder).await;
    let heard: Vec<(Value, Value)> = leaves
        .iter()
        .filter(|leaf| leaf["type"] == "org.marque.ssf.received")
        .map(|leaf| {
            (leaf["data"]["detail"]["jti"].clone(), leaf["data"]["detail"]["effect"].clone())
        })
        .collect();
    let expected = [("good", "recorded"), ("bad", "stopped"), ("bad-2", "stopped")];
    assert_eq!(heard, expected.map(|(jti, effect)| (json!(jti), json!(effect))), "{leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_believed_of_a_transmitter_is_refused_with_the_codes_of_the_rfc() {
    let effects = "[ssf_transmitters.effects]\nsession-revoked = \"record\"";
    let Some(idp) = Idp::start(effects).await else { return };
    let id = idp.daemon.place(PRODUCTION).id(ROTATOR.path);
    let good = idp.claims("one", "risk-level-change", &json!({ "current_level": "HIGH" }), &id);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    for (claims, code) in [
        (with("iss", json!("https://login.example.org/")), "invalid_issuer"),
        (with("aud", json!("https://issuer.example.org")), "invalid_audience"),
        (with("iat", json!(now() + 120)), "invalid_request"),
        (with("iat", json!(now() - 3700)), "invalid_request"),
        (with("exp", json!(now() + 120)), "invalid_request"),
        (with("sub", json!(id)), "invalid_request"),
        (with("sub_id", json!({ "format": "other" })), "invalid_request"),
        (with("events", json!({ "urn:other": {} })), "invalid_request"),
    ] {
        let answer = idp.push(&idp.sign(&claims).await).await.expect(400);
        assert_eq!(answer.json()["err"], code, "{claims}: {answer:?}");
    }
    let set = idp.sign(&good).await;
    let stranger = joserfc(&json!({ "generate": true })).await.expect("Python");
    let strange =
        joserfc(&json!({ "key": stranger["key"], "sign": [good] })).await.expect("Python");
    let answer = idp.push(strange["signed"][0].as_str().expect("a SET")).await.expect(400);
    assert_eq!(answer.json()["err"], "invalid_key");
    for call in [
        Call::post(&idp.url, SET, set.clone()),
        Call::post(&idp.url, SET, set.clone()).bearer(OTHER_BEARER),
        Call::post(&idp.url.replace("/idp", "/other"), SET, set.clone()).bearer(BEARER),
    ] {
        assert_eq!(idp.send(call).await.expect(400).json()["err"], "authentication_failed");
    }
    let call = Call::post(&idp.url, "application/json", set.clone()).bearer(BEARER);
    assert_eq!(idp.send(call).await.expect(400).json()["err"], "invalid_request");
    idp.push(&"a".repeat(16 * 1024 + 1)).await.expect(413);
    // What is only to be written down stops nobody either.
    let recorded = idp.claims("two", "session-revoked", &json!({}), &id);
    idp.push(&idp.sign(&recorded).await).await.expect(202);
    assert_eq!(idp.kills().await, json!([]));
    idp.push(&set).await.expect(202);
    assert_eq!(idp.kills().await.as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_a_transmitter_stops_a_person_and_one_token_and_nobody_beyond_its_patterns() {
    let more = format!(
        "persons = [\"corp\"]\n[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"production\"\nissuer = \"{IDP}\"\n\
         audiences = [\"marque\"]\njwks_file = \"idp.json\"\n\
         [[ssf_streams]]\nname = \"all\"\naudience = \"{AUDIENCE}\"\ndelivery = \"poll\"\nsecret_file = \"bearer\"\n\
         [[ssf_streams]]\nname = \"few\"\naudience = \"{AUDIENCE}\"\ndelivery = \"poll\"\nsecret_file = \"bearer\"\n\
         agents = [\"spiffe://{PRODUCTION}/agent/other/*\"]"
    );
    let Some(idp) = Idp::start(&more).await else { return };
    let agent = Client::start(&idp.daemon, ROTATOR).await;
    let resource = Client::service(&idp.daemon, PRODUCTION, INGRESS.path).await;
    let used = approved_rotation(&idp.daemon, &agent).await;
    let token = agent.exchange(&used).await.expect(200).text("access_token");
    let about = async |jti: &str, subject: Value| {
        let mut claims =
            idp.claims(jti, "session-revoked", &json!({}), "spiffe://other.example.org/a");
        claims["sub_id"] = subject;
        idp.push(&idp.sign(&claims).await).await.expect(202);
        idp.kills().await.as_array().map(Vec::len)
    };
    let person = |iss: &str| json!({ "format": "iss_sub", "iss": iss, "sub": "248289" });
    assert_eq!(about("1", person("https://other.example.org")).await, Some(0));
    assert_eq!(about("2", json!({ "format": "email", "email": "a@example.org" })).await, Some(0));
    let user = json!({ "format": "complex", "user": person(IDP), "device": { "format": "opaque", "id": "d" } });
    assert_eq!(about("3", user).await, Some(1));
    assert!(idp.kills().await.to_string().contains("corp:248289"), "{}", idp.kills().await);
    assert!(resource.is_active(&token).await);
    // Who it is, is told to the stream that hears of everything, and to no other.
    let poll = async |stream: &str| {
        let url = idp.url.replace("/ssf/events/idp", &format!("/ssf/poll/{stream}"));
        let call = Call::json(&url, &json!({ "returnImmediately": true })).bearer(BEARER);
        idp.send(call).await.expect(200).json()["sets"].clone()
    };
    until("the end of the person's session", async || {
        let sets = poll("all").await;
        let told = sets.as_object()?.values().filter_map(Value::as_str).map(claims);
        find(&told.collect::<Vec<_>>(), "session-revoked", &person(IDP))
    })
    .await;
    until("streams that are served", async || {
        let listed = idp.daemon.operator(PRODUCTION).json(&["ssf", "status"]).await;
        listed.as_array()?.iter().all(|one| one["behind"] == 0).then_some(())
    })
    .await;
    assert_eq!(poll("few").await, json!({}));
    let own =
        |jti: &Value| json!({ "format": "jwt_id", "iss": agent.place.issuer_url, "jti": jti });
    assert_eq!(about("4", own(&json!("tok_unknown"))).await, Some(1));
    let aliases = json!([{ "format": "opaque", "id": "?" }, own(&claims(&token)["jti"])]);
    assert_eq!(about("5", json!({ "format": "aliases", "identifiers": aliases })).await, Some(2));
    assert!(!resource.is_active(&token).await, "the token is still live");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_words_about_one_agent_that_come_at_once_one_stops_it() {
    let Some(idp) = Idp::start("").await else { return };
    let id = idp.daemon.place(PRODUCTION).id(ROTATOR.path);
    let mut sets = Vec::new();
    for at in 0..16 {
        let jti = format!("at-once-{at}");
        sets.push(idp.sign(&idp.claims(&jti, "session-revoked", &json!({}), &id)).await);
    }
    let pushes = sets.iter().map(|set| idp.push(set));
    for answer in futures::future::join_all(pushes).await {
        answer.expect(202);
    }
    let kills = idp.kills().await;
    assert_eq!(kills.as_array().map(Vec::len), Some(1), "{kills}");
    let leaves = log::export(&idp.daemon.operator(PRODUCTION), &idp.daemon.path("log")).await;
    let heard = leaves.iter().filter(|leaf| leaf["type"] == "org.marque.ssf.received");
    let already = heard.clone().filter(|leaf| leaf["data"]["detail"]["already"] == true).count();
    assert_eq!((heard.count(), already), (16, 15), "all are on record, and one has stopped it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_word_that_comes_as_two_transmitters_stops_whom_each_of_them_may() {
    let beside = format!(
        "[[ssf_transmitters]]\nname = \"idp-2\"\nenvironment = \"production\"\nissuer = \"{IDP}\"\n\
         audience = \"https://issuer.example.org/ssf\"\njwks_file = \"idp.json\"\nsecret_file = \"bearer\"\n\
         agents = [\"spiffe://{PRODUCTION}/agent/other/*\"]\n"
    );
    let Some(idp) = Idp::start(&beside).await else { return };
    let place = idp.daemon.place(PRODUCTION);
    let (first, second) = (place.id("/agent/cert-rotator/n1"), place.id("/agent/other/one"));
    let mut claims = idp.claims("both", "session-revoked", &json!({}), &first);
    claims["sub_id"] = json!({ "format": "aliases", "identifiers": [uri(&first), uri(&second)] });
    let set = idp.sign(&claims).await;
    for name in ["idp", "idp-2"] {
        let url = format!("{}/ssf/events/{name}", place.issuer_url);
        idp.send(Call::post(&url, SET, set.as_str()).bearer(BEARER)).await.expect(202);
    }
    let kills = idp.kills().await;
    let mut stopped: Vec<&Value> = kills.as_array().expect("kills").iter().collect();
    stopped.sort_by_key(|kill| kill["actor"].as_str().map(ToOwned::to_owned));
    let whom = |kill: &&Value| (kill["actor"].clone(), kill["selector"].clone());
    let expected = [("ssf:idp", &first), ("ssf:idp-2", &second)];
    let expected = expected.map(|(actor, agent)| (json!(actor), json!(agent)));
    assert_eq!(stopped.iter().map(whom).collect::<Vec<_>>(), expected, "{kills}");
}
