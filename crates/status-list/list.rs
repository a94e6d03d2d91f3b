//! The list itself: a few bits for each place, least significant first (§4.1), compressed by zlib (RFC 1950).

use std::io::{Read as _, Write as _};

use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};
use marque_jose::base64url;

use crate::EncodedStatusList;

/// The largest list that a reader unpacks by default, in bytes: a million places of 8 bits. Deflate packs a thousand to
/// one, so a reader without such a limit is filled up by a few kilobytes.
pub const MAX_LIST_BYTES: usize = 1024 * 1024;
/// The longest status list token that a reader looks at by default, in bytes: room for any list of 131,072 places of one
/// bit, however little it can be compressed.
pub const MAX_LIST_TOKEN_BYTES: usize = 64 * 1024;

/// How many bits a place has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bits {
    /// 1: a token is valid or not.
    One,
    /// 2.
    Two,
    /// 4.
    Four,
    /// 8.
    Eight,
}

/// What a place says (§7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The token stands, as far as the list knows.
    Valid,
    /// The token was revoked, for good.
    Invalid,
    /// The token does not stand for now.
    Suspended,
    /// Something that an application defined. Whoever does not know it must not take it for valid.
    Other(u8),
}

/// A list of statuses, one for each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: Bits,
    bytes: Vec<u8>,
}

/// The list has no such place, or no room for such a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the status list has no such place or status")]
pub struct OutOfRange;

/// A list could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatusListError {
    /// `bits` is not 1, 2, 4 or 8.
    #[error("a status list has 1, 2, 4 or 8 bits per place")]
    Bits,
    /// `lst` is not canonical base64url.
    #[error("the status list is not canonical base64url")]
    Encoding,
    /// `lst` is not one zlib stream and nothing after it.
    #[error("the status list is not compressed by zlib")]
    Compression(#[source] std::io::Error),
    /// It unpacks to more than the reader allows.
    #[error("the status list is larger than is allowed")]
    TooLarge,
}

impl Bits {
    /// The value of the member `bits`.
    #[must_use]
    pub const fn count(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    fn per_byte(self) -> usize {
        8 / usize::from(self.count())
    }

    const fn mask(self) -> u8 {
        match self {
            Self::One => 0b1,
            Self::Two => 0b11,
            Self::Four => 0b1111,
            Self::Eight => 0b1111_1111,
        }
    }
}

impl TryFrom<u8> for Bits {
    type Error = StatusListError;

    fn try_from(count: u8) -> Result<Self, StatusListError> {
        [Self::One, Self::Two, Self::Four, Self::Eight]
            .into_iter()
            .find(|bits| bits.count() == count)
            .ok_or(StatusListError::Bits)
    }
}

impl Status {
    /// The value in the list.
    #[must_use]
    pub const fn value(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Suspended => 2,
            Self::Other(value) => value,
        }
    }
}

impl From<u8> for Status {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Valid,
            1 => Self::Invalid,
            2 => Self::Suspended,
            other => Self::Other(other),
        }
    }
}

impl StatusList {
    /// A list in which every place is valid; its size is rounded up to whole bytes.
    #[must_use]
    pub fn new(bits: Bits, places: usize) -> Self {
        Self { bits, bytes: vec![0; places.div_ceil(bits.per_byte())] }
    }

    /// How many places it has.
    #[must_use]
    pub fn places(&self) -> u64 {
        self.bytes.len() as u64 * self.bits.per_byte() as u64
    }

    /// How many bits a place has.
    #[must_use]
    pub const fn bits(&self) -> Bits {
        self.bits
    }

    /// What a place says.
    ///
    /// # Errors
    /// The list is shorter: a token that points there must be refused (§8.3).
    pub fn status(&self, idx: u64) -> Result<Status, OutOfRange> {
        let (byte, shift) = self.place(idx)?;
        let byte = self.bytes.get(byte).ok_or(OutOfRange)?;
        Ok(Status::from((byte >> shift) & self.bits.mask()))
    }

    /// Changes what a place says.
    ///
    /// # Errors
    /// The list is shorter, or its places have too few bits for the status.
    pub fn set(&mut self, idx: u64, status: Status) -> Result<(), OutOfRange> {
        let (mask, value) = (self.bits.mask(), status.value());
        if value & mask != value {
            return Err(OutOfRange);
        }
        let (byte, shift) = self.place(idx)?;
        let byte = self.bytes.get_mut(byte).ok_or(OutOfRange)?;
        *byte = (*byte & !(mask << shift)) | (value << shift);
        Ok(())
    }

    /// The byte of a place, and how far its lowest bit is from the byte's.
    fn place(&self, idx: u64) -> Result<(usize, u32), OutOfRange> {
        let idx = usize::try_from(idx).map_err(|_too_large| OutOfRange)?;
        let shift = idx % self.bits.per_byte() * usize::from(self.bits.count());
        Ok((idx / self.bits.per_byte(), u32::try_from(shift).map_err(|_never| OutOfRange)?))
    }

    /// Packs the list.
    ///
    /// # Errors
    /// [`StatusListError::Compression`], which does not happen in memory.
    pub fn encode(&self) -> Result<EncodedStatusList, StatusListError> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.bytes).map_err(StatusListError::Compression)?;
        let packed = encoder.finish().map_err(StatusListError::Compression)?;
        Ok(EncodedStatusList { bits: self.bits.count(), lst: base64url::encode(packed) })
    }

    /// Unpacks a list of at most `max_bytes`; [`MAX_LIST_BYTES`] is a good limit. No more than one byte beyond it is ever
    /// unpacked.
    ///
    /// # Errors
    /// See [`StatusListError`].
    pub fn decode(encoded: &EncodedStatusList, max_bytes: usize) -> Result<Self, StatusListError> {
        let bits = Bits::try_from(encoded.bits)?;
        let packed = base64url::decode(&encoded.lst).map_err(|_error| StatusListError::Encoding)?;
        let mut decoder = ZlibDecoder::new(packed.as_slice());
        let mut bytes = Vec::new();
        let one_more = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
        decoder
            .by_ref()
            .take(one_more)
            .read_to_end(&mut bytes)
            .map_err(StatusListError::Compression)?;
        if bytes.len() > max_bytes {
            return Err(StatusListError::TooLarge);
        }
        if !decoder.into_inner().is_empty() {
            let trailing = std::io::Error::other("something follows the stream");
            return Err(StatusListError::Compression(trailing));
        }
        Ok(Self { bits, bytes })
    }
}

#[cfg(test)]
mod tests;
