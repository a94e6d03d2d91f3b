//! SVIDs and bundles, fetched once and shown.

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt;
use jiff::Timestamp;
use marque_spiffe::{Clock as _, SpiffeId};
use serde::Serialize;
use serde_json::Value;

use super::super::Session;
use super::super::failure::Failure;
use super::super::output::{pairs, visible};
use super::super::text::{lines, moment_from, or_dash};
use super::checked::{self, Token, X509};
use super::folder::Folder;
use super::write::{Names, svid_files};
use crate::clock::SystemClock;
use crate::pem::pem_certificates;

pub(super) async fn x509(
    session: &mut Session,
    socket: Option<&str>,
    write: Option<&Path>,
) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let first = client.watch_x509().await?.next().await;
    let fetched = first.ok_or_else(|| Failure::failed("the stream ended without a message"))??;
    let shown = fetched.svids.iter().map(checked::x509).collect::<Result<Vec<_>, _>>()?;
    if let (Some(folder), Some(default)) = (write, fetched.svids.first()) {
        let names = Names::default();
        Folder::open(folder)?.replace(&svid_files(&names, default))?;
    }
    session.output.show(&shown, |shown| render(shown))?;
    match write {
        Some(folder) => session.output.remark(&format!("Written to {}", folder.display())),
        None => Ok(()),
    }
}

pub(super) async fn jwt(
    session: &mut Session,
    socket: Option<&str>,
    audience: Vec<String>,
    spiffe_id: Option<SpiffeId>,
    raw: bool,
) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let wanted = audience.first().cloned().unwrap_or_default();
    let fetched = client.jwt_svids(audience, spiffe_id.map(|id| id.to_string())).await?;
    let bundles = client.jwt_bundles().await?;
    let check = |svid| checked::jwt(svid, &wanted, &bundles);
    let tokens = fetched.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    session.output.show(&tokens, |tokens| match raw {
        true => tokens.iter().map(|token| format!("{}\n", visible(&token.svid))).collect(),
        false => render_tokens(tokens),
    })
}

pub(super) async fn wit(
    session: &mut Session,
    socket: Option<&str>,
    spiffe_id: Option<SpiffeId>,
) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let fetched = client.wit_svids(spiffe_id.map(|id| id.to_string())).await?;
    let bundles = client.wit_bundles().await?;
    let check = |svid| checked::wit(svid, &bundles);
    let tokens = fetched.iter().map(check).collect::<Result<Vec<_>, _>>()?;
    session.output.show(&tokens, |tokens| render_tokens(tokens))
}

#[derive(Debug, Serialize)]
struct Bundles {
    x509: BTreeMap<String, String>,
    jwt: BTreeMap<String, Value>,
}

pub(super) async fn bundles(session: &mut Session, socket: Option<&str>) -> Result<(), Failure> {
    let mut client = session.workload(socket).await?;
    let x509 = client.x509_bundles().await?;
    let jwt = client.jwt_bundles().await?;
    let x509 = x509.into_iter().map(|(name, chain)| (name, pem_certificates(&chain))).collect();
    session.output.show(&Bundles { x509, jwt }, |bundles| {
        let x509 = bundles.x509.iter().map(|(name, pem)| format!("{} X.509\n{pem}", visible(name)));
        let jwt = bundles
            .jwt
            .iter()
            .map(|(name, keys)| format!("{} JWT\n{}\n", visible(name), visible(&keys.to_string())));
        x509.chain(jwt).collect::<Vec<_>>().join("\n")
    })
}

pub(super) fn render(shown: &[X509]) -> String {
    let now = SystemClock.now();
    shown.iter().map(|one| page(one, now)).collect::<Vec<_>>().join("\n")
}

fn page(svid: &X509, now: Timestamp) -> String {
    pairs([
        ("SPIFFE ID", svid.spiffe_id.clone()),
        ("hint", or_dash(&svid.hint)),
        ("valid from", moment_from(Some(svid.not_before), now)),
        ("expires", moment_from(Some(svid.expires_at), now)),
        ("chain", lines(&svid.chain)),
    ])
}

pub(super) fn render_tokens(tokens: &[Token]) -> String {
    let now = SystemClock.now();
    tokens.iter().map(|token| token_page(token, now)).collect::<Vec<_>>().join("\n")
}

fn token_page(token: &Token, now: Timestamp) -> String {
    let mut known = vec![
        ("SPIFFE ID", token.spiffe_id.clone()),
        ("hint", or_dash(&token.hint)),
        ("issued", moment_from(token.issued_at, now)),
        ("expires", moment_from(Some(token.expires_at), now)),
        ("key id", token.key_id.clone()),
    ];
    if let Some(thumbprint) = &token.holder_thumbprint {
        known.push(("holder's key", format!("{thumbprint} (RFC 7638)")));
    }
    known.push(("claims", format!("{:#}", Value::Object(token.claims.clone()))));
    known.push(("token", token.svid.clone()));
    pairs(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_x509_svid_shows_whose_it_is_until_when_and_its_chain() {
        let svid = X509 {
            spiffe_id: "spiffe://prod.example.org/agent/a".to_owned(),
            hint: String::new(),
            not_before: at("2026-11-22T02:59:50Z"),
            expires_at: at("2026-11-22T04:00:00Z"),
            thumbprint: "aa".to_owned(),
            chain: vec!["aa".to_owned(), "bb".to_owned()],
            chain_pem: String::new(),
            bundle_pem: String::new(),
        };
        insta::assert_snapshot!(page(&svid, at("2026-11-22T03:00:00Z")), @r"
        SPIFFE ID   spiffe://prod.example.org/agent/a
        hint        -
        valid from  2026-11-22 02:59:50 UTC (10s ago)
        expires     2026-11-22 04:00:00 UTC (in 1h)
        chain       aa
                    bb
        ");
    }

    #[test]
    fn a_token_shows_its_claims_and_whose_key_it_is_bound_to() {
        let claims =
            serde_json::json!({ "sub": "spiffe://prod.example.org/agent/a", "n": "\u{1b}" });
        let token = Token {
            spiffe_id: "spiffe://prod.example.org/agent/a".to_owned(),
            hint: "main".to_owned(),
            issued_at: None,
            expires_at: at("2026-11-22T03:05:00Z"),
            key_id: "k1".to_owned(),
            holder_thumbprint: Some("abc".to_owned()),
            claims: claims.as_object().unwrap().clone(),
            svid: "a.b.c".to_owned(),
        };
        insta::assert_snapshot!(token_page(&token, at("2026-11-22T03:00:00Z")), @r#"
        SPIFFE ID     spiffe://prod.example.org/agent/a
        hint          main
        issued        -
        expires       2026-11-22 03:05:00 UTC (in 5m)
        key id        k1
        holder's key  abc (RFC 7638)
        claims        {
                        "sub": "spiffe://prod.example.org/agent/a",
                        "n": "\u001b"
                      }
        token         a.b.c
        "#);
    }
}
