//! What is shown: two readings, and what happened between them. Absent: drawing.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::grpc::admin::StatusView;
use crate::telemetry::described as names;
use crate::telemetry::samples::{self, Sample, whole};

/// How far a sink of the audit log is behind, where there are sinks.
const SINK_LAG: &str = "marque_audit_sink_lag_records";

/// How everything was at a moment.
#[derive(Debug)]
pub(super) struct Reading {
    at: Instant,
    domains: Vec<StatusView>,
    samples: Vec<Sample>,
}

/// What the trust domains are in the order of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    Name,
    Tokens,
    Open,
    Waiting,
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct View {
    pub(super) trust_domains: Vec<DomainRow>,
    /// Refusals by code, the most frequent first.
    pub(super) denials: Vec<DenialRow>,
    /// Calls on Unix sockets that are open, streams among them.
    pub(super) calls_open: u64,
    pub(super) connections_open: u64,
    pub(super) unreadable_rows: u64,
    /// How many records each sink is behind.
    pub(super) sinks: BTreeMap<String, u64>,
    /// Spans, log records and metrics that no collector took.
    pub(super) telemetry_dropped: u64,
    #[serde(skip)]
    pub(super) sort: Sort,
    #[serde(skip)]
    pub(super) paused: bool,
}

/// One trust domain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct DomainRow {
    pub(super) name: String,
    pub(super) environment: &'static str,
    pub(super) ready: bool,
    /// The codes of what keeps it from being ready.
    pub(super) not_ready: Vec<String>,
    pub(super) kill_epoch: u64,
    pub(super) grants_open: u64,
    pub(super) approvals_waiting: u64,
    pub(super) tokens_issued: u64,
    /// Absent where there was no reading before.
    pub(super) tokens_per_second: Option<f64>,
    pub(super) log_leaves: u64,
    /// Leaves that no signed checkpoint covers yet.
    pub(super) unsigned_leaves: u64,
}

/// One code.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct DenialRow {
    pub(super) code: String,
    pub(super) total: u64,
    /// How many came since the reading before.
    pub(super) new: u64,
}

impl Reading {
    /// Nothing yet.
    pub(super) fn begin() -> Self {
        Self { at: Instant::now(), domains: Vec::new(), samples: Vec::new() }
    }

    /// Adds a trust domain, and what its process measures.
    pub(super) fn add(&mut self, status: StatusView, metrics: &str) {
        self.domains.push(status);
        // The newest text has every trust domain's numbers, if one process serves them all.
        for sample in samples::read(metrics) {
            let same = |one: &&mut Sample| one.name == sample.name && one.labels == sample.labels;
            match self.samples.iter_mut().find(same) {
                Some(known) => known.value = sample.value,
                None => self.samples.push(sample),
            }
        }
    }

    /// The sum of a metric over everything that `wanted` takes.
    fn sum(&self, name: &str, wanted: impl Fn(&Sample) -> bool) -> f64 {
        let wanted = self.samples.iter().filter(|one| one.name == name && wanted(one));
        wanted.map(|one| one.value).sum()
    }

    fn of(&self, trust_domain: &str, name: &str) -> f64 {
        self.sum(name, |one| one.label("trust_domain") == trust_domain)
    }

    fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for one in self.samples.iter().filter(|one| one.name == name) {
            *sums.entry(one.label(label).to_owned()).or_default() += one.value;
        }
        sums
    }
}

impl View {
    /// What `now` says, and what came since `before`.
    pub(super) fn of(now: &Reading, before: Option<&Reading>, sort: Sort) -> Self {
        let mut trust_domains: Vec<_> =
            now.domains.iter().map(|status| DomainRow::of(status, now, before)).collect();
        trust_domains.sort_by(|one, other| {
            let by = match sort {
                Sort::Name => std::cmp::Ordering::Equal,
                Sort::Tokens => other
                    .tokens_per_second
                    .unwrap_or_default()
                    .total_cmp(&one.tokens_per_second.unwrap_or_default()),
                Sort::Open => other.grants_open.cmp(&one.grants_open),
                Sort::Waiting => other.approvals_waiting.cmp(&one.approvals_waiting),
            };
            by.then_with(|| one.name.cmp(&other.name))
        });
        let any = |_: &Sample| true;
        Self {
            trust_domains,
            denials: denials(now, before),
            calls_open: whole(now.sum(names::CALLS, any)),
            connections_open: whole(now.sum(names::CONNECTIONS, any)),
            unreadable_rows: whole(now.sum(names::UNREADABLE_ROWS, any)),
            sinks: now
                .by_label(SINK_LAG, "sink")
                .into_iter()
                .map(|(sink, lag)| (sink, whole(lag)))
                .collect(),
            telemetry_dropped: whole(now.sum(names::DROPPED, any)),
            sort,
            paused: false,
        }
    }
}

