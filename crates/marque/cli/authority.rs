//! `marque authority`: the keys that sign, and the steps of their lives that do not wait for the clock.

mod certificates;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use marque_keys::{KeyPurpose, SlotId};
use marque_spiffe::Clock;
use serde::Serialize;

use super::Session;
use super::daemon::Of;
use super::failure::Failure;
use super::output::table;
use super::text::moment_from;
use crate::clock::SystemClock;
use crate::grpc::admin::{AuthorityWish, SigningKeyView};

/// Show the keys that sign SVIDs and access tokens; prepare, activate, taint and revoke them
///
/// The clock does all of this by itself: the next key is published when half of the active one's life is left, signs when a
/// sixth is left, and the old one stays published until everything that it signed has ended. By hand it is needed when a key
/// may be in wrong hands: prepare the next one, taint the one that is lost (everything that it signed is issued anew and pushed),
/// and revoke it when nobody uses what it signed any more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque authority list
  marque authority prepare x509-authority --trust-domain prod.example.org
  marque authority activate x509-authority-b-1 --trust-domain prod.example.org
  marque authority taint x509-authority-a-1 --trust-domain prod.example.org --reason 'incident 7: the host was read'
  marque authority revoke x509-authority-a-1 --trust-domain prod.example.org --reason 'incident 7: all hosts renewed'
  marque authority csr --trust-domain prod.example.org --out next.csr
  marque authority import next-chain.pem --trust-domain prod.example.org")]
pub(super) struct AuthorityArgs {
    #[command(subcommand)]
    command: AuthorityCommand,
}

#[derive(Debug, Subcommand)]
enum AuthorityCommand {
    /// List the keys, where each stands, and what the clock does next
    List,
    /// Make the next key of a purpose and publish it; it does not sign yet
    Prepare {
        /// What for: x509-authority, jwt-svid, wit-svid or access-token
        #[arg(value_parser = purpose)]
        purpose: KeyPurpose,
        /// Why; the log keeps it
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a prepared key sign in place of the active one
    ///
    /// Refused until the key was published for three times the bundle's refresh hint: whoever fetches the bundle may not know
    /// it before that, and would refuse what it signs.
    Activate {
        /// The prepared key, as `marque authority list` names it
        key: SlotId,
        /// Although whoever fetches the bundle may not know it yet
        #[arg(long, requires = "reason")]
        now: bool,
        /// Why; the log keeps it
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Give a key up: nothing more is signed with it, and what it signed is issued anew and pushed at once
    ///
    /// It stays in the bundle, so that nothing breaks, until it is revoked. In place of the active key the prepared one signs, even
    /// if it is new: prepare one first.
    Taint {
        /// The key, as `marque authority list` names it
        key: SlotId,
        /// Why; the log keeps it
        #[arg(long)]
        reason: String,
    },
    /// Take a tainted key out of the bundle: everybody refuses what it signed
    Revoke {
        /// The tainted key, as `marque authority list` names it
        key: SlotId,
        /// Why; the log keeps it
        #[arg(long)]
        reason: String,
    },
    /// Ask for the certificate of the next key, where an offline root signs it (`[upstream]` in trust-domain.toml)
    ///
    /// Makes the key unless it is there, and prints a certificate request (PKCS #10). Nothing is published before the certificate
    /// is brought back; to ask again is harmless.
    Csr(certificates::CsrArgs),
    /// Publish the key of the last request with the certificate that the offline root signed
    ///
    /// It is tried first: an SVID is minted below it and verified by the root. It signs when the clock says so, or with `marque
    /// authority activate`.
    Import(certificates::ImportArgs),
}

fn purpose(text: &str) -> Result<KeyPurpose, String> {
    let rotated = |purpose: &KeyPurpose| *purpose != KeyPurpose::AuditCheckpoint;
    let known = KeyPurpose::ALL.into_iter().filter(rotated);
    known
        .into_iter()
        .find(|purpose| purpose.as_str() == text)
        .ok_or_else(|| "a key is for x509-authority, jwt-svid, wit-svid or access-token".to_owned())
}

/// In JSON.
#[derive(Debug, Serialize)]
struct Changed {
    /// The key that the step was about.
    key: String,
    done: &'static str,
    /// All keys as they are now.
    keys: Vec<SigningKeyView>,
}

impl AuthorityArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (wish, reason, done) = match self.command {
            AuthorityCommand::List => return list(session).await,
            AuthorityCommand::Csr(args) => return args.run(session).await,
            AuthorityCommand::Import(args) => return args.run(session).await,
            AuthorityCommand::Prepare { purpose, reason } => {
                (AuthorityWish::Prepare(purpose), reason, "prepared")
            }
            AuthorityCommand::Activate { key, now, reason } => {
                (AuthorityWish::Activate { slot: key, at_once: now }, reason, "activated")
            }
            AuthorityCommand::Taint { key, reason } => {
                (AuthorityWish::Taint(key), reason, "tainted")
            }
            AuthorityCommand::Revoke { key, reason } => {
                (AuthorityWish::Revoke(key), reason, "revoked")
            }
        };
        let mut home = session.home().await?;
        let (key, keys) = home.admin.change_authority(wish, reason).await?;
        let changed = home.of(Changed { key, done, keys });
        session.output.show(&changed, |of| told(of, SystemClock.now()))
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let mut all = Vec::new();
    for mut home in session.homes().await? {
        let found = home.admin.authorities().await?;
        all.extend(found.into_iter().map(|key| home.of(key)));
    }
    session.output.show(&all, |all| {
        let keys = all.iter().map(|of| (of.trust_domain.as_str(), &of.item));
        render(keys, SystemClock.now())
    })
}

fn told(of: &Of<Changed>, now: Timestamp) -> String {
    let Changed { key, done, keys } = &of.item;
    let keys = keys.iter().map(|key| (of.trust_domain.as_str(), key));
    format!("{key} is {done}.\n\n{}", render(keys, now))
}

fn render<'a>(keys: impl Iterator<Item = (&'a str, &'a SigningKeyView)>, now: Timestamp) -> String {
    let rows = keys.map(|(trust_domain, key)| {
        let state = if key.tainted { format!("{}, tainted", key.state) } else { key.state.clone() };
        let next = match key.next_at {
            Some(at) => format!("{} {}", key.next, moment_from(Some(at), now)),
            None if !key.upstream.is_empty() => format!("as {} says", key.upstream),
            None => "-".to_owned(),
        };
        let ends = match key.ends_at {
            None if !key.upstream.is_empty() => "-".to_owned(),
            ends_at => moment_from(ends_at, now),
        };
        [shortened(&key.key), trust_domain.to_owned(), state, ends, next]
    });
    table(["KEY", "TRUST DOMAIN", "STATE", "ENDS", "NEXT"], rows)
}

