//! The content of a key file: JSON whose clear members say what is inside, and a ciphertext that authenticates them.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::SecureRandom,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::is_context;
use crate::{KeyAlgorithm, SealedKeyError, SealingKey, SlotId, system_random};

/// The version that is written.
pub(crate) const FORMAT_VERSION: u64 = 2;
/// The version that names no algorithm: the key has the default one of its purpose. It is still read.
const WITHOUT_ALGORITHM: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    version: u64,
    context: String,
    slot: SlotId,
    /// From version 2 on, and there always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
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
    algorithm: KeyAlgorithm,
    sealing: &SealingKey,
    context: &str,
    slot: &SlotId,
) -> Result<Vec<u8>, SealedKeyError> {
    write(pkcs8, Some(algorithm), sealing, context, slot)
}

/// A file as it was written before algorithms were named.
#[cfg(test)]
pub(super) fn seal_version_1(
    pkcs8: &[u8],
    sealing: &SealingKey,
    context: &str,
    slot: &SlotId,
) -> Vec<u8> {
    write(pkcs8, None, sealing, context, slot).unwrap()
}

fn write(
    pkcs8: &[u8],
    algorithm: Option<KeyAlgorithm>,
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
            let aad = Aad::from(authenticated(context, slot, algorithm, &sealing_key));
            cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *buffer)
        })
        .map_err(|_unspecified| SealedKeyError::Seal)?;
    let file = KeyFile {
        version: version_of(algorithm),
        context: context.to_owned(),
        slot: slot.clone(),
        algorithm: algorithm.map(|algorithm| algorithm.as_str().to_owned()),
        sealing_key,
        nonce: hex::encode(nonce),
        sealed: BASE64_STANDARD.encode(&*buffer),
    };
    let mut content =
        serde_json::to_vec_pretty(&file).map_err(|_json_error| SealedKeyError::Seal)?;
    content.push(b'\n');
    Ok(content)
}

/// Opens what [`seal`] made for the same context and slot under the same sealing key, or a file of version 1.
pub(super) fn unseal(
    content: &[u8],
    sealing: &SealingKey,
    context: &str,
    slot: &SlotId,
) -> Result<(KeyAlgorithm, Zeroizing<Vec<u8>>), SealedKeyError> {
    let (file, algorithm) = parse(content)?;
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
    // The expected values are authenticated, never the ones that the file claims, where something is expected.
    let aad = Aad::from(authenticated(context, slot, algorithm, &in_use));
    let length = cipher(sealing)
        .and_then(|cipher| {
            let opened =
                cipher.open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut buffer)?;
            Ok(opened.len())
        })
        .map_err(|_unspecified| SealedKeyError::Broken)?;
    buffer.truncate(length);
    Ok((algorithm.unwrap_or_else(|| slot.purpose().default_algorithm()), buffer))
}

/// The file and the algorithm that it names; none in a file of version 1.
fn parse(content: &[u8]) -> Result<(KeyFile, Option<KeyAlgorithm>), SealedKeyError> {
    let malformed = |_json_error| SealedKeyError::Malformed;
    let VersionOnly { version } = serde_json::from_slice(content).map_err(malformed)?;
    if !(WITHOUT_ALGORITHM..=FORMAT_VERSION).contains(&version) {
        return Err(SealedKeyError::Version { found: version });
    }
    let file: KeyFile = serde_json::from_slice(content).map_err(malformed)?;
    // These two are shown in errors, so they are held to their form first.
    let is_id = file.sealing_key.len() == 16
        && file.sealing_key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || !is_context(&file.context) {
        return Err(SealedKeyError::Malformed);
    }
    let algorithm = file.algorithm.as_deref().map(str::parse).transpose();
    let algorithm = algorithm.map_err(|_unknown| SealedKeyError::Malformed)?;
    if algorithm.is_none() != (version == WITHOUT_ALGORITHM) {
        return Err(SealedKeyError::Malformed);
    }
    Ok((file, algorithm))
}

fn cipher(sealing: &SealingKey) -> Result<LessSafeKey, ring::error::Unspecified> {
    UnboundKey::new(&AES_256_GCM, sealing.expose_bytes()).map(LessSafeKey::new)
}

fn version_of(algorithm: Option<KeyAlgorithm>) -> u64 {
    if algorithm.is_some() { FORMAT_VERSION } else { WITHOUT_ALGORITHM }
}

/// The additional data: a label, the version, then each text after its length, so that no two readings are possible. The
/// version follows from whether there is an algorithm.
fn authenticated(
    context: &str,
    slot: &SlotId,
    algorithm: Option<KeyAlgorithm>,
    sealing_key: &str,
) -> Vec<u8> {
    let mut bytes = b"marque/sealed-key".to_vec();
    bytes.extend_from_slice(&version_of(algorithm).to_be_bytes());
    let slot = slot.to_string();
    let texts = [context, slot.as_str(), sealing_key];
    for text in texts.into_iter().chain(algorithm.map(KeyAlgorithm::as_str)) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}
