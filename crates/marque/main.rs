//! The `marque` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    marque::cli::main()
}
