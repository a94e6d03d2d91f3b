//! Makes `:authority` readable before HTTP/2 is parsed.
//!
//! On a Unix socket there is no host to name. gRPC's C core (Python, C++, Ruby, PHP), Java and Swift put the socket's path
//! there, percent-encoded or plain; RFC 9113 §8.3.1 knows neither form and hyper resets such a stream, so that none of those
//! SPIFFE clients would get a word. Nothing here uses the authority. In it, `%` and `/` become `-`: byte by byte, so that
//! lengths and the header compression's tables (RFC 7541) stay as the client believes them to be.
//!
//! Deliberately absent: understanding anything else. A block that does not read goes through as it came: whoever parses
//! it knows how to refuse it.

use super::incoming::FRAME_HEADER_BYTES;

const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY: &[u8] = b":authority";
/// `:authority` in the Huffman code (RFC 7541, appendix B).
const AUTHORITY_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];

/// Repairs the authority in a whole HEADERS frame.
pub(super) fn repair(frame: &mut [u8]) {
    if let Some(block) = header_block(frame) {
        let _unread = repair_block(block);
    }
}

/// The header block fragment of a whole HEADERS frame (RFC 9113 §6.2).
fn header_block(frame: &mut [u8]) -> Option<&mut [u8]> {
    let flags = *frame.get(4)?;
    let payload = frame.get_mut(FRAME_HEADER_BYTES..)?;
    let (from, padding) = match flags & PADDED {
        0 => (0, 0),
        _ => (1, usize::from(*payload.first()?)),
    };
    let from = if flags & PRIORITY == 0 { from } else { from + PRIORITY_BYTES };
    let to = payload.len().checked_sub(padding)?;
    payload.get_mut(from..to)
}

/// Walks the representations of a header block (RFC 7541 §6) and repairs every authority; `None` where the block ends
/// early, as it does when it continues in another frame. Pseudo-header fields come first, so nothing is missed then.
fn repair_block(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let prefix = match first {
            0x80.. => 7,
            0x40..=0x7f => 6,
            0x20..=0x3f => 5,
            _ => 4,
        };
        let index;
        (index, at) = integer(block, at, prefix)?;
        if matches!(first, 0x80.. | 0x20..=0x3f) {
            continue;
        }
        let is_authority = if index == 0 {
            let name = string(block, at)?;
            at = name.end;
            let bytes = block.get(name.start..name.end)?;
            bytes == if name.huffman { AUTHORITY_HUFFMAN } else { AUTHORITY }
        } else {
            index == AUTHORITY_INDEX
        };
        let value = string(block, at)?;
        at = value.end;
        if is_authority {
            let bytes = block.get_mut(value.start..value.end)?;
            if value.huffman { repair_huffman(bytes) } else { repair_plain(bytes) }
        }
    }
    Some(())
}

/// An integer with a prefix of so many bits, and where it ends (RFC 7541 §5.1).
fn integer(block: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*block.get(at)?) & mask;
    let mut at = at + 1;
    if value < mask {
        return Some((value, at));
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(at)?);
        at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}

/// Where a string is, and how it is written (RFC 7541 §5.2).
struct Text {
    start: usize,
    end: usize,
    huffman: bool,
}

fn string(block: &[u8], at: usize) -> Option<Text> {
    let huffman = *block.get(at)? & 0x80 != 0;
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length).filter(|end| *end <= block.len())?;
    Some(Text { start, end, huffman })
}

fn repair_plain(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| matches!(byte, b'%' | b'/')) {
        *byte = b'-';
    }
}

/// The same in the Huffman code, where `%` (0x15), `/` (0x18) and `-` (0x16) have six bits each. The code is canonical:
/// the first bits tell a symbol's length, and of the lengths above eight bits there is nothing in a path worth reading.
fn repair_huffman(text: &mut [u8]) {
    let mut at = 0;
    while let Some(bits) = eight_bits(text, at) {
        at += match bits {
            0x00..=0x4f => 5,
            0x50..=0xb7 => {
                if matches!(bits >> 2, 0x15 | 0x18) {
                    set_six_bits(text, at, 0x16);
                }
                6
            }
            0xb8..=0xf7 => 7,
            0xf8..=0xfd => 8,
            0xfe.. => return,
        };
    }
}

/// Eight bits from bit `at` on, filled up with ones as padding is; `None` at the end.
fn eight_bits(text: &[u8], at: usize) -> Option<u8> {
    let high = u16::from(*text.get(at / 8)?);
    let low = u16::from(text.get(at / 8 + 1).copied().unwrap_or(0xff));
    let [_, bits] = ((high << 8 | low) >> (8 - at % 8)).to_be_bytes();
    Some(bits)
}

fn set_six_bits(text: &mut [u8], at: usize, symbol: u8) {
    for offset in 0..6 {
        let bit = at + offset;
        if let Some(byte) = text.get_mut(bit / 8) {
            let mask = 0x80 >> (bit % 8);
            if symbol >> (5 - offset) & 1 == 1 { *byte |= mask } else { *byte &= !mask }
        }
    }
}

#[cfg(test)]
mod tests;
