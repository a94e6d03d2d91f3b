//! What more of each field of a document means, and of each field of a playbook. Every field of the format has its line; one
//! that has none cannot be ordered.

use super::Effect::{self, Narrower, Unclear, Wider};
use crate::playbook::sections::time::duration;

/// What a change of one field does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Its members are looked at.
    Table,
    /// The same for an entry of a list, of which there may be one more or one less.
    Entry {
        /// What one more does.
        added: Effect,
        /// What one less does.
        removed: Effect,
    },
    /// A JSON Schema; where there is none, anything will do.
    Schema,
    /// It only describes.
    Words,
    /// More is wider.
    AtMost {
        /// What an absent one is as good as, or [`Rule::UNKNOWN`].
        absent: i128,
    },
    /// More is narrower.
    AtLeast {
        /// As of [`Self::AtMost`].
        absent: i128,
    },
    /// A word: one of a higher rank is narrower.
    Order {
        /// The words with their ranks.
        ranks: &'static [(&'static str, i128)],
        /// As of [`Self::AtMost`].
        absent: i128,
    },
    /// One value is narrower than the other; an absent one is `false`.
    Switch {
        /// Which.
        strict: bool,
    },
    /// One value is wider than the other.
    Toggle {
        /// Which.
        wide: bool,
        /// What an absent one is; `None` where that depends.
        absent: Option<bool>,
    },
    /// A ceiling: absent it is everything, and every member of it is more.
    Ceiling,
    /// More members are wider; none is the least.
    Permits,
    /// More members are wider; none is everything.
    PermitsOrAll,
    /// More members are wider; whether none is nothing or everything, nobody can say.
    PermitsSome,
    /// More members are narrower.
    Demands,
    /// A new one is narrower, one that goes is wider, another one cannot be ordered.
    Fixed,
    /// A path in a tree: one below is narrower.
    Tree,
    /// Any change is one that cannot be ordered.
    Unordered,
}

/// No bound.
const WITHOUT: i128 = i128::MAX;
/// Nothing permitted.
const NOTHING: i128 = 0;
/// No floor.
const NO_FLOOR: i128 = i128::MIN;
/// [`crate::DEFAULT_REPORT_WITHIN`] in seconds.
const REPORT_WITHIN: i128 = 60 * 60;

const MODES: &[(&str, i128)] = &[("auto", 0), ("rule", 1), ("always", 2)];
const DELIVERIES: &[(&str, i128)] = &[("token", 0), ("gateway_only", 1)];
const STATUSES: &[(&str, i128)] =
    &[("active", 0), ("deprecated", 0), ("draft", 1), ("disabled", 1)];
const ENFORCEMENTS: &[(&str, i128)] = &[("observe", 0), ("enforce", 1)];
const PROMPTS: &[(&str, i128)] = &[("none", 0), ("hash", 1), ("sealed", 2)];

const PERMIT: Rule = Rule::Entry { added: Wider, removed: Narrower };
const DEMAND: Rule = Rule::Entry { added: Narrower, removed: Wider };
const MOST: Rule = Rule::AtMost { absent: WITHOUT };
const LEAST: Rule = Rule::AtLeast { absent: NO_FLOOR };
const STRICT: Rule = Rule::Switch { strict: true };

