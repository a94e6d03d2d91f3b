//! What the agent may do already, beside what an approval would add.

use super::super::output::{pairs, put, visible};
use super::super::text::lines;
use super::{HEADING, indented};
use crate::grpc::admin::HeldView;

/// What is said of something that the agent has by another grant.
pub(super) const HAD: &str = "which it has already";
/// How many grants are named.
const MAX_NAMED: usize = 5;

/// What it may do now, by all of its other grants together.
pub(super) fn section(held: Option<&HeldView>) -> String {
    let mut text = String::new();
    let Some(held) = held.filter(|held| !held.intents.is_empty()) else {
        put(
            &mut text,
            format_args!("\n{HEADING}Now{HEADING:#}: its identity alone, which permits nothing.\n"),
        );
        return text;
    };
    let HeldView { intents, audiences, scopes, resources, tools } = held;
    let mut named: Vec<String> = intents.iter().take(MAX_NAMED).map(|id| visible(id)).collect();
    let more = intents.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    put(&mut text, format_args!("\n{HEADING}Now{HEADING:#}, by {}:\n", named.join(", ")));
    let rows =
        [("audience", audiences), ("scopes", scopes), ("resources", resources), ("tools", tools)];
    let rows = rows.into_iter().filter(|(_, values)| !values.is_empty());
    text.push_str(&indented(&pairs(rows.map(|(name, values)| (name, lines(values))))));
    text
}

/// Values of the grant, each told from what the agent has already.
pub(super) fn beside(values: &[String], had: Option<&[String]>) -> String {
    let told = |value: &String| match had {
        Some(had) if had.contains(value) => format!("{value}, {HAD}"),
        Some(_) | None => value.clone(),
    };
    lines(&values.iter().map(told).collect::<Vec<_>>())
}