impl DomainRow {
    fn of(status: &StatusView, now: &Reading, before: Option<&Reading>) -> Self {
        let name = status.trust_domain.as_str();
        let issued = now.of(name, names::TOKENS);
        let rate = before.map(|before| {
            let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
            (issued - before.of(name, names::TOKENS)).max(0.0) / seconds
        });
        let covered = whole(now.of(name, names::CHECKPOINT_LEAVES));
        Self {
            name: name.to_owned(),
            environment: status.environment,
            ready: status.ready,
            not_ready: status.not_ready.iter().map(|reason| reason.code.clone()).collect(),
            kill_epoch: status.kill_epoch,
            grants_open: whole(now.of(name, names::OPEN)),
            approvals_waiting: whole(now.of(name, names::WAITING)),
            tokens_issued: whole(issued),
            tokens_per_second: rate,
            log_leaves: status.log_size,
            unsigned_leaves: whole(now.of(name, names::LOG_LEAVES)).saturating_sub(covered),
        }
    }
}

fn denials(now: &Reading, before: Option<&Reading>) -> Vec<DenialRow> {
    let known = before.map(|before| before.by_label(names::DENIED, "code"));
    let rows = now.by_label(names::DENIED, "code").into_iter().map(|(code, total)| {
        let earlier = known.as_ref().map(|known| known.get(&code).copied().unwrap_or_default());
        let new = earlier.map_or(0, |earlier| whole((total - earlier).max(0.0)));
        DenialRow { code, total: whole(total), new }
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|one, other| other.total.cmp(&one.total).then_with(|| one.code.cmp(&other.code)));
    rows
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::grpc::admin::ReasonView;

    pub(in super::super) fn status(name: &str, ready: bool) -> StatusView {
        let reason = ReasonView { code: "store_unwritable".to_owned(), detail: String::new() };
        StatusView {
            trust_domain: name.to_owned(),
            environment: "production",
            version: "0".to_owned(),
            started_at: None,
            kill_epoch: 7,
            registry_revision: 0,
            bundle_sequence: 0,
            entries: 0,
            playbooks: 0,
            log_size: 12,
            unreadable_rows: 0,
            folder: None,
            upstream: None,
            ready,
            not_ready: if ready { Vec::new() } else { vec![reason] },
        }
    }

    fn metrics(tokens: u32, denied: u32) -> String {
        format!(
            "marque_tokens_issued_total{{trust_domain=\"a.example.org\",kind=\"access_token\"}} {tokens}\n\
             marque_grants_open{{trust_domain=\"a.example.org\"}} 2\n\
             marque_grants_open{{trust_domain=\"b.example.org\"}} 5\n\
             marque_intents_pending{{trust_domain=\"a.example.org\"}} 3\n\
             marque_log_leaves{{trust_domain=\"a.example.org\"}} 12\n\
             marque_log_checkpoint_leaves{{trust_domain=\"a.example.org\"}} 10\n\
             marque_elevation_denied_total{{trust_domain=\"a.example.org\",code=\"rate_limited\"}} {denied}\n\
             marque_elevation_denied_total{{trust_domain=\"b.example.org\",code=\"rate_limited\"}} 1\n\
             marque_calls_open 4\nmarque_audit_sink_lag_records{{sink=\"siem\"}} 9\n"
        )
    }

    /// Two readings, two seconds apart.
    pub(in super::super) fn readings() -> (Reading, Reading) {
        let mut before = Reading::begin();
        before.add(status("a.example.org", true), &metrics(10, 1));
        let mut now = Reading { at: before.at + Duration::from_secs(2), ..Reading::begin() };
        now.add(status("a.example.org", true), &metrics(14, 3));
        now.add(status("b.example.org", false), &metrics(14, 3));
        (before, now)
    }

    #[test]
    fn what_happened_between_two_readings_is_shown() {
        let (before, now) = readings();
        let view = View::of(&now, Some(&before), Sort::Name);
        let row = &view.trust_domains[0];
        assert_eq!((row.tokens_per_second, row.tokens_issued), (Some(2.0), 14));
        assert_eq!((row.grants_open, row.approvals_waiting, row.unsigned_leaves), (2, 3, 2));
        let denial = &view.denials[0];
        assert_eq!((denial.code.as_str(), denial.total, denial.new), ("rate_limited", 4, 2));
        assert_eq!((view.calls_open, view.sinks.get("siem")), (4, Some(&9)));
    }

    #[test]
    fn trust_domains_are_in_the_order_that_was_asked_for() {
        let (before, now) = readings();
        let first = |sort| View::of(&now, Some(&before), sort).trust_domains[0].name.clone();
        assert_eq!(first(Sort::Name), "a.example.org");
        assert_eq!(first(Sort::Open), "b.example.org");
        assert_eq!(first(Sort::Waiting), "a.example.org");
        assert_eq!(first(Sort::Tokens), "a.example.org");
    }
}
