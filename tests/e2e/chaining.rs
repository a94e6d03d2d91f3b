//! From one domain to another: two real daemons, and an agent that is known in both.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::Workload;
use crate::support::daemon::{Daemon, NON_PRODUCTION, RESTARTER};
use crate::support::http::{Answer, Call, Http};
use crate::support::issuer::Issuer;
use crate::support::log;
use crate::support::oauth::{ASSERTION_TYPE, Client, Fields, PREVIEW, exchange_fields, restart};
use crate::support::operator::run_marque;
use crate::support::programs::copy_of_this_program;
use crate::support::server::free_port;
use crate::support::tokens::{claims, header};
use crate::support::wait::until;

const HOME: &str = "home.example.org";
const PARTNER: &str = "partner.example.org";
const AGENT: &str = "/agent/preview-restarter/one";
const OTHER: &str = "/agent/preview-restarter/two";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TXN_TOKEN: &str = "urn:ietf:params:oauth:token-type:txn_token";

/// Two domains, of which the one at home sends its agent to the partner.
struct Domains {
    _home: Issuer,
    partner: Issuer,
    here: Client,
    there: Client,
}

/// What the two say of their environments.
struct Environments {
    home_of_partner: &'static str,
    partner: &'static str,
    partner_of_home: &'static str,
}

const SAME: Environments = Environments {
    home_of_partner: "non-production",
    partner: "non-production",
    partner_of_home: "non-production",
};

impl Domains {
    async fn start(environments: Environments) -> Self {
        let Environments { home_of_partner, partner: own, partner_of_home } = environments;
        let port = free_port().await;
        let elsewhere = format!("https://localhost:{port}");
        let home = Issuer::start_with(HOME, |folder| {
            let (own, foreign) = (id(HOME, AGENT), id(PARTNER, AGENT));
            add(
                folder,
                &format!(
                    "[[authorization_servers]]\nname = \"partner\"\nenvironment = \"{home_of_partner}\"\n\
                     issuer = \"{elsewhere}\"\ngrants_for = [\"jwt\", \"id-jag\"]\n\
                     scopes = [\"deployments.restart\"]\n\n\
                     [authorization_servers.clients]\n\"{own}\" = \"{foreign}\"\n"
                ),
            );
            // What the playbook permits lies in the other domain.
            let playbook = folder.join("playbooks/restart-preview.toml");
            change(&playbook, &format!("https://preview.{HOME}"), &elsewhere);
            change(&playbook, &format!("https://k8s.{HOME}"), &format!("https://k8s.{PARTNER}"));
        })
        .await;
        let (issuer, keys) = (home.place.issuer_url.clone(), home.place.jwks_url.clone());
        let ca_file = home.place.ca_file.display().to_string();
        let partner = Issuer::start_with(PARTNER, |folder| {
            let document = folder.join("trust-domain.toml");
            change(&document, "127.0.0.1:0", &format!("127.0.0.1:{port}"));
            change(&document, "\"non-production\"", &format!("\"{own}\""));
            let policy = folder.join("policy");
            if own != "production" {
                // Whoever home vouches for may be acted for here.
                let playbook = folder.join("playbooks/restart-preview.toml");
                change(&playbook, "issuer = \"corp\"", "issuer = \"home\"");
            }
            if own == "production" {
                // What is asked for here is for the other environment, and of no use to it.
                fs::remove_dir_all(policy.join("tests")).expect("remove the cases");
                fs::remove_dir_all(folder.join("playbooks")).expect("remove the playbooks");
            }
            add(
                folder,
                &format!(
                    "[token_service]\nidentity_chaining = true\nid_jag = true\n\n\
                     [[authorization_servers]]\nname = \"home\"\nenvironment = \"{partner_of_home}\"\n\
                     issuer = \"{issuer}\"\ngrants_of = [\"jwt\", \"id-jag\"]\n\
                     jwks_uri = \"{keys}\"\nca_file = \"{ca_file}\"\n"
                ),
            );
        })
        .await;
        assert_eq!(partner.place.issuer_url, elsewhere);
        let here = agent(&home, AGENT, "chained-here").await;
        let there = agent(&partner, AGENT, "chained-there").await;
        Self { _home: home, partner, here, there }
    }

