//! Names in segments, such as `ns/ingress/secret/shop-tls`: equal, or below by whole segments.

use super::{Dimension, Widening};

/// Whether `child` is `parent`, or is below it. What is below is written plainly: no empty, `.` or `..` segment, no
/// percent-encoding, no wildcard, nothing that a server could read as more than a segment's name.
pub(super) fn covers(parent: &str, child: &str, dimension: Dimension) -> Result<(), Widening> {
    if parent == child {
        return Ok(());
    }
    // Behind a query or a fragment there are no segments, and `a/` would have an empty one.
    if parent.is_empty() || parent.ends_with('/') || parent.contains(['?', '#', '*', '\\']) {
        return Err(Widening::incomparable(dimension));
    }
    let Some(rest) = child.strip_prefix(parent) else {
        return Err(if is_plain(child) {
            Widening::exceeds(dimension)
        } else {
            Widening::incomparable(dimension)
        });
    };
    match rest.strip_prefix('/') {
        Some(below) if is_plain(below) => Ok(()),
        Some(_) => Err(Widening::incomparable(dimension)),
        // `secret/shop` is no parent of `secret/shopping`.
        None => Err(Widening::exceeds(dimension)),
    }
}

fn is_plain(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte);
    path.split('/').all(|segment| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(plain)
    })
}
