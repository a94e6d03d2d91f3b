//! Samples, percentiles and rows.

use std::time::{Duration, Instant};

/// How many open streams are measured with.
#[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration but this")]
pub(crate) fn streams() -> usize {
    std::env::var("MARQUE_BENCH_STREAMS")
        .map_or(1_000, |count| count.parse().expect("MARQUE_BENCH_STREAMS is a number"))
}

/// Microseconds, in no order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, since: Instant) {
        self.push(since.elapsed());
    }

    pub(crate) fn push(&mut self, taken: Duration) {
        self.push_micros(taken.as_secs_f64() * 1e6);
    }

    pub(crate) fn push_micros(&mut self, micros: f64) {
        self.0.push(micros);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> f64 {
        f64::from(u32::try_from(self.0.len()).expect("few"))
    }

    pub(crate) fn per_mille(&mut self, share: usize) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0[(self.0.len() * share / 1000).min(self.0.len() - 1)]
    }

    pub(crate) fn p50(&mut self) -> f64 {
        self.per_mille(500)
    }

    pub(crate) fn p99(&mut self) -> f64 {
        self.per_mille(990)
    }

    pub(crate) fn worst(&mut self) -> f64 {
        self.per_mille(1000)
    }
}

pub(crate) fn title(title: &str, columns: &[&str]) {
    println!("\n{title}\n\n| {} |", columns.join(" | "));
    println!("|{}", "---:|".repeat(columns.len()));
}

pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}
