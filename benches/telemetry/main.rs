//! What watching costs: counting, measuring and correlating one request, and one scrape.
//!
//! A token request counts about a dozen numbers and measures four checks. Beside it stands the same work without a
//! recorder, where the macros do nothing: the difference is what metrics cost.

#![expect(clippy::expect_used, reason = "a bench that cannot begin has nothing to measure")]

use std::time::Duration;

use divan::{Bencher, black_box};
use marque_audit::Correlation;
use metrics::NoopRecorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

const CHECK: &str = "marque_check_seconds";
const BOUNDS: &[f64] = &[0.0001, 0.001, 0.01, 0.1, 1.0];
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn main() {
    divan::main();
}

fn recorder() -> PrometheusRecorder {
    let matcher = Matcher::Full(CHECK.to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(matcher, BOUNDS);
    builder.expect("there are bounds").build_recorder()
}

/// What one token request counts and measures.
fn count_one_request() {
    for check in ["attestation", "decision", "exchange", "record"] {
        metrics::histogram!(CHECK, "check" => check).record(Duration::from_micros(350));
    }
    for kind in ["access_token", "transaction_token", "authorization_grant"] {
        let domain = black_box("prod.example.org").to_owned();
        metrics::counter!("marque_tokens_issued_total", "trust_domain" => domain, "kind" => kind)
            .increment(1);
    }
}

#[divan::bench]
fn a_request_that_is_counted(bencher: Bencher<'_, '_>) {
    let recorder = recorder();
    bencher.bench_local(|| metrics::with_local_recorder(&recorder, count_one_request));
}

#[divan::bench]
fn a_request_that_nobody_counts(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| metrics::with_local_recorder(&NoopRecorder, count_one_request));
}

#[divan::bench]
fn the_ids_of_a_request() -> Correlation {
    Correlation::begin(black_box([7; 16])).hinted(Some(black_box(TRACEPARENT)))
}

/// As many series as a daemon with this many trust domains has.
#[divan::bench(args = [2, 20, 200])]
fn a_scrape(bencher: Bencher<'_, '_>, domains: usize) {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        for domain in 0..domains {
            for code in 0..100 {
                let domain = format!("td{domain}.example.org");
                let labels = [("trust_domain", domain), ("code", format!("code_{code}"))];
                metrics::counter!("marque_elevation_denied_total", &labels).increment(1);
            }
        }
    });
    let handle = recorder.handle();
    bencher.bench_local(|| handle.render().len());
}