/// The rules by path; `*` stands for any one step.
const RULES: &[(&str, Rule)] = &[
    ("apiVersion", Rule::Unordered),
    ("kind", Rule::Unordered),
    ("id", Rule::Unordered),
    ("version", Rule::Words),
    ("title", Rule::Words),
    ("owner", Rule::Words),
    // A review moves it every time.
    ("review_by", Rule::Words),
    ("author", Rule::Unordered),
    ("tenant", Rule::Unordered),
    ("trust_domain", Rule::Unordered),
    ("status", Rule::Order { ranks: STATUSES, absent: 0 }),
    ("purpose", Rule::Tree),
    ("object", Rule::Unordered),
    ("data_classes", Rule::PermitsOrAll),
    ("resources", Rule::PermitsOrAll),
    ("delivery", Rule::Order { ranks: DELIVERIES, absent: 0 }),
    ("enforcement", Rule::Order { ranks: ENFORCEMENTS, absent: 1 }),
    ("risk.base", LEAST),
    ("risk.deny_at", MOST),
    ("risk.approve_at", MOST),
    ("risk.weights.*", LEAST),
    ("risk.sensitive_classes", Rule::Demands),
    ("risk.hours.zone", Rule::Fixed),
    ("risk.hours.from", Rule::Fixed),
    ("risk.hours.until", Rule::Fixed),
    ("risk.hours.days", Rule::PermitsOrAll),
    ("who.agents", Rule::Permits),
    ("who.selectors", Rule::Demands),
    ("who.repositories", Rule::PermitsOrAll),
    ("who.max_attestation_age", MOST),
    ("who.delegators.required", STRICT),
    ("who.delegators.persons.*", PERMIT),
    ("who.delegators.persons.*.issuer", Rule::Unordered),
    ("who.delegators.persons.*.subjects", Rule::Permits),
    ("who.delegators.persons.*.groups", Rule::Permits),
    ("who.delegators.persons.*.everybody", Rule::Switch { strict: false }),
    ("parameters", Rule::Schema),
    ("permits.*", PERMIT),
    ("permits.*.audience", Rule::Unordered),
    ("permits.*.scopes", Rule::Permits),
    // A resource server may take none for no restriction, or for nothing.
    ("permits.*.authorization_details.*", Rule::Entry { added: Wider, removed: Unclear }),
    ("permits.*.authorization_details.*.type", Rule::Unordered),
    ("permits.*.authorization_details.*.locations", Rule::PermitsSome),
    ("permits.*.authorization_details.*.actions", Rule::PermitsSome),
    ("permits.*.authorization_details.*.datatypes", Rule::PermitsSome),
    ("permits.*.authorization_details.*.privileges", Rule::PermitsSome),
    ("permits.*.authorization_details.*.identifier", Rule::Fixed),
    ("time.expected_runtime", MOST),
    ("time.retry_buffer", MOST),
    ("time.max_duration", MOST),
    ("time.uses", MOST),
    ("time.request_ttl", MOST),
    ("time.start_within", MOST),
    ("time.idle_timeout", MOST),
    ("time.single_use_tokens", STRICT),
    ("time.windows", Rule::PermitsOrAll),
    ("time.blackout", Rule::Demands),
    ("change.ticket.required", STRICT),
    ("change.ticket.pattern", Rule::Fixed),
    ("change.ticket.validator", Rule::Fixed),
    ("change.ticket.states", Rule::PermitsOrAll),
    ("change.ticket.bind", Rule::Demands),
    ("change.ticket.revoke_on_close", STRICT),
    ("approval.mode", Rule::Order { ranks: MODES, absent: 0 }),
    ("approval.levels.*", DEMAND),
    ("approval.levels.*.any.*", PERMIT),
    ("approval.levels.*.any.*.approve", LEAST),
    ("approval.levels.*.any.*.deny", Rule::AtMost { absent: 1 }),
    ("approval.levels.*.any.*.groups", Rule::PermitsOrAll),
    ("approval.levels.*.any.*.distinct_groups", STRICT),
    ("approval.exclude", Rule::Demands),
    ("approval.mfa", Rule::Fixed),
    ("approval.on_timeout", Rule::Fixed),
    ("tools.*", PERMIT),
    ("tools.*.server", Rule::Unordered),
    ("tools.*.name", Rule::Unordered),
    ("tools.*.sensitive", STRICT),
    ("tools.*.destructive", STRICT),
    ("tools.*.max_calls", MOST),
    ("tools.*.arguments", Rule::Schema),
    ("constraints.*", Rule::PermitsOrAll),
    ("limits.max_records", MOST),
    ("limits.max_calls", MOST),
    ("limits.max_destructive", MOST),
    ("limits.max_bytes_out", MOST),
    ("limits.min_interval", LEAST),
    ("on_behalf.max_depth", Rule::AtMost { absent: NOTHING }),
    ("on_behalf.agents", Rule::Permits),
    ("on_behalf.equal", Rule::Permits),
    ("workflow.required", Rule::Demands),
    ("logging.require", Rule::Demands),
    ("logging.prompt", Rule::Order { ranks: PROMPTS, absent: 0 }),
    // With phases a task is several grants instead of one.
    ("staged.*", Rule::Entry { added: Wider, removed: Unclear }),
    ("staged.*.name", Rule::Unordered),
    ("staged.*.needs", Rule::Demands),
    ("staged.*.within", MOST),
    ("staged.*.scopes", Rule::Permits),
    ("staged.*.actions", Rule::Permits),
    ("staged.*.tools", Rule::Permits),
    ("staged.*.approval", Rule::Order { ranks: MODES, absent: 0 }),
    ("staged.*.limits.max_records", MOST),
    ("staged.*.limits.max_calls", MOST),
    ("staged.*.limits.max_destructive", MOST),
    ("staged.*.limits.max_bytes_out", MOST),
    ("staged.*.limits.min_interval", LEAST),
    ("liveness.agent", STRICT),
    ("liveness.parent", STRICT),
    ("on_complete.report_within", Rule::AtMost { absent: REPORT_WITHIN }),
    ("on_complete.notify", Rule::Demands),
    ("on_complete.verify", Rule::Fixed),
    ("concurrency.max_open_per_agent", MOST),
    ("concurrency.max_open_per_delegator", MOST),
    ("concurrency.max_open_per_target", MOST),
    ("confidence.floor", LEAST),
    ("justification.categories", Rule::PermitsOrAll),
    // Break-glass is another way; blackouts do not hold it up.
    ("emergency", Rule::Entry { added: Wider, removed: Unclear }),
    ("emergency.responders", Rule::Permits),
    ("emergency.alert", Rule::Unordered),
    ("emergency.post_review_within", MOST),
    ("emergency.cooldown", LEAST),
    ("emergency.max_per_day", MOST),
    ("emergency.alert_above", MOST),
];