/// How much of a digest is shown: it is in full in JSON, and in `marque bundle show`.
const SHOWN_OF_DIGEST: usize = 23;

fn shortened(key: &str) -> String {
    let is_digest = key.starts_with("sha256:") && key.chars().count() > SHOWN_OF_DIGEST;
    let shown = |key: &str| key.chars().take(SHOWN_OF_DIGEST).collect::<String>();
    if is_digest { format!("{}…", shown(key)) } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, state: &str) -> SigningKeyView {
        SigningKeyView {
            key: name.to_owned(),
            purpose: "jwt-svid".to_owned(),
            state: state.to_owned(),
            tainted: false,
            key_id: format!("{name}-00c0ffee"),
            published_at: None,
            usable_from: None,
            activated_at: None,
            replaced_at: None,
            tainted_at: None,
            left_at: None,
            ends_at: Some("2026-12-22T03:00:00Z".parse().unwrap()),
            next: String::new(),
            next_at: None,
            upstream: String::new(),
        }
    }

    #[test]
    fn a_key_is_shown_with_its_state_and_what_the_clock_does_next() {
        let now = "2026-11-22T03:00:00Z".parse().unwrap();
        let tainted = SigningKeyView { tainted: true, ..key("jwt-svid-a-1", "old") };
        let active = SigningKeyView {
            next: "successor prepared".to_owned(),
            next_at: Some("2026-12-07T03:00:00Z".parse().unwrap()),
            ..key("jwt-svid-b-1", "active")
        };
        let shown = render(
            [("prod.example.org", &tainted), ("prod.example.org", &active)].into_iter(),
            now,
        );
        insta::assert_snapshot!(shown, @r"
        KEY           TRUST DOMAIN      STATE         ENDS                              NEXT
        jwt-svid-a-1  prod.example.org  old, tainted  2026-12-22 03:00:00 UTC (in 30d)  -
        jwt-svid-b-1  prod.example.org  active        2026-12-22 03:00:00 UTC (in 30d)  successor prepared 2026-12-07 03:00:00 UTC (in 15d)
        ");
    }

    #[test]
    fn a_key_of_the_upstream_says_whose_it_is() {
        let now = "2026-11-22T03:00:00Z".parse().unwrap();
        let followed = SigningKeyView {
            upstream: "issuer.example.org:8081".to_owned(),
            ends_at: None,
            tainted: true,
            ..key(&format!("sha256:{}", "ab".repeat(32)), "followed")
        };
        let shown = render([("prod.example.org", &followed)].into_iter(), now);
        insta::assert_snapshot!(shown, @r"
        KEY                       TRUST DOMAIN      STATE              ENDS  NEXT
        sha256:abababababababab…  prod.example.org  followed, tainted  -     as issuer.example.org:8081 says
        ");
    }

    #[test]
    fn the_key_of_checkpoints_is_no_purpose_to_prepare_for() {
        assert_eq!(purpose("wit-svid"), Ok(KeyPurpose::WitSvid));
        assert!(purpose("audit-checkpoint").is_err());
    }
}