    /// A grant of home for the partner, of a new intent.
    async fn grant(&self, kind: &str) -> String {
        let intent = self.here.ask_restart().await;
        let answer = self.asked(kind, &intent).await.expect(200);
        assert_eq!(answer.json()["issued_token_type"], kind, "{answer:?}");
        assert_eq!(answer.json()["token_type"], "N_A", "{answer:?}");
        assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
        answer.text("access_token")
    }

    async fn asked(&self, kind: &str, intent: &str) -> Answer {
        let mut fields = exchange_fields(&self.here.svid, intent);
        fields.push(("requested_token_type", kind.to_owned()));
        fields.push(("audience", self.partner.place.issuer_url.clone()));
        self.here.token(&fields).await
    }

    /// The grant's exchange at the partner, once the partner has the keys of home.
    async fn redeemed(&self, grant: &str) -> Answer {
        let intent = self.there.ask_restart().await;
        until("the keys of home", async || {
            let answer = self.there.token(&redemption(&self.there, grant, &intent)).await;
            let unknown = answer.json()["error"] == "temporarily_unavailable";
            (!unknown).then_some(answer)
        })
        .await
    }
}

fn id(trust_domain: &str, path: &str) -> String {
    format!("spiffe://{trust_domain}{path}")
}

fn add(folder: &Path, tables: &str) {
    let file = folder.join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    fs::write(file, format!("{text}\n{tables}")).expect("write the document");
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("read a file");
    assert!(text.contains(from), "{}: {from}", file.display());
    fs::write(file, text.replace(from, to)).expect("write a file");
}

/// Registers and starts an agent of a domain.
async fn agent(issuer: &Issuer, path: &str, program: &str) -> Client {
    let program = copy_of_this_program(program);
    let place = issuer.place.clone();
    issuer.operator().register(&place.id(path), "agent", &program).await;
    let mut workload = Workload::start(&program, &place);
    let svid = workload.jwt_svid(&place.issuer_url).await;
    Client { workload, svid, http: Http::trusting(&place.ca_file), place }
}

