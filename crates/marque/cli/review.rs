//! What a person sees of an intent before deciding about it (specs/intents.md 11).
//!
//! The sentence at the top is the playbook's title with the parameters, never the agent's words; those stand at the end,
//! fenced, on lines of their own, and cannot drive the terminal.

mod bounds;
mod change;
mod deciding;
mod found;
mod held;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde_json::Value;

use super::output::{pairs, put, visible};
use super::text::{length, lifetime, lines, moment, moment_from, or_dash, short_digest};
use crate::grpc::admin::{GrantView, HeldView, IntentView, IrrevocableView};
use marque_spiffe::Environment;

pub(super) use self::deciding::less;
use self::held::beside;

const HEADING: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// How long a line of the agent's text may be.
const FENCE_WIDTH: usize = 76;
/// How much of a parameter is shown: all of it, as a request is smaller than this.
const MAX_PARAMETER_CHARS: usize = marque_intent::MAX_REQUEST_BYTES;

/// The intent, as an approver has to see it.
pub(super) fn render(
    intent: &IntentView,
    trust_domain: &str,
    environment: Environment,
    now: Timestamp,
) -> String {
    let IntentView { grant, .. } = intent;
    let mut text = String::new();
    put(&mut text, format_args!("{HEADING}{}{HEADING:#}\n", statement(grant)));
    text.push_str(&standing(intent, trust_domain, environment, now));
    text.push_str(&held::section(intent.held.as_ref()));
    put(&mut text, format_args!("{HEADING}{}{HEADING:#}:\n", consequence(intent)));
    text.push_str(&additions(grant, intent.held.as_ref(), now));
    text.push_str(&irrevocable(intent));
    text.push_str(&deciding::section(intent, now));
    if let Some(denial) = &intent.denial {
        let (code, detail) = (visible(&denial.code), visible(&denial.detail));
        put(&mut text, format_args!("\n{WARNING}Denied{WARNING:#}: {detail} (code `{code}`)\n"));
    }
    if !intent.ended_by.is_empty() {
        let (who, why) = (visible(&intent.ended_by), visible(&or_dash(&intent.reason)));
        put(&mut text, format_args!("\nEnded by {who}: {why}\n"));
    }
    text.push_str(&fenced(intent));
    text
}

/// One sentence: the playbook's title, with the parameters.
pub(super) fn statement(grant: &GrantView) -> String {
    let mut sentence = visible(&grant.title);
    let parameters: Vec<String> = match &grant.parameters {
        Value::Object(members) => {
            members.iter().map(|(name, value)| parameter(name, value)).collect()
        }
        _ => Vec::new(),
    };
    if !parameters.is_empty() {
        put(&mut sentence, format_args!(", with {}", parameters.join(", ")));
    }
    sentence
}

fn parameter(name: &str, value: &Value) -> String {
    let value = value.to_string();
    let mut shown: String = value.chars().take(MAX_PARAMETER_CHARS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    visible(&format!("{name} = {shown}"))
}

fn standing(
    intent: &IntentView,
    trust_domain: &str,
    environment: Environment,
    now: Timestamp,
) -> String {
    let IntentView {
        id,
        state,
        agent,
        agent_owner,
        grant,
        created_at,
        expires_at,
        uses_left,
        ended_for,
        ..
    } = intent;
    let state = match expires_at {
        Some(_) => format!("{state}, ends {}", moment_from(*expires_at, now)),
        None if ended_for.is_empty() => (*state).to_owned(),
        None => format!("{state} ({ended_for})"),
    };
    let owner =
        if agent_owner.is_empty() { "nobody: its registration entry is gone" } else { agent_owner };
    let mut rows = vec![
        ("intent", id.clone()),
        ("state", state),
        ("asked", moment_from(*created_at, now)),
        ("trust domain", format!("{trust_domain} ({environment})")),
        ("tenant", grant.tenant.clone()),
        ("agent", agent.clone()),
        ("attested", attested(grant, now)),
        ("owner", owner.to_owned()),
    ];
    rows.extend(change::rows(grant, now));
    rows.extend([
        (
            "playbook",
            format!(
                "{} version {} ({}) of {}",
                grant.playbook,
                grant.playbook_version,
                short_digest(&grant.playbook_digest),
                grant.playbook_owner
            ),
        ),
        ("purpose", or_dash(&grant.purpose)),
        ("risk", risk(grant)),
        ("policies", short_digest(&grant.policy_set_digest)),
        ("digest", short_digest(&grant.digest)),
    ]);
    rows.extend(found::rows(grant));
    if *uses_left < grant.uses {
        rows.push(("uses left", format!("{uses_left} of {}", grant.uses)));
    }
    pairs(rows)
}

/// As what the agent attested, and how long ago when it asked.
fn attested(grant: &GrantView, now: Timestamp) -> String {
    let what = or_dash(&short_digest(&grant.attestation));
    match grant.evidence.standing.attested_at {
        Some(at) => format!("{what}, {}", moment_from(Some(at), now)),
        None => format!("{what}, nobody knows when"),
    }
}

/// Where no kill reaches, if there is such a place.
fn irrevocable(intent: &IntentView) -> String {
    let mut text = String::new();
    let Some(IrrevocableView { audiences, until }) = &intent.irrevocable else { return text };
    let at: Vec<String> = audiences.iter().map(|one| visible(one)).collect();
    let until = match until {
        Some(_) => format!("until {}, when the last token that is out expires", moment(*until)),
        None => "until it expires, once a token is issued".to_owned(),
    };
    put(
        &mut text,
        format_args!(
            "\n{WARNING}Not revocable{WARNING:#} {until}, at {}: no kill is heard of there\n",
            at.join(", ")
        ),
    );
    text
}

fn consequence(intent: &IntentView) -> &'static str {
    match intent.state.as_str() {
        "pending" => "An approval would add",
        "approved" | "active" => "It may",
        _ => "It was for",
    }
}

