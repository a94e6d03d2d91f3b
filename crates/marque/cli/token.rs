//! `marque token`: getting one as an agent does; what was issued, whether it stands, and ending it.

mod answers;
mod poll;
mod request;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use marque_exchange::TokenId;
use marque_intent::IntentId;
use marque_spiffe::Clock;
use serde::Serialize;
use tonic::Code;

use super::Session;
use super::daemon::{Home, Of};
use super::failure::Failure;
use super::output::{pairs, table};
use super::text::{lines, moment, moment_from, or_dash};
use crate::clock::SystemClock;
use crate::grpc::CallError;
use crate::grpc::admin::TokenView;

/// Getting a token as an agent does; what was issued, whether it stands, and ending it before its time
///
/// request is an agent's; the others are an operator's. A token is named by its id, the claim jti. Revoking one ends
/// everything that derives from it as well; to end all tokens of an intent, revoke the intent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque token request ingress-cert-rotation --param region=eu-west-1 --param service=shop --ticket CHG-1842 --wait
  marque token list --intent int_01abcdefghjkmnpqrstvwxyz01
  marque token show tok_0123456789abcdef0123456789abcdef
  marque token revoke tok_0123456789abcdef0123456789abcdef --reason 'seen in a log'")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Request(Box<request::RequestArgs>),
    /// List the tokens of an intent, the oldest first
    List {
        /// The intent
        #[arg(long, value_name = "INTENT")]
        intent: IntentId,
    },
    /// Show one token
    Show {
        /// The token's id, its jti
        #[arg(value_name = "TOKEN")]
        id: TokenId,
    },
    /// End a token and everything that derives from it
    Revoke {
        /// The token's id, its jti
        #[arg(value_name = "TOKEN")]
        id: TokenId,
        /// Why; operators and the log keep it
        #[arg(long)]
        reason: String,
    },
}

/// What a revocation ended.
#[derive(Debug, Serialize)]
struct Revoked {
    /// The named token first, then all that derive from it; empty when all were revoked before.
    revoked: Vec<String>,
}

impl TokenArgs {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self.command {
            TokenCommand::Request(args) => args.run(session).await,
            TokenCommand::List { intent } => list(session, &intent).await,
            TokenCommand::Show { id } => show(session, &id).await,
            TokenCommand::Revoke { id, reason } => revoke(session, &id, reason).await,
        }
    }
}

async fn list(session: &mut Session, intent: &IntentId) -> Result<(), Failure> {
    let (mut home, _) = session.intent(intent.as_str()).await?;
    let tokens = home.admin.tokens(intent.to_string()).await?;
    let tokens: Vec<_> = tokens.into_iter().map(|token| home.of(token)).collect();
    session.output.show(&tokens, |tokens| render_list(tokens, SystemClock.now()))
}

async fn show(session: &mut Session, id: &TokenId) -> Result<(), Failure> {
    let (home, token) = find(session, id).await?;
    session.output.show(&home.of(token), |of| render(&of.item, SystemClock.now()))
}

async fn revoke(session: &mut Session, id: &TokenId, reason: String) -> Result<(), Failure> {
    let (mut home, _) = find(session, id).await?;
    let revoked = home.admin.revoke_token(id.to_string(), reason).await?;
    session.output.show(&home.of(Revoked { revoked }), |of| match of.item.revoked.len() {
        0 => "The token was revoked before.".to_owned(),
        1 => "The token is revoked.".to_owned(),
        more => format!("The token is revoked, and with it {} that derive from it.", more - 1),
    })
}

/// The trust domain that has the token, and the token.
async fn find(session: &Session, id: &TokenId) -> Result<(Home, TokenView), Failure> {
    let mut refused: Option<Failure> = None;
    for at in session.place.several()? {
        let mut home = Home::reach(at).await?;
        match home.admin.token(id.to_string()).await {
            Ok(token) => return Ok((home, token)),
            Err(CallError::Refused { kind: Code::NotFound, .. }) => {}
            Err(error) => refused = Some(error.into()),
        }
    }
    Err(refused.unwrap_or_else(|| {
        Failure::failed(format!("there is no token `{id}`, or it ended long ago"))
            .next("the log has what became of it: `marque audit tail`")
    }))
}

/// What became of it, in a word or a code.
fn standing(token: &TokenView) -> &str {
    if token.ended_code.is_empty() { "live" } else { &token.ended_code }
}

