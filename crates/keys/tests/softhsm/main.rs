//! The manager for hardware tokens on SoftHSM 2, each test in a process and with a token of its own: what the library knows
//! of tokens it knows per process, from its environment.
//!
//! Without the library a test says so and does nothing, unless `MARQUE_REQUIRE_SOFTHSM` is set.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests; the lint settings cover test functions alone"
)]

mod own_process;
mod refusals;
mod tokens;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use marque_keys::{KeyError, KeyPurpose, SlotId, TokenKeys, TokenSettings};

const LABEL: &str = "marque-test";
const PIN: &str = "8675309";
const CONTEXT: &str = "prod.example.org";

/// A folder with tokens, of this process alone.
struct Hsm {
    folder: PathBuf,
}

impl Hsm {
    /// One token.
    fn with_token(folder: &Path) -> Self {
        let hsm = Self { folder: folder.to_owned() };
        hsm.init_token(LABEL);
        hsm.write_pin(&format!("{PIN}\n"));
        hsm
    }

    fn init_token(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--so-pin",
                "12345678",
                "--pin",
                PIN,
            ])
            .output()
            .expect("softhsm2-util");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    fn write_pin(&self, text: &str) {
        fs::write(self.pin_file(), text).expect("the PIN's file");
        fs::set_permissions(self.pin_file(), Permissions::from_mode(0o600)).expect("its mode");
    }

    fn settings(&self) -> TokenSettings {
        TokenSettings {
            module: own_process::module().expect("the library"),
            label: LABEL.to_owned(),
            pin_file: self.pin_file(),
            sessions: 2,
        }
    }

    fn open(&self) -> Result<TokenKeys, KeyError> {
        TokenKeys::open(&self.settings(), CONTEXT)
    }

    /// Takes all tokens away, as if they were pulled out.
    fn pull_out(&self) {
        fs::rename(self.folder.join("tokens"), self.folder.join("pulled")).expect("tokens");
        fs::create_dir(self.folder.join("tokens")).expect("a folder");
    }

    fn plug_in(&self) {
        fs::remove_dir(self.folder.join("tokens")).expect("an empty folder");
        fs::rename(self.folder.join("pulled"), self.folder.join("tokens")).expect("tokens");
    }
}

fn slot(purpose: KeyPurpose) -> SlotId {
    SlotId::first(purpose)
}

/// The stable code of a token's error, which its text ends with.
fn code(error: &KeyError) -> &'static str {
    match error {
        KeyError::Token { source, .. } => {
            assert!(source.to_string().ends_with(&format!("({})", source.code())), "{source}");
            source.code()
        }
        other => panic!("{other:?}"),
    }
}
