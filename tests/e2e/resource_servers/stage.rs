//! What every resource server is shown: good tokens, and what only looks like one.

use std::fs;
use std::path::Path;

use crate::support::daemon::{Daemon, PRODUCTION, ROTATOR};
use crate::support::http::{Answer, Call};
use crate::support::oauth::{Client, INGRESS, approved_rotation};
use crate::support::tokens::{ScratchKey, claims, header, with_claims, with_header};
use crate::support::wait::until;

/// What the good token permits, and what it does not.
pub(crate) const PERMITTED: &str = "/secrets/checkout-tls";
pub(crate) const NOT_PERMITTED: &str = "/secrets/payment-tls";
/// An audience that the tokens are not for.
pub(crate) const ELSEWHERE: &str = "https://elsewhere.prod.example.org";

/// The daemon and its agent.
pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    pub(crate) rotator: Client,
}

impl Stage {
    /// One whose tokens live for some seconds.
    pub(crate) async fn new() -> Self {
        Self::with(|trust_domains| {
            let file = trust_domains.join(PRODUCTION).join("trust-domain.toml");
            let text = fs::read_to_string(&file).unwrap();
            let short = text.replace("max_lifetime = \"10m\"", "max_lifetime = \"20s\"");
            assert_ne!(text, short, "the ceiling is where it was");
            fs::write(file, short).unwrap();
        })
        .await
    }

    /// One whose tokens live for minutes.
    pub(crate) async fn lasting() -> Self {
        Self::with(|_trust_domains| {}).await
    }

    async fn with(prepare: impl FnOnce(&Path)) -> Self {
        let daemon = Daemon::start_with(prepare).await;
        let rotator = Client::start(&daemon, ROTATOR).await;
        Self { daemon, rotator }
    }

    /// An approved intent and its token.
    pub(crate) async fn token(&self) -> (String, String) {
        let intent = approved_rotation(&self.daemon, &self.rotator).await;
        let token = self.rotator.exchange(&intent).await.expect(200).text("access_token");
        (intent, token)
    }

    /// Asks a server with this `Authorization`.
    pub(crate) async fn ask(&self, base: &str, path: &str, authorization: Option<&str>) -> Answer {
        let mut call = Call::get(&format!("{base}{path}"));
        if let Some(value) = authorization {
            call = call.header("authorization", value);
        }
        self.rotator.send(call).await
    }

    /// Asks for what is permitted, with this token as a bearer.
    pub(crate) async fn bearer(&self, base: &str, token: &str) -> Answer {
        self.ask(base, PERMITTED, Some(&format!("Bearer {token}"))).await
    }

    /// What every server has to do: take the good token, and nothing that only looks like one, nor that one elsewhere or
    /// later.
    pub(crate) async fn takes_the_good_token_and_no_other(&self, server: &str, elsewhere: &str) {
        let (_intent, token) = self.token().await;
        let mut wider = claims(&token);
        wider["scope"] = "secrets.update admin".into();
        let mut unsigned = header(&token);
        unsigned["alg"] = "none".into();
        let forged = ScratchKey::new().sign(&header(&token), &claims(&token));
        let taken = self.bearer(server, &token).await.expect(200);
        let cut: String = token.chars().take(token.len() - 1).collect();
        for (what, authorization) in [
            ("no token", None),
            ("an empty one", Some("Bearer ".to_owned())),
            ("no scheme", Some(token.clone())),
            ("another scheme", Some(format!("Basic {token}"))),
            ("a wider scope under the old signature", Some(bearer(&with_claims(&token, &wider)))),
            ("no algorithm", Some(bearer(&with_header(&token, &unsigned)))),
            ("a namesake's key", Some(bearer(&forged))),
            ("a character less", Some(bearer(&cut))),
            ("the agent's own identity", Some(bearer(&self.rotator.svid))),
        ] {
            let answer = self.ask(server, PERMITTED, authorization.as_deref()).await;
            assert!((400..404).contains(&answer.status), "{what}: {answer:?}");
            assert!(!answer.body.contains(&taken.body), "{what}: {answer:?}");
        }
        self.refused(elsewhere, &token).await;
        until("the token's end", async || {
            let answer = self.bearer(server, &token).await;
            (answer.status != 200).then(|| assert_eq!(answer.status, 401, "{answer:?}"))
        })
        .await;
    }

    /// The token is refused.
    pub(crate) async fn refused(&self, server: &str, token: &str) {
        let answer = self.bearer(server, token).await;
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    }

    /// Another resource than the token's details name is refused for what the token permits, not for the token.
    pub(crate) async fn permits_only_what_the_details_say(&self, server: &str) {
        let (_intent, token) = self.token().await;
        self.bearer(server, &token).await.expect(200);
        let other = self.ask(server, NOT_PERMITTED, Some(&bearer(&token))).await.expect(403);
        let told = other.headers["www-authenticate"].to_str().unwrap();
        assert!(told.contains("insufficient_authorization_details"), "{told}");
        // A method that no action stands for is none of those that the details permit.
        let post = Call::form::<&str, &str>(&format!("{server}{PERMITTED}"), &[]).bearer(&token);
        let post = self.rotator.send(post).await;
        assert!(matches!(post.status, 405 | 501), "{post:?}");
    }

    /// The example of this path.
    pub(crate) fn example(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
    }

    /// The arguments of the worked examples.
    pub(crate) fn arguments(&self, resource: &str) -> Vec<String> {
        let issuer = self.rotator.place.issuer_url.as_str();
        ["--issuer", issuer, "--resource", resource, "--listen", "127.0.0.1:0"]
            .map(ToOwned::to_owned)
            .to_vec()
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The audience that the tokens are for.
pub(crate) const RESOURCE: &str = INGRESS.audience;
