//! The content of a key file: JSON whose clear members say what is inside, and a ciphertext that authenticates them.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::SecureRandom,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::is_context;
use crate::{SealedKeyError, SealingKey, SlotId, system_random};

/// The only version there is.
pub(crate) const FORMAT_VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u64,
    context: String,
    slot: SlotId,
    /// The id of the sealing key, so that a wrong one is told from a damaged file.
    sealing_key: String,
    nonce: String,
    sealed: String,
}

/// Read before anything else, so that a later version is named even when its members are others.
#[derive(Deserialize)]
struct VersionOnly {
    version: u64,
}

/// Seals a private key for one context and slot, under a nonce drawn for this file alone.
pub(super) fn seal(
    pkcs8: &[u8],
    sealing: &SealingKey,
    context: &str,
    slot: &SlotId,
) -> Result<Vec<u8>, SealedKeyError> {
    let mut nonce = [0; NONCE_LEN];
    system_random().fill(&mut nonce).map_err(|_unspecified| SealedKeyError::Seal)?;
    let sealing_key = sealing.id();
    // Room for the tag as well: a buffer that grows leaves a copy of the key behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(pkcs8.len() + AES_256_GCM.tag_len()));
    buffer.extend_from_slice(pkcs8);
    cipher(sealing)
        .and_then(|cipher| {
            let aad = Aad::from(authenticated(FORMAT_VERSION, context, slot, &sealing_key));
            cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *buffer)
        })
        .map_err(|_unspecified| SealedKeyError::Seal)?;
    let file = KeyFile {
        version: FORMAT_VERSION,
        context: context.to_owned(),
        slot: slot.clone(),
        sealing_key,
        nonce: hex::encode(nonce),
        sealed: BASE64_STANDARD.encode(&*buffer),
    };
    let mut content =
        serde_json::to_vec_pretty(&file).map_err(|_json_error| SealedKeyError::Seal)?;
    content.push(b'\n');
    Ok(content)
}

/// Opens what [`seal`] made for the same context and slot under the same sealing key.
pub(super) fn unseal(
    content: &[u8],
    sealing: &SealingKey,
    context: &str,
    slot: &SlotId,
) -> Result<Zeroizing<Vec<u8>>, SealedKeyError> {
    let file = parse(content)?;
    let in_use = sealing.id();
    if file.sealing_key != in_use {
        return Err(SealedKeyError::OtherSealingKey { sealed_under: file.sealing_key, in_use });
    }
    if file.context != context {
        return Err(SealedKeyError::OtherContext {
            found: file.context,
            expected: context.to_owned(),
        });
    }
    if file.slot != *slot {
        return Err(SealedKeyError::OtherSlot { found: file.slot });
    }
    let mut nonce = [0; NONCE_LEN];
    hex::decode_to_slice(&file.nonce, &mut nonce)
        .map_err(|_hex_error| SealedKeyError::Malformed)?;
    let sealed =
        BASE64_STANDARD.decode(&file.sealed).map_err(|_base64_error| SealedKeyError::Malformed)?;
    let mut buffer = Zeroizing::new(sealed);
    // The expected values are authenticated, never the ones that the file claims.
    let aad = Aad::from(authenticated(FORMAT_VERSION, context, slot, &in_use));
    let length = cipher(sealing)
        .and_then(|cipher| {
            let opened =
                cipher.open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut buffer)?;
            Ok(opened.len())
        })
        .map_err(|_unspecified| SealedKeyError::Broken)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn parse(content: &[u8]) -> Result<KeyFile, SealedKeyError> {
    let malformed = |_json_error| SealedKeyError::Malformed;
    let VersionOnly { version } = serde_json::from_slice(content).map_err(malformed)?;
    if version != FORMAT_VERSION {
        return Err(SealedKeyError::Version { found: version });
    }
    let file: KeyFile = serde_json::from_slice(content).map_err(malformed)?;
    // These two are shown in errors, so they are held to their form first.
    let is_id = file.sealing_key.len() == 16
        && file.sealing_key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || !is_context(&file.context) {
        return Err(SealedKeyError::Malformed);
    }
    Ok(file)
}

fn cipher(sealing: &SealingKey) -> Result<LessSafeKey, ring::error::Unspecified> {
    UnboundKey::new(&AES_256_GCM, sealing.expose_bytes()).map(LessSafeKey::new)
}

/// The additional data: a label, the version, then each text after its length, so that no two readings are possible.
fn authenticated(version: u64, context: &str, slot: &SlotId, sealing_key: &str) -> Vec<u8> {
    let mut bytes = b"marque/sealed-key".to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    for text in [context, slot.to_string().as_str(), sealing_key] {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}
