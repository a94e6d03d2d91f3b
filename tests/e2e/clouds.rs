//! What clouds fetch and are told: discovery and keys of JWT-SVIDs as programs of others read them, the same as files, and trust
//! policies over the claims of real tokens.

use std::fs;
use std::path::{Path, PathBuf};

use openidconnect::core::{CoreJwsSigningAlgorithm, CoreProviderMetadata};
use openidconnect::{HttpRequest, HttpResponse, IssuerUrl, JsonWebKey as _};
use serde_json::{Value, json};
use spiffe::WorkloadApiClient;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::folder;
use crate::support::http::{Call, Http};
use crate::support::oauth::{Client, INGRESS, approved_rotation};
use crate::support::operator::run_marque;
use crate::support::programs::this_program;
use crate::support::python;
use crate::support::tokens::{claims, header};

/// Where the issuer would be on the web.
const ISSUER: &str = "https://issuer.prod.example.org";
const PLAYBOOK: &str = "ingress-cert-rotation";

async fn daemon() -> Daemon {
    Daemon::start_with(|trust_domains| {
        let folder = trust_domains.join(PRODUCTION);
        folder::append(&folder, "trust-domain.toml", "\n[oidc_discovery]\n");
        let audience = format!("audience = \"{}\"", INGRESS.audience);
        let tagged = format!("{audience}\nsession_tags = \"aws\"");
        folder::edit(&folder, "trust-domain.toml", &audience, &tagged);
    })
    .await
}

/// A JWT-SVID of this process.
async fn jwt_svid(daemon: &Daemon, path: &str) -> String {
    let place = daemon.place(PRODUCTION);
    let id = place.id(path);
    daemon.operator(PRODUCTION).register(&id, "service", &this_program()).await;
    let workload = WorkloadApiClient::connect_to(place.workload_api()).await.unwrap();
    let svid = workload.fetch_jwt_svid(["https://cloud.example.org"], None).await.unwrap();
    svid.token().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openidconnect_crate_and_joserfc_verify_a_jwt_svid_by_what_discovery_says() {
    let daemon = daemon().await;
    let place = daemon.place(PRODUCTION).clone();
    let issuer = place.svid_issuer_url.clone().expect("an issuer of JWT-SVIDs");
    assert_eq!(issuer, format!("{}/svid", place.issuer_url));
    let token = jwt_svid(&daemon, "/service/e2e").await;
    let told = claims(&token);
    assert_eq!(
        (&told["iss"], &told["sub"]),
        (&issuer.clone().into(), &place.id("/service/e2e").into())
    );

    let http = daemon.http(PRODUCTION);
    let forward = async |request: HttpRequest| -> Result<HttpResponse, std::io::Error> {
        let (parts, body) = request.into_parts();
        http.pass(parts, body).await.map_err(std::io::Error::other)
    };
    let named = IssuerUrl::new(issuer.clone()).unwrap();
    let provider = CoreProviderMetadata::discover_async(named, &forward).await.unwrap();
    let algorithm = CoreJwsSigningAlgorithm::EcdsaP256Sha256;
    assert!(provider.id_token_signing_alg_values_supported().contains(&algorithm));
    let kid = header(&token)["kid"].as_str().unwrap().to_owned();
    let key = provider.jwks().keys().iter().find(|key| key.key_id().is_some_and(|id| **id == kid));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature =
        base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, signature).unwrap();
    key.unwrap().verify_signature(&algorithm, signed.as_bytes(), &signature).unwrap();

    // The keys are those of JWT-SVIDs and no others, nor a private half.
    let get = async |url: &str| http.send(Call::get(url)).await.expect(200).json();
    let keys = get(&format!("{issuer}/keys")).await;
    let listed = keys["keys"].as_array().unwrap();
    let tokens = get(&place.jwks_url).await;
    for key in listed {
        assert_eq!((&key["use"], &key["alg"]), (&"sig".into(), &"ES256".into()));
        assert!(key.get("d").is_none() && key.get("x5c").is_none(), "{key}");
        let foreign = tokens["keys"].as_array().unwrap().iter().any(|one| one["kid"] == key["kid"]);
        assert!(!foreign, "an access token's key is among those of JWT-SVIDs");
    }
    let bundle = get(&place.bundle_url).await;
    let in_bundle =
        bundle["keys"].as_array().unwrap().iter().filter(|key| key["use"] == "jwt-svid");
    assert_eq!(in_bundle.count(), listed.len());
    let asked = http.send(Call::get(&format!("{issuer}/authorize"))).await;
    assert_eq!(asked.status, 400);
    joserfc_verifies(&keys, &issuer, &token).await;
    exported(&daemon, &http, &issuer).await;
}

