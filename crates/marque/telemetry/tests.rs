use std::collections::BTreeSet;

use super::described::{Kind, METRICS};
use super::samples;
use super::*;

/// The documentation's page of metrics.
fn page() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/telemetry.md");
    std::fs::read_to_string(page).expect("docs/telemetry.md")
}

#[test]
fn the_documentation_has_a_row_for_every_metric_and_for_no_other() {
    let page = page();
    let row = |line: &str| line.strip_prefix("| `marque_").map(str::to_owned);
    let rows: BTreeSet<String> = page.lines().filter_map(row).collect();
    let wanted = METRICS.iter().map(|metric| {
        let labels = match metric.labels {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let name = metric.name.trim_start_matches("marque_");
        format!("{name}{labels}` | {kind} | {} |", metric.text)
    });
    let wanted: BTreeSet<String> = wanted.collect();
    let missing: Vec<_> = wanted.difference(&rows).collect();
    let surplus: Vec<_> = rows.difference(&wanted).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:#?}\nsurplus: {surplus:#?}"
    );
}

#[test]
fn names_and_labels_keep_to_the_rules() {
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "a name is there twice");
    const FORBIDDEN: [&str; 8] =
        ["agent", "spiffe_id", "person", "approver", "ticket", "intent", "token", "jti"];
    for metric in METRICS {
        let told = format!("{metric:?}");
        assert!(metric.labels.iter().all(|label| !FORBIDDEN.contains(label)), "{told}");
        assert!(metric.name.starts_with("marque_"), "{told}");
    }
}

#[test]
fn more_than_one_traceparent_is_none() {
    const HINT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HINT.parse().unwrap());
    assert!(request(&headers).parent.is_some());
    headers.append("traceparent", HINT.parse().unwrap());
    assert!(request(&headers).parent.is_none());
    assert_ne!(request(&headers).request, request(&headers).request);
}

#[test]
fn what_is_rendered_reads_as_samples() {
    assert!(samples::read("# nothing\n").is_empty());
}