fn redemption(client: &Client, grant: &str, intent: &str) -> Fields {
    let details = json!([{ "type": "marque_intent", "intent_id": intent }]);
    vec![
        ("grant_type", JWT_BEARER.to_owned()),
        ("client_assertion_type", ASSERTION_TYPE.to_owned()),
        ("client_assertion", client.svid.clone()),
        ("assertion", grant.to_owned()),
        ("authorization_details", details.to_string()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_17_a_grant_of_one_domain_becomes_a_narrow_token_of_the_other() {
    let domains = Domains::start(SAME).await;
    for (kind, typ) in [(JWT, "authorization-grant+jwt"), (ID_JAG, "oauth-id-jag+jwt")] {
        let grant = domains.grant(kind).await;
        let said = claims(&grant);
        assert_eq!(header(&grant)["typ"], typ);
        assert_eq!(said["aud"], domains.partner.place.issuer_url, "{said}");
        assert_eq!(said["client_id"], id(PARTNER, AGENT), "{said}");
        assert_eq!(said["environment"], "non-production", "{said}");
        let answer = domains.redeemed(&grant).await.expect(200);
        assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
        let token = claims(&answer.text("access_token"));
        assert_eq!(token["iss"], domains.partner.place.issuer_url, "{token}");
        assert_eq!(token["sub"], format!("home:{}", id(HOME, AGENT)), "{token}");
        assert_eq!(token["act"]["sub"], id(PARTNER, AGENT), "{token}");
        assert_eq!(token["aud"], format!("https://preview.{PARTNER}"), "{token}");
        assert_eq!(token["scope"], "deployments.restart", "{token}");
        assert!(token["exp"].as_u64() <= said["exp"].as_u64(), "{token}");
        // Once, whatever is asked for with it.
        domains.redeemed(&grant).await.oauth_error("invalid_grant");
    }
    let operator = domains.partner.operator();
    let leaves = log::export(&operator, &domains.partner.path("exported")).await;
    let subject = format!("home:{}", id(HOME, AGENT));
    let told = leaves.iter().filter(|leaf| leaf["data"]["detail"]["delegator"] == subject).count();
    assert_eq!(told, 2, "{leaves:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_17_6_a_grant_is_worth_nothing_to_another_client_nor_beyond_what_it_says() {
    let domains = Domains::start(SAME).await;
    let grant = domains.grant(ID_JAG).await;
    let thief = agent(&domains.partner, OTHER, "chained-thief").await;
    let intent = thief.ask_restart().await;
    until("a refusal of the thief", async || {
        let answer = thief.token(&redemption(&thief, &grant, &intent)).await;
        (answer.json()["error"] == "invalid_grant").then_some(())
    })
    .await;
    // Its own client authenticates, and has an intent of its own for no more than the grant says.
    let fields = redemption(&domains.there, &grant, &domains.there.ask_restart().await);
    let anonymous: Fields =
        fields.iter().filter(|(name, _)| !name.starts_with("client_")).cloned().collect();
    domains.there.token(&anonymous).await.oauth_error("invalid_client");
    let mut wider = fields.clone();
    wider.push(("scope", "deployments.restart deployments.delete".to_owned()));
    domains.there.token(&wider).await.oauth_error("invalid_scope");
    let mut elsewhere = restart();
    elsewhere["parameters"]["preview"] = "pr-7".into();
    let elsewhere = domains.there.ask(&elsewhere).await.expect(201).text("id");
    let answer = domains.there.token(&redemption(&domains.there, &grant, &elsewhere)).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    // Neither is it an access token, at home or there.
    for client in [&domains.here, &domains.there] {
        assert_eq!(client.introspect(&grant).await.expect(200).json(), json!({"active": false}));
    }
    domains.there.token(&fields).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_17_11_a_chain_crosses_no_firebreak_though_both_sides_were_told_wrong() {
    // Each calls the other's environment its own; the grant says which it is of.
    let domains = Domains::start(Environments {
        partner: "production",
        partner_of_home: "production",
        ..SAME
    })
    .await;
    let intent = "int_00000000000000000000000001";
    for kind in [JWT, ID_JAG] {
        let grant = domains.grant(kind).await;
        let answer = until("the keys of home", async || {
            let answer = domains.there.token(&redemption(&domains.there, &grant, intent)).await;
            (answer.json()["error"] != "temporarily_unavailable").then_some(answer)
        })
        .await;
        answer.oauth_error("invalid_grant").refused("environment_boundary");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_17_11_a_chain_across_the_firebreak_is_a_finding_before_anything_is_served() {
    let scratch = tempfile::tempdir().unwrap();
    crate::support::folder::copy(&crate::support::folder::shipped(), scratch.path());
    let folder = scratch.path().display().to_string();
    let server = |environment: &str| {
        format!(
            "[[authorization_servers]]\nname = \"production\"\nenvironment = \"{environment}\"\n\
             issuer = \"https://localhost:8443\"\ngrants_for = [\"jwt\"]\n"
        )
    };
    let document = scratch.path().join(NON_PRODUCTION);
    let shipped = fs::read_to_string(document.join("trust-domain.toml")).unwrap();
    for environment in ["production", "non-production"] {
        fs::write(document.join("trust-domain.toml"), &shipped).unwrap();
        add(&document, &server(environment));
        let check = ["check", &folder].map(ToOwned::to_owned);
        let said = run_marque(&check).await;
        assert_eq!(said.code, 1, "{said:?}");
        let told = format!("{}{}", said.out, said.err);
        // At the claim where that is wrong, at the table where what the other says of itself is.
        let line = shipped.lines().count() + if environment == "production" { 4 } else { 2 };
        let place = format!("{NON_PRODUCTION}/trust-domain.toml:{line}: environment_boundary");
        assert!(told.contains(&place), "{place}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_4_12_a_ceiling_takes_away_and_whole_segments_decide_whose_it_is() {
    let with = async |client: &'static str| {
        Daemon::start_with(move |trust_domains| {
            let ceiling = format!(
                "[[clients]]\nspiffe_id = \"spiffe://{NON_PRODUCTION}/agent/{client}\"\nmax_token_lifetime = \"30s\"\n"
            );
            add(&trust_domains.join(NON_PRODUCTION), &ceiling);
        })
        .await
    };
    // `/agent/preview-restarter/one` lies below the first, and not below the second.
    for (client, bounded) in [("preview-restarter/*", true), ("preview/*", false), ("*", true)] {
        let daemon = with(client).await;
        let agent = Client::start(&daemon, RESTARTER).await;
        let answer = agent.exchange(&agent.ask_restart().await).await.expect(200);
        let expires_in = answer.json()["expires_in"].as_u64().expect("an end");
        assert_eq!(expires_in <= 30, bounded, "{client}: {expires_in}");
        assert_eq!(answer.json()["scope"], PREVIEW.scope);
    }
}

/// The fields of a request for a transaction token.
fn transaction(client: &Client, intent: &str) -> Fields {
    let mut fields = exchange_fields(&client.svid, intent);
    fields.push(("requested_token_type", TXN_TOKEN.to_owned()));
    fields.push(("audience", client.place.name.clone()));
    fields.push(("scope", PREVIEW.scope.to_owned()));
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_16_11_the_workload_and_the_transaction_token_service_authenticate_each_other() {
    let daemon = Daemon::start().await;
    let mut agent = Client::start(&daemon, RESTARTER).await;
    let intent = agent.ask_restart().await;
    let svid = agent.workload.x509_svid().await.expect("an X.509-SVID");
    let der = |text: &Value| hex::decode(text.as_str().expect("a text")).expect("hexadecimal");
    let chain: Vec<Vec<u8>> = svid["chain"].as_array().expect("a chain").iter().map(der).collect();
    let fields: Fields = transaction(&agent, &intent)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("client_assertion"))
        .chain([("client_id", svid["id"].as_str().expect("an id").to_owned())])
        .collect();
    let call = || Call::form(&agent.place.token_endpoint, &fields);
    // The workload speaks to nobody but the service that its trust domain's CA vouches for,
    let stranger = Issuer::start(PARTNER).await;
    let refused = Http::showing(&stranger.place.ca_file, &chain, &der(&svid["key"]));
    refused.try_send(call()).await.expect_err("a service that nobody vouches for");
    // and the service gives a transaction token to nobody whom it does not know.
    agent.send(call()).await.oauth_error("invalid_client");
    let http = daemon.http_with(NON_PRODUCTION, &chain, &der(&svid["key"]));
    let answer = http.send(call()).await.expect(200);
    let token = answer.text("access_token");
    assert_eq!(header(&token)["typ"], "txntoken+jwt");
    let said = claims(&token);
    assert_eq!(said["req_wl"], agent.place.id(RESTARTER.path), "{said}");
    assert_eq!(said["aud"], NON_PRODUCTION, "{said}");
    // Introspection has nothing to say of it, and the log ties it to its transaction.
    assert_eq!(agent.introspect(&token).await.expect(200).json(), json!({"active": false}));
    let leaves = log::export(&daemon.operator(NON_PRODUCTION), &daemon.path("log")).await;
    assert!(leaves.iter().any(|leaf| leaf["data"]["detail"]["txn"] == said["txn"]), "{leaves:?}");
}
