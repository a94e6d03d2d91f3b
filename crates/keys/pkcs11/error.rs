//! What can go wrong with a token, each under a stable code. No variant carries a PIN.

use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

use crate::{FileError, KeyAlgorithm};

/// Why a hardware token could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The module cannot be loaded, or does not start.
    #[error("the PKCS#11 module `{path}` cannot be used; is the vendor's package installed, and is `module` its library? (key_token_module)", path = path.display())]
    Module {
        /// The library.
        path: PathBuf,
        /// What the loader or the library said.
        source: Error,
    },
    /// No token with this label is there.
    #[error(
        "the module has no token with this label; plug it in, start its service, or see `pkcs11-tool --module … -L` for the \
         labels (key_token_absent)"
    )]
    Absent,
    /// Several tokens have this label.
    #[error("several tokens have this label; give each one of its own (key_token_ambiguous)")]
    Ambiguous,
    /// The file of the PIN cannot be used.
    #[error("the file with the PIN cannot be used (key_token_pin_file)")]
    PinFile(#[source] FileError),
    /// The file holds something else than a PIN.
    #[error(
        "the file `{path}` must hold the PIN and nothing else but a line feed: 1 to 255 characters, none a control character \
         (key_token_pin_file)", path = path.display()
    )]
    PinForm {
        /// The file.
        path: PathBuf,
    },
    /// The token refuses the PIN.
    #[error(
        "the token refuses the PIN; write the right one into the file, it is not tried again before, so that the token does \
         not lock itself (key_token_pin_wrong)"
    )]
    PinWrong,
    /// The token has locked its PIN, or it has run out.
    #[error(
        "the PIN of the token is locked or has expired; the security officer of the token has to set it anew \
         (key_token_pin_locked)"
    )]
    PinLocked,
    /// The token has no user PIN.
    #[error(
        "the token has no user PIN yet; its security officer has to set one (key_token_pin_unset)"
    )]
    PinUnset,
    /// The token makes no keys of this algorithm.
    #[error(
        "the token makes and uses no keys of algorithm `{algorithm}`; for the key of the audit log, \
         `checkpoint_key = \"sealed-file\"` keeps it in a sealed file (key_token_algorithm)"
    )]
    Algorithm {
        /// The algorithm.
        algorithm: KeyAlgorithm,
    },
    /// Every session is in use for too long.
    #[error(
        "every session of the token is in use, and none came free in time; raise `sessions`, or look why the token is slow \
         (key_token_busy)"
    )]
    Busy,
    /// Two keys have the name of one.
    #[error("the token has several keys `{label}`; remove all but the right one (key_token_key)")]
    SeveralKeys {
        /// The label.
        label: String,
    },
    /// A private key without a public one beside it.
    #[error(
        "the token has a private key `{label}` without its public one, with the same id (key_token_key)"
    )]
    NoPublicHalf {
        /// The label.
        label: String,
    },
    /// A key that can leave the token.
    #[error(
        "the key `{label}` of the token can be read out of it; only keys that were made there and are sensitive and not \
         extractable are used (key_token_key)"
    )]
    Extractable {
        /// The label.
        label: String,
    },
    /// A key of a kind that is not used here.
    #[error("the key `{label}` of the token is of a kind that is not used here (key_token_key)")]
    StrangeKey {
        /// The label.
        label: String,
    },
    /// A key that was there is gone.
    #[error("a key of the token is gone; something else removes keys from it (key_token_key)")]
    Vanished,
    /// The token failed in another way.
    #[error("the token failed: {operation} said {code} (key_token_failed)")]
    Failed {
        /// The function of PKCS#11.
        operation: String,
        /// What it said, by its name in the standard.
        code: String,
    },
}

impl TokenError {
    /// The stable code, which the message ends with.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Module { .. } => "key_token_module",
            Self::Absent => "key_token_absent",
            Self::Ambiguous => "key_token_ambiguous",
            Self::PinFile(_) | Self::PinForm { .. } => "key_token_pin_file",
            Self::PinWrong => "key_token_pin_wrong",
            Self::PinLocked => "key_token_pin_locked",
            Self::PinUnset => "key_token_pin_unset",
            Self::Algorithm { .. } => "key_token_algorithm",
            Self::Busy => "key_token_busy",
            Self::SeveralKeys { .. }
            | Self::NoPublicHalf { .. }
            | Self::Extractable { .. }
            | Self::StrangeKey { .. }
            | Self::Vanished => "key_token_key",
            Self::Failed { .. } => "key_token_failed",
        }
    }
}

/// A failure, and whether opening the token anew may help.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The session, the login or the token was lost.
    Lost(TokenError),
    /// Trying again does not help.
    Final(TokenError),
}

impl Trouble {
    pub(super) fn into_error(self) -> TokenError {
        match self {
            Self::Lost(error) | Self::Final(error) => error,
        }
    }
}

impl From<TokenError> for Trouble {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Absent | TokenError::Vanished => Self::Lost(error),
            other => Self::Final(other),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let Error::Pkcs11(code, function) = &error else {
            return Self::Final(TokenError::Failed {
                operation: "the module".to_owned(),
                code: format!("`{error}`"),
            });
        };
        let failed =
            || TokenError::Failed { operation: function.to_string(), code: format!("`{code:?}`") };
        match code {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
                Self::Final(TokenError::PinWrong)
            }
            RvError::PinLocked | RvError::PinExpired => Self::Final(TokenError::PinLocked),
            RvError::UserPinNotInitialized => Self::Final(TokenError::PinUnset),
            RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::DeviceRemoved
            | RvError::SlotIdInvalid => Self::Lost(TokenError::Absent),
            RvError::SessionCount => Self::Final(TokenError::Busy),
            RvError::CryptokiNotInitialized
            | RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::FunctionFailed
            | RvError::GeneralError
            | RvError::KeyHandleInvalid
            | RvError::ObjectHandleInvalid
            | RvError::OperationActive
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::VendorDefined(_) => Self::Lost(failed()),
            _ => Self::Final(failed()),
        }
    }
}