/// Lists of tables, whose entries are told apart by name.
const LISTS: &[&str] = &[
    "permits",
    "permits.*.authorization_details",
    "tools",
    "approval.levels",
    "approval.levels.*.any",
    "staged",
    "who.delegators.persons",
];

impl Rule {
    /// What an absent value is as good as where that depends on something else: then nobody can say.
    pub const UNKNOWN: i128 = i128::MAX - 1;
    /// No bound.
    pub const WITHOUT: i128 = WITHOUT;
}

/// What more of each field of one kind of document means.
#[derive(Debug, Clone, Copy)]
pub struct DocumentRules {
    /// The rules by path; `*` stands for any one step.
    pub rules: &'static [(&'static str, Rule)],
    /// Lists of tables, whose entries are told apart by name.
    pub lists: &'static [&'static str],
    /// The members that name such an entry: the first of these that are all there.
    pub names: &'static [&'static [&'static str]],
    /// Reads a duration, in seconds.
    pub seconds: fn(&str) -> Option<u64>,
}

/// Of playbooks.
pub(super) const PLAYBOOK: DocumentRules = DocumentRules {
    rules: RULES,
    lists: LISTS,
    names: &[&["server", "name"], &["name"], &["type"], &["issuer"]],
    seconds: |text| duration(text).ok().map(|length| length.as_secs()),
};

impl DocumentRules {
    /// What a change at a path means: its own rule, or that of a table where there are rules below it.
    pub(super) fn rule(&self, path: &str) -> Rule {
        if let Some((_, rule)) = self.rules.iter().find(|(pattern, _)| fits(pattern, path, false)) {
            return *rule;
        }
        let above =
            path.is_empty() || self.rules.iter().any(|(pattern, _)| fits(pattern, path, true));
        if above { Rule::Table } else { Rule::Unordered }
    }

    /// Whether a rule says what a change of exactly this field means, or of what it is a part of.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.rules.iter().any(|(pattern, _)| fits(pattern, path, false))
    }

    pub(super) fn is_list_of_tables(&self, path: &str) -> bool {
        self.lists.iter().any(|pattern| fits(pattern, path, false))
    }
}

/// Whether the path is one that the pattern means, or, with `above`, one that leads there.
fn fits(pattern: &str, path: &str, above: bool) -> bool {
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(_), None) => return above,
            (Some(one), Some(two)) if one == "*" || one == two => {}
            _ => return false,
        }
    }
}

/// Every field of the format that has a rule.
#[cfg(test)]
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(path, _)| *path)
}