async fn joserfc_verifies(keys: &Value, issuer: &str, token: &str) {
    let Some(python) = python::interpreter() else { return };
    let script = "
import json, sys
from joserfc import jwt
from joserfc.jwk import KeySet
asked = json.load(sys.stdin)
verified = jwt.decode(asked['token'], KeySet.import_key_set(asked['keys']), algorithms=['ES256', 'RS256'])
jwt.JWTClaimsRegistry(iss={'essential': True, 'value': asked['issuer']}, exp={'essential': True}).validate(verified.claims)
print(verified.claims['sub'])
";
    let asked = json!({ "keys": keys, "issuer": issuer, "token": token });
    let told = run(&python, &["-c", script], &asked).await;
    assert_eq!(told.trim(), format!("spiffe://{PRODUCTION}/service/e2e"));
}

async fn run(python: &Path, arguments: &[&str], asked: &Value) -> String {
    let mut child = Command::new(python)
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let told = child.wait_with_output().await.unwrap();
    assert!(told.status.success(), "the script failed");
    String::from_utf8(told.stdout).unwrap()
}

/// The export has what is served, with its digests, and goes over nothing that it did not make.
async fn exported(daemon: &Daemon, http: &Http, issuer: &str) {
    let dir = daemon.path("public");
    let export = ["oidc", "export", dir.to_str().unwrap()];
    let operator = daemon.operator(PRODUCTION);
    let manifest = operator.json(&export).await;
    assert_eq!(manifest["issuer"], issuer);
    for path in [".well-known/openid-configuration", "keys"] {
        let bytes = fs::read(dir.join(path)).unwrap();
        let digest = manifest["files"][path].as_str().unwrap();
        assert_eq!(hex::encode(marque_jose::sha256(&bytes)), digest);
        let served = http.send(Call::get(&format!("{issuer}/{path}"))).await.expect(200).json();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), served);
    }
    operator.run(&export).await.succeeded();
    let other = operator.run(&[&export[..], &["--of", "tokens"]].concat()).await.failed();
    assert!(other.err.contains("export_other_issuer"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_a_jwt_svid_names_no_issuer_and_nothing_is_published_for_it() {
    let daemon = Daemon::start().await;
    let place = daemon.place(PRODUCTION);
    assert_eq!(place.svid_issuer_url, None);
    let told = claims(&jwt_svid(&daemon, "/service/e2e").await);
    assert!(told.get("iss").is_none(), "{told}");
    let url = format!("{}/svid/keys", place.issuer_url);
    assert_eq!(daemon.http(PRODUCTION).send(Call::get(&url)).await.status, 404);
    let dir = daemon.path("public").display().to_string();
    let refused = daemon.operator(PRODUCTION).run(&["oidc", "export", &dir]).await.failed();
    assert!(refused.err.contains("discovery_off"), "{refused:?}");
}

/// The folder of production with an issuer on the web.
fn on_the_web(daemon: &Daemon) -> PathBuf {
    let folder = daemon.path("web");
    folder::copy(&daemon.path("trust-domains").join(PRODUCTION), &folder);
    folder::edit(
        &folder,
        "trust-domain.toml",
        "[issuer]\n",
        &format!("[issuer]\nurl = \"{ISSUER}\"\n"),
    );
    folder
}

/// What `marque trust-policy` makes for a cloud.
async fn policy(folder: &Path, cloud: &str, more: &[&str]) -> Value {
    let folder = folder.display().to_string();
    let whom =
        ["--output", "json", "trust-policy", cloud, "--playbook", PLAYBOOK, "--folder", &folder];
    let arguments: Vec<_> = whom.iter().chain(more).map(|&text| text.to_owned()).collect();
    let told = run_marque(&arguments).await.succeeded().json();
    assert!(!told["notes"].as_array().unwrap().is_empty(), "what is not checked is told");
    told["document"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trust_policies_believe_our_issuer_the_exact_subject_and_the_grant_alone() {
    let Some(python) = python::interpreter() else { return };
    let daemon = daemon().await;
    let rotator = Client::start(&daemon, ROTATOR).await;
    let folder = on_the_web(&daemon);
    let agent = rotator.place.id(ROTATOR.path);
    let agent = ["--agent", agent.as_str()];
    let aws = [&agent[..], &["--account", "123456789012"]].concat();
    let gcp = ["--project-number", "123456", "--pool", "agents", "--provider", "rotation"];
    let gcp = [&agent[..], &gcp].concat();
    let documents = [
        policy(&folder, "aws", &aws).await,
        policy(&folder, "gcp", &gcp).await,
        policy(&folder, "azure", &agent).await,
    ];
    let intent = approved_rotation(&daemon, &rotator).await;
    let token = rotator.exchange(&intent).await.expect(200).text("access_token");
    let mut good = claims(&token);
    assert_eq!(good["intent"]["playbook"], PLAYBOOK);
    good["iss"] = ISSUER.into();
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        changed
    };
    let tag = "/https:~1~1aws.amazon.com~1tags/principal_tags/marque-playbook";
    let mut other_grant = with("/intent/playbook", "drop-database".into());
    *other_grant.pointer_mut(tag).unwrap() = json!(["drop-database"]);
    // Another playbook has another audience where Entra is to tell them apart.
    other_grant["aud"] = "https://other.prod.example.org".into();
    let mut svid = claims(&jwt_svid(&daemon, "/service/e2e").await);
    svid["sub"] = good["sub"].clone();
    let mut svid_of_the_issuer = svid.clone();
    svid_of_the_issuer["iss"] = ISSUER.into();
    let tokens = json!({
        "good": good,
        "another issuer": with("/iss", "https://issuer.example.net".into()),
        "another subject": with("/sub", format!("{}x", good["sub"].as_str().unwrap()).into()),
        "a wildcard subject": with("/sub", "*".into()),
        "a person": with("/sub", "corp:alice".into()),
        "another audience": with("/aud", "https://elsewhere.example.org".into()),
        "another grant": other_grant,
        "a JWT-SVID": svid,
        "a JWT-SVID by the same name": svid_of_the_issuer,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/trust_policy.py");
    let [aws, gcp, azure] = &documents;
    let asked = json!({ "aws": aws, "gcp": gcp, "azure": azure, "tokens": tokens });
    let told: Value = serde_json::from_str(&run(&python, &[script], &asked).await).unwrap();
    for cloud in ["aws", "gcp", "azure"] {
        for (name, believed) in told[cloud].as_object().unwrap() {
            assert_eq!(*believed, Value::from(name == "good"), "{cloud}: {name}");
        }
    }
    // Of the grant Entra sees the audience, the others the playbook itself.
    let mut same_audience = with("/intent/playbook", "drop-database".into());
    *same_audience.pointer_mut(tag).unwrap() = json!(["drop-database"]);
    let asked = json!({ "aws": aws, "gcp": gcp, "azure": azure, "tokens": { "x": same_audience } });
    let told: Value = serde_json::from_str(&run(&python, &[script], &asked).await).unwrap();
    assert_eq!((&told["aws"]["x"], &told["gcp"]["x"]), (&false.into(), &false.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_policy_is_made_for_wildcards_strangers_or_an_issuer_that_no_cloud_reaches() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("prod");
    folder::copy(&folder::shipped().join(PRODUCTION), &folder);
    let run = async |more: &[&str]| {
        let folder = folder.display().to_string();
        let whom = ["trust-policy", "azure", "--folder", &folder, "--playbook"];
        let arguments: Vec<_> = whom.iter().chain(more).map(|&text| text.to_owned()).collect();
        run_marque(&arguments).await
    };
    let agent = format!("spiffe://{PRODUCTION}{}", ROTATOR.path);
    let named = [PLAYBOOK, "--agent", &agent];
    assert!(run(&named).await.failed().err.contains("issuer_unusable"), "no url at all");
    let with_port = format!("[issuer]\nurl = \"{ISSUER}:8443\"\n");
    folder::edit(&folder, "trust-domain.toml", "[issuer]\n", &with_port);
    assert!(run(&named).await.failed().err.contains("issuer_unusable"), "a port");
    folder::edit(&folder, "trust-domain.toml", &format!("{ISSUER}:8443"), ISSUER);
    run(&named).await.succeeded();
    let stranger = format!("spiffe://{PRODUCTION}/agent/stranger");
    for (more, code) in [
        ([PLAYBOOK, "--agent", &format!("spiffe://{PRODUCTION}/agent/*")], "subject_wildcard"),
        ([PLAYBOOK, "--agent", "*"], "subject_wildcard"),
        ([PLAYBOOK, "--agent", &stranger], "agent_not_allowed"),
        (["no-such-playbook", "--agent", &agent], "playbook_unknown"),
    ] {
        let refused = run(&more).await.failed();
        assert!(refused.err.contains(code), "{more:?}: {refused:?}");
    }
}
