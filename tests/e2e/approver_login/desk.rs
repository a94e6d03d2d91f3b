//! A daemon with approvers at a provider, and how they act.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::people::{APP, Provider};
use crate::support::browser::Browser;
use crate::support::daemon::{Daemon, NON_PRODUCTION, PRODUCTION};
use crate::support::http::{Answer, Call};
use crate::support::wait::until;

/// A daemon whose production trust domain has approvers at the provider, and an agent.
pub(crate) struct Desk {
    pub(crate) daemon: Daemon,
    pub(super) provider: Provider,
    pub(crate) base: String,
    pub(super) origin: String,
}

/// Lets the people of a provider approve in a trust domain.
fn approvers(
    provider: &Provider,
    trust_domains: &Path,
    (trust_domain, client): (&str, &str),
    more: &str,
) {
    let file = trust_domains.join(trust_domain).join("trust-domain.toml");
    let text = fs::read_to_string(&file).expect("read the document");
    let environment = if trust_domain == PRODUCTION { "production" } else { "non-production" };
    let (issuer, ca_file) = (&provider.issuer, provider.ca_file.display());
    let table = format!(
        "\n[approver_login]\nenvironment = \"{environment}\"\nissuer = \"{issuer}\"\n\
         authorization_endpoint = \"{issuer}/auth\"\ntoken_endpoint = \"{issuer}/token\"\n\
         jwks_uri = \"{issuer}/jwks\"\nca_file = \"{ca_file}\"\nclient_id = \"{client}\"\n\
         groups_claim = \"groups\"\nmfa_acr = [\"urn:example:two-factors\"]\n{more}\n\
         [approver_login.groups]\nsre = \"platform-sre\"\n"
    );
    fs::write(&file, format!("{text}{table}")).expect("write the document");
}

/// Has the production playbook ask for a login with more than one factor.
pub(super) fn demand_mfa(trust_domains: &Path) {
    let file = trust_domains.join(PRODUCTION).join("playbooks/ingress-cert-rotation.toml");
    let text = fs::read_to_string(&file).expect("read the playbook");
    let text = text.replace("[approval]\n", "[approval]\nmfa = \"required\"\n");
    fs::write(&file, text).expect("write the playbook");
}

impl Desk {
    pub(crate) async fn start(modules: &Path, more: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_as(APP, modules, more, prepare).await
    }

    /// With a client of the provider that is not everybody's.
    pub(super) async fn start_as(
        client: &str,
        modules: &Path,
        more: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let provider = Provider::start(modules, 600).await;
        let daemon = Daemon::start_with(|trust_domains| {
            approvers(&provider, trust_domains, (PRODUCTION, client), more);
            approvers(&provider, trust_domains, (NON_PRODUCTION, "expenses"), "");
            prepare(trust_domains);
        })
        .await;
        for trust_domain in [PRODUCTION, NON_PRODUCTION] {
            let issuer = &daemon.place(trust_domain).issuer_url;
            provider.redirects_to(&format!("{issuer}/v1/approvals/login/callback")).await;
        }
        let origin = daemon.place(PRODUCTION).issuer_url.clone();
        let base = format!("{origin}/v1/approvals");
        Self { daemon, provider, base, origin }
    }

    pub(crate) fn browser(&self) -> Browser {
        let place = self.daemon.place(PRODUCTION);
        Browser::new(&place.ca_file, &self.provider.issuer, &self.provider.ca_file)
    }

    /// Begins a login; where the provider would send the browser back to, with its answer.
    pub(super) async fn to_callback(
        &self,
        browser: &mut Browser,
        person: &str,
        query: &str,
    ) -> String {
        let begun = browser.get(&format!("{}/login{query}", self.base)).await.expect(303);
        let location = begun.headers["location"].to_str().expect("a location").to_owned();
        self.at_provider(browser, &format!("{location}&login_hint={person}")).await
    }

    pub(super) async fn at_provider(&self, browser: &mut Browser, url: &str) -> String {
        let callback = format!("{}/login/callback", self.base);
        let (url, answer) = browser.browse(url, |next| next.starts_with(&callback)).await;
        assert!(url.starts_with(&callback), "{url}: {answer:?}");
        url
    }

    /// Logs somebody in. The daemon may not have the provider's keys at once.
    pub(crate) async fn log_in(&self, person: &str) -> Browser {
        self.log_in_with(person, "").await
    }

    pub(super) async fn log_in_with(&self, person: &str, query: &str) -> Browser {
        until("a login", async || {
            let mut browser = self.browser();
            let callback = self.to_callback(&mut browser, person, query).await;
            let answer = browser.get(&callback).await;
            assert!(
                answer.status == 200 || answer.body.contains("login_unavailable"),
                "{answer:?}"
            );
            (answer.status == 200).then_some(browser)
        })
        .await
    }

    pub(super) async fn session(&self, browser: &mut Browser) -> Value {
        browser.get(&format!("{}/session", self.base)).await.expect(200).json()
    }

    /// A decision as our own page would send it.
    pub(crate) async fn decide(
        &self,
        browser: &mut Browser,
        intent: &str,
        verb: &str,
        body: &Value,
    ) -> Answer {
        self.decide_once(browser, (intent, verb), body, None).await
    }

    /// The same under an idempotency key, where there is one.
    pub(crate) async fn decide_once(
        &self,
        browser: &mut Browser,
        (intent, verb): (&str, &str),
        body: &Value,
        key: Option<&str>,
    ) -> Answer {
        let csrf = self.session(browser).await["csrf"].as_str().expect("a token").to_owned();
        let url = format!("{}/intents/{intent}/{verb}", self.base);
        let call = Call::json(&url, body)
            .header("origin", self.origin.clone())
            .header("sec-fetch-site", "same-origin")
            .header("marque-csrf", csrf);
        let call = key.into_iter().fold(call, |call, key| call.header("idempotency-key", key));
        browser.send(&url, call).await
    }

    pub(crate) async fn digest(&self, browser: &mut Browser, intent: &str) -> String {
        let shown =
            browser.get(&format!("{}/intents/{intent}", self.base)).await.expect(200).json();
        shown["grant"]["digest"].as_str().expect("a digest").to_owned()
    }
}
