//! `[authorities]`: with what the signing authorities sign.

use std::str::FromStr;

use crate::fields::{Fields, Lined, Log};

/// With more authorities in between, chains are longer than what verifiers take.
const MAX_PATH_LENGTH: u8 = 3;

/// The algorithm of the next key for JWT-SVIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JwtSvidAlgorithm {
    /// ECDSA over P-256: short tokens, quick to sign.
    #[default]
    Es256,
    /// RSA with 2048 bits, for those who verify nothing else.
    Rs256,
}

/// The text names no algorithm.
#[derive(Debug, thiserror::Error)]
#[error("is neither \"ES256\" nor \"RS256\"")]
pub struct UnknownJwtSvidAlgorithm;

impl FromStr for JwtSvidAlgorithm {
    type Err = UnknownJwtSvidAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownJwtSvidAlgorithm> {
        match text {
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            _ => Err(UnknownJwtSvidAlgorithm),
        }
    }
}

/// `[authorities]`.
///
/// ```toml
/// [authorities]                        # may be absent
/// jwt_svid = "ES256"                   # or "RS256"; the next key for JWT-SVIDs takes it up
/// name_constraints = false             # true: the next root permits URIs of this trust domain alone
/// path_length = 0                      # 0 to 3: authorities between a root and an SVID; the next root takes it up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuthoritySettings {
    /// With what JWT-SVIDs are signed.
    pub jwt_svid: JwtSvidAlgorithm,
    /// Whether roots have critical name constraints of URIs.
    pub name_constraints: bool,
    /// How many authorities may stand between a root and an SVID.
    pub path_length: u8,
}

pub(super) fn read(top: &mut Fields<'_, '_>, log: &mut Log<'_>) -> AuthoritySettings {
    let Some(mut table) = top.optional_table("authorities", log) else {
        return AuthoritySettings::default();
    };
    let jwt_svid = table.optional_text("jwt_svid", log).unwrap_or_default();
    let name_constraints = table.optional_switch("name_constraints", log);
    let name_constraints = name_constraints.is_some_and(|switch| switch.value);
    let path_length = path_length(&mut table, log);
    table.finish(log);
    AuthoritySettings { jwt_svid, path_length, name_constraints }
}

fn path_length(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> u8 {
    let Some(Lined { value, line }) = table.optional_lined_number("path_length", log) else {
        return 0;
    };
    match u8::try_from(value) {
        Ok(length) if length <= MAX_PATH_LENGTH => length,
        _ => {
            let message =
                format!("`path_length` in [authorities] is a number from 0 to {MAX_PATH_LENGTH}");
            log.at(line, message);
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::TrustDomainDocument;

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    #[test]
    fn the_algorithm_of_jwt_svids_is_es256_unless_it_is_said() {
        let with = |table: &str| {
            let text = format!("{DOCUMENT}\n{table}");
            TrustDomainDocument::parse(Path::new("trust-domain.toml"), &text)
        };
        let algorithm = |table: &str| with(table).unwrap().authorities().jwt_svid;
        assert_eq!(algorithm(""), JwtSvidAlgorithm::Es256);
        assert_eq!(algorithm("[authorities]"), JwtSvidAlgorithm::Es256);
        assert_eq!(algorithm("[authorities]\njwt_svid = \"RS256\""), JwtSvidAlgorithm::Rs256);
        assert_eq!(with("").unwrap().authorities().path_length, 0);
        let roomy = with("[authorities]\npath_length = 3").unwrap();
        assert_eq!(roomy.authorities().path_length, 3);
        for wrong in ["path_length = 4", "path_length = 256", "path_length = \"1\""] {
            assert!(with(&format!("[authorities]\n{wrong}")).is_err(), "{wrong}");
        }
        for wrong in ["jwt_svid = \"HS256\"", "jwt_svid = \"rs256\"", "x509 = \"RS256\""] {
            assert!(with(&format!("[authorities]\n{wrong}")).is_err(), "{wrong}");
        }
    }
}
