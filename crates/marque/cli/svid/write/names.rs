//! How the files are called and who may read them.

use std::str::FromStr;

use clap::Args;

use super::super::super::failure::Failure;

/// What everybody but the owner and the group may do.
const OTHERS: u32 = 0o007;

/// Names and modes of the files, as other tools of this kind call them.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Files")]
pub(in super::super) struct Names {
    /// The certificate chain, the leaf first
    #[arg(long, value_name = "NAME", default_value = "svid.pem")]
    pub(in super::super) svid_file: String,
    /// The private key
    #[arg(long, value_name = "NAME", default_value = "svid_key.pem")]
    pub(in super::super) key_file: String,
    /// The certificates of the trust domain
    #[arg(long, value_name = "NAME", default_value = "bundle.pem")]
    pub(in super::super) bundle_file: String,
    /// The JWT-SVID
    #[arg(long, value_name = "NAME", default_value = "jwt_svid.token")]
    pub(in super::super) jwt_svid_file: String,
    /// The keys that verify JWT-SVIDs
    #[arg(long, value_name = "NAME", default_value = "jwt_bundle.json")]
    pub(in super::super) jwt_bundle_file: String,
    /// Who may read certificates, bundles and key sets
    #[arg(long, value_name = "MODE", default_value = "0644")]
    pub(in super::super) cert_mode: Mode,
    /// Who may read the key and the token: the owner, and the group at most
    #[arg(long, value_name = "MODE", default_value = "0600")]
    pub(in super::super) key_mode: Mode,
}

/// The permissions of a file, in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Mode(pub(in super::super) u32);

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match u32::from_str_radix(text, 8) {
            // The owner has to be able to read what it wrote; nobody runs it.
            Ok(mode) if mode & !0o666 == 0 && mode & 0o400 != 0 => Ok(Self(mode)),
            _ => Err("is no mode of a file that its owner reads, such as `0600` or `0644`"),
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        let name = ToOwned::to_owned;
        Self {
            svid_file: name("svid.pem"),
            key_file: name("svid_key.pem"),
            bundle_file: name("bundle.pem"),
            jwt_svid_file: name("jwt_svid.token"),
            jwt_bundle_file: name("jwt_bundle.json"),
            cert_mode: Mode(0o644),
            key_mode: Mode(0o600),
        }
    }
}

impl Names {
    /// Refuses what is no plain name, one name for two files, and a key that everybody reads.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Self {
            svid_file,
            key_file,
            bundle_file,
            jwt_svid_file,
            jwt_bundle_file,
            cert_mode: _,
            key_mode,
        } = self;
        let names = [svid_file, key_file, bundle_file, jwt_svid_file, jwt_bundle_file];
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(Failure::usage(format!("`{name}` is not the plain name of a file")));
            }
            if names.iter().skip(index + 1).any(|other| other == name) {
                return Err(Failure::usage(format!("two files would be called `{name}`")));
            }
        }
        if key_mode.0 & OTHERS != 0 {
            return Err(Failure::usage("--key-mode would let everybody read the key")
                .next("use 0600, or 0640 for a group"));
        }
        Ok(())
    }
}
