//! The `marque` command.

use std::process::ExitCode;

/// Gives memory back when streams close, which the system's allocator mostly does not.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    marque::cli::main()
}
