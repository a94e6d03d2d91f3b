//! Ratios: ours and its floor, measured in turns by the processor time of this thread, which other work does not add to.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long one sample of either side takes, roughly.
const SAMPLE: Duration = Duration::from_millis(8);
/// How many samples of each.
const SAMPLES: usize = 31;

/// One of ours beside what it cannot do without.
pub(crate) struct Pair<'a> {
    pub(crate) name: &'static str,
    pub(crate) ours: &'a mut dyn FnMut(),
    pub(crate) floor_name: &'static str,
    pub(crate) floor: &'a mut dyn FnMut(),
}

/// Measures every pair and prints a table, the ratio first.
pub(crate) fn table(pairs: &mut [Pair<'_>]) {
    println!("\n| ratio | ours | µs | floor | µs |\n|---:|---|---:|---|---:|");
    for pair in pairs {
        let (ours_count, floor_count) = (count(pair.ours), count(pair.floor));
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            ours.push(sample(pair.ours, ours_count));
            floor.push(sample(pair.floor, floor_count));
        }
        let (ours, floor) = (median(ours), median(floor));
        println!(
            "| {:.2} | {} | {ours:.1} | {} | {floor:.1} |",
            ours / floor,
            pair.name,
            pair.floor_name
        );
    }
}

/// How many calls fill a sample; warms up on the way.
fn count(call: &mut dyn FnMut()) -> u32 {
    let started = Instant::now();
    let mut calls = 0;
    while started.elapsed() < SAMPLE {
        call();
        calls += 1;
    }
    calls
}

/// Microseconds a call.
fn sample(call: &mut dyn FnMut(), calls: u32) -> f64 {
    let started = processor_time();
    for _ in 0..calls {
        call();
    }
    (processor_time() - started).as_secs_f64() * 1e6 / f64::from(calls)
}

/// Of this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