fn additions(grant: &GrantView, held: Option<&HeldView>, now: Timestamp) -> String {
    let seconds = |length_s: Option<u64>| length_s.map_or_else(|| "-".to_owned(), length);
    let mut rows = vec![
        ("audience", beside(&grant.audiences, held.map(|held| &*held.audiences))),
        ("scopes", beside(&grant.scopes, held.map(|held| &*held.scopes))),
        ("details", details(&grant.authorization_details)),
        ("resources", beside(&grant.resources, held.map(|held| &*held.resources))),
    ];
    rows.extend(bounds::rows(grant, held));
    rows.extend([
        (
            "uses",
            format!(
                "{}, each a {} of at most {}{}",
                grant.uses,
                grant.delivery,
                lifetime(grant.token_lifetime_s),
                if grant.single_use_tokens { ", for one use" } else { "" },
            ),
        ),
        (
            "until",
            format!(
                "{} after the first use, which may be up to {} after approval\nnever before {} nor after {}",
                seconds(grant.max_duration_s),
                seconds(grant.start_within_s),
                moment(grant.not_before),
                moment_from(grant.not_after, now)
            ),
        ),
    ]);
    if grant.approvals > 0 {
        let whose = match grant.approver_groups.as_slice() {
            [] => "any operator".to_owned(),
            groups => groups.join(" or "),
        };
        rows.push(("approvals", format!("{} by {whose}", grant.approvals)));
    }
    indented(&pairs(rows))
}

/// A section's lines, below its heading.
fn indented(rows: &str) -> String {
    rows.lines().fold(String::new(), |mut text, line| {
        put(&mut text, format_args!("  {line}\n"));
        text
    })
}

/// Authorization details: the type, then its members.
fn details(details: &Value) -> String {
    let Value::Array(details) = details else { return "-".to_owned() };
    let shown: Vec<String> = details.iter().map(detail).collect();
    lines(&shown)
}

fn detail(detail: &Value) -> String {
    let Value::Object(members) = detail else { return detail.to_string() };
    let kind = members.get("type").and_then(Value::as_str).unwrap_or("-");
    let values =
        members.iter().filter(|(name, _)| name.as_str() != "type").map(
            |(name, value)| match value {
                Value::String(text) => format!("\n  {name}: {text}"),
                Value::Array(values) => {
                    let values: Vec<String> = values
                        .iter()
                        .map(|value| {
                            value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
                        })
                        .collect();
                    format!("\n  {name}: {}", values.join(", "))
                }
                other => format!("\n  {name}: {other}"),
            },
        );
    std::iter::once(kind.to_owned()).chain(values).collect()
}

/// The agent's own words, so that nobody takes them for ours.
fn fenced(intent: &IntentView) -> String {
    let IntentView { grant, justification, asked_of, binding_message, .. } = intent;
    let named = [
        ("Its session: ", &grant.session),
        ("Its task: ", &grant.task),
        ("It asks: ", asked_of),
        ("It shows: ", binding_message),
        ("", justification),
    ];
    let told: Vec<_> = named.into_iter().filter(|(_, words)| !words.is_empty()).collect();
    let mut text = String::new();
    if justification.is_empty() {
        text.push_str("\nThe agent gave no justification.\n");
    }
    if !told.is_empty() {
        put(&mut text, format_args!("\n{WARNING}Untrusted text from the agent{WARNING:#}\n"));
    }
    for (name, words) in told {
        for line in wrapped(&visible(&format!("{name}{words}"))) {
            put(&mut text, format_args!("  │ {line}\n"));
        }
    }
    text
}

/// Lines of at most [`FENCE_WIDTH`] characters, broken at spaces where there are any.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for word in text.split(' ') {
        let characters: Vec<char> = word.chars().collect();
        for (index, piece) in characters.chunks(FENCE_WIDTH).enumerate() {
            let fits = index == 0 && width > 0 && width + 1 + piece.len() <= FENCE_WIDTH;
            if fits {
                width += 1;
            } else if width > 0 {
                lines.push(String::new());
                width = 0;
            }
            width += piece.len();
            if let Some(line) = lines.last_mut() {
                if fits {
                    line.push(' ');
                }
                line.extend(piece);
            }
        }
    }
    lines
}

/// The score, with the sum that it is where there is one.
fn risk(grant: &GrantView) -> String {
    match grant.evidence.risk.is_empty() {
        true => format!("{} of 100", grant.risk),
        false => grant.evidence.risk.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests;