fn render_list(tokens: &[Of<TokenView>], now: Timestamp) -> String {
    if tokens.is_empty() {
        return "No tokens.".to_owned();
    }
    let rows = tokens.iter().map(|Of { trust_domain: _, item }| {
        [
            item.id.clone(),
            standing(item).to_owned(),
            item.holder.clone(),
            or_dash(&item.root),
            or_dash(&item.parent),
            moment_from(item.expires_at, now),
        ]
    });
    table(["TOKEN", "STANDS", "HOLDER", "ON BEHALF OF", "DERIVES FROM", "EXPIRES"], rows)
}

fn render(token: &TokenView, now: Timestamp) -> String {
    let place = match (token.status_list, token.status_idx) {
        (Some(list), Some(idx)) => format!("list {list}, place {idx}"),
        _ => "-".to_owned(),
    };
    let uses = match (token.single_use, token.used_at) {
        (false, _) => "any number".to_owned(),
        (true, None) => "one".to_owned(),
        (true, at) => format!("one, made {}", moment(at)),
    };
    let mut rows = vec![
        ("token", token.id.clone()),
        ("stands", standing(token).to_owned()),
        ("kind", token.kind.clone()),
        ("intent", token.intent.clone()),
        ("on behalf of", or_dash(&token.root)),
        ("holder", token.holder.clone()),
        ("through", lines(&token.through)),
        ("derives from", or_dash(&token.parent)),
        ("audience", lines(&token.audiences)),
        ("bound to", or_dash(&token.bound_to)),
        ("uses", uses),
        ("issued", moment_from(token.issued_at, now)),
        ("expires", moment_from(token.expires_at, now)),
        ("status", place),
    ];
    if token.revoked_at.is_some() {
        rows.push(("revoked", moment_from(token.revoked_at, now)));
    }
    pairs(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenView {
        let at = |text: &str| Some(text.parse().unwrap());
        TokenView {
            id: "tok_0123456789abcdef0123456789abcdef".to_owned(),
            intent: "int_01abcdefghjkmnpqrstvwxyz01".to_owned(),
            kind: "access_token".to_owned(),
            holder: "spiffe://prod.example.org/agent/b".to_owned(),
            through: vec!["spiffe://prod.example.org/agent/a".to_owned()],
            parent: "tok_00000000000000000000000000000001".to_owned(),
            root: "corp:alice".to_owned(),
            audiences: vec!["https://k8s.example.org".to_owned()],
            bound_to: String::new(),
            single_use: true,
            issued_at: at("2026-11-22T03:00:00Z"),
            expires_at: at("2026-11-22T03:05:00Z"),
            used_at: at("2026-11-22T03:01:00Z"),
            revoked_at: None,
            status_list: Some(0),
            status_idx: Some(4711),
            ended_code: "grant_consumed".to_owned(),
        }
    }

    fn now() -> Timestamp {
        "2026-11-22T03:02:00Z".parse().unwrap()
    }

    #[test]
    fn a_token_is_shown_with_what_became_of_it() {
        insta::assert_snapshot!(render(&token(), now()), @r"
        token         tok_0123456789abcdef0123456789abcdef
        stands        grant_consumed
        kind          access_token
        intent        int_01abcdefghjkmnpqrstvwxyz01
        on behalf of  corp:alice
        holder        spiffe://prod.example.org/agent/b
        through       spiffe://prod.example.org/agent/a
        derives from  tok_00000000000000000000000000000001
        audience      https://k8s.example.org
        bound to      -
        uses          one, made 2026-11-22 03:01:00 UTC
        issued        2026-11-22 03:00:00 UTC (2m ago)
        expires       2026-11-22 03:05:00 UTC (in 3m)
        status        list 0, place 4711
        ");
    }

    #[test]
    fn a_list_says_which_stand() {
        let live = TokenView { ended_code: String::new(), parent: String::new(), ..token() };
        let of = |item| Of { trust_domain: "prod.example.org".to_owned(), item };
        insta::assert_snapshot!(render_list(&[of(live), of(token())], now()), @r"
        TOKEN                                 STANDS          HOLDER                             ON BEHALF OF  DERIVES FROM                          EXPIRES
        tok_0123456789abcdef0123456789abcdef  live            spiffe://prod.example.org/agent/b  corp:alice    -                                     2026-11-22 03:05:00 UTC (in 3m)
        tok_0123456789abcdef0123456789abcdef  grant_consumed  spiffe://prod.example.org/agent/b  corp:alice    tok_00000000000000000000000000000001  2026-11-22 03:05:00 UTC (in 3m)
        ");
        assert_eq!(render_list(&[], now()), "No tokens.");
    }
}
