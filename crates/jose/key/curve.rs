//! Whether a point lies on its curve. Public data only: nothing here needs constant time.

/// The curves y² = x³ - 3x + b over a prime field (SP 800-186).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

/// Six 64-bit limbs, least significant first; P-256 leaves the upper two at zero.
type Number = [u64; 6];

const P256_PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
const P256_B: &str = "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b";
const P384_PRIME: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff";
const P384_B: &str = "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef";

impl Curve {
    /// The length of one coordinate.
    pub(super) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// Whether `x || y` satisfies the equation with both coordinates below the prime. (The point at infinity has no
    /// such encoding, and both curves have cofactor 1, so nothing else is to check.)
    pub(super) fn contains(self, coordinates: &[u8]) -> bool {
        let Some((x, y)) = coordinates.split_at_checked(self.coordinate_bytes()) else {
            return false;
        };
        let (prime, b) = match self {
            Self::P256 => (P256_PRIME, P256_B),
            Self::P384 => (P384_PRIME, P384_B),
        };
        let field = Field { prime: from_hex(prime) };
        let (Some(x), Some(y)) = (from_bytes(x), from_bytes(y)) else { return false };
        if !less(&x, &field.prime) || !less(&y, &field.prime) {
            return false;
        }
        let cube = field.multiply(&field.multiply(&x, &x), &x);
        let three_x = field.add(&field.add(&x, &x), &x);
        field.multiply(&y, &y) == field.add(&field.subtract(&cube, &three_x), &from_hex(b))
    }
}

/// Arithmetic below a prime.
struct Field {
    prime: Number,
}

impl Field {
    fn add(&self, a: &Number, b: &Number) -> Number {
        let (sum, carry) = add(a, b);
        if carry || !less(&sum, &self.prime) { subtract(&sum, &self.prime) } else { sum }
    }

    fn subtract(&self, a: &Number, b: &Number) -> Number {
        if less(a, b) { subtract(&add(a, &self.prime).0, b) } else { subtract(a, b) }
    }

    /// Double and add, from the most significant bit down.
    fn multiply(&self, a: &Number, b: &Number) -> Number {
        let mut product = [0; 6];
        for limb in b.iter().rev() {
            for bit in (0..64).rev() {
                product = self.add(&product, &product);
                if limb >> bit & 1 == 1 {
                    product = self.add(&product, a);
                }
            }
        }
        product
    }
}

fn add(a: &Number, b: &Number) -> (Number, bool) {
    let mut sum = [0; 6];
    let mut carry = false;
    for (out, (a, b)) in sum.iter_mut().zip(a.iter().zip(b)) {
        let (partial, first) = a.overflowing_add(*b);
        let (total, second) = partial.overflowing_add(u64::from(carry));
        *out = total;
        carry = first | second;
    }
    (sum, carry)
}

fn subtract(a: &Number, b: &Number) -> Number {
    let mut difference = [0; 6];
    let mut borrow = false;
    for (out, (a, b)) in difference.iter_mut().zip(a.iter().zip(b)) {
        let (partial, first) = a.overflowing_sub(*b);
        let (total, second) = partial.overflowing_sub(u64::from(borrow));
        *out = total;
        borrow = first | second;
    }
    difference
}

fn less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// Big-endian bytes; `None` when there are more than 48.
fn from_bytes(bytes: &[u8]) -> Option<Number> {
    let mut number = [0; 6];
    for (index, byte) in bytes.iter().rev().enumerate() {
        *number.get_mut(index / 8)? |= u64::from(*byte) << (8 * (index % 8));
    }
    Some(number)
}

/// The constants above.
fn from_hex(digits: &str) -> Number {
    let mut number = [0; 6];
    for (index, digit) in digits.chars().rev().enumerate() {
        if let (Some(limb), Some(value)) = (number.get_mut(index / 16), digit.to_digit(16)) {
            *limb |= u64::from(value) << (4 * (index % 16));
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::Curve;

    const P256_G: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    const P384_G: &str = "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f";

    #[test]
    fn the_base_points_are_on_their_curves() {
        assert!(Curve::P256.contains(&hex::decode(P256_G).unwrap()));
        assert!(Curve::P384.contains(&hex::decode(P384_G).unwrap()));
    }

    #[test]
    fn a_point_with_one_changed_bit_is_not() {
        for (curve, point) in [(Curve::P256, P256_G), (Curve::P384, P384_G)] {
            let point = hex::decode(point).unwrap();
            for index in 0..point.len() {
                let mut changed = point.clone();
                changed[index] ^= 1;
                assert!(!curve.contains(&changed), "{curve:?} {index}");
            }
        }
    }

    #[test]
    fn zero_and_coordinates_not_below_the_prime_are_not() {
        assert!(!Curve::P256.contains(&[0; 64]));
        assert!(!Curve::P256.contains(&[0xff; 64]));
        assert!(!Curve::P384.contains(&[0xff; 96]));
        assert!(!Curve::P256.contains(&[]));
    }

    #[test]
    fn keys_made_by_ring_are_on_their_curves() {
        use ring::signature::{self, EcdsaKeyPair, KeyPair as _};
        let random = crate::tests::random();
        for (curve, algorithm) in [
            (Curve::P256, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Curve::P384, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ] {
            for _ in 0..8 {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
                assert!(curve.contains(&pair.public_key().as_ref()[1..]));
            }
        }
    }
}
