//! The daemon's clock and randomness: the only place that reads the host's. Everything below takes both as parameters.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use marque_spiffe::{Clock, MonotonicTime, Random, RandomError};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::time::{ClockId, clock_gettime};

/// The longest single sleep; the wall clock is read again after each, so that a stepped clock is noticed.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Where Linux names the start that it runs since.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The host's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the daemon's clock is what reads the host's")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let clock = *self;
        Box::pin(async move {
            loop {
                let left = at.duration_since(clock.now());
                let Ok(left) = Duration::try_from(left) else { return };
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            }
        })
    }

    fn monotonic(&self) -> Option<MonotonicTime> {
        static BOOT: OnceLock<Option<[u8; 16]>> = OnceLock::new();
        let boot = (*BOOT.get_or_init(boot_id))?;
        let since = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(since.tv_sec).ok()?;
        let micros = u64::try_from(since.tv_nsec).ok()? / 1_000;
        Some(MonotonicTime { boot, micros: seconds.checked_mul(1_000_000)?.checked_add(micros)? })
    }
}

/// Which start of the host this is; `None` where the host does not say.
fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    let mut id = [0; 16];
    hex::decode_to_slice(text.trim_end().replace('-', ""), &mut id).ok()?;
    Some(id)
}

/// The host's random number generator, through ring.
#[derive(Clone, Debug)]
pub struct SystemRandomness(SystemRandom);

impl Default for SystemRandomness {
    #[expect(
        clippy::disallowed_methods,
        reason = "the daemon's randomness is what reads the host's"
    )]
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Random for SystemRandomness {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        self.0.fill(out).map_err(|_unspecified| RandomError)
    }
}
