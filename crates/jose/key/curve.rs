//! Whether a point lies on its curve. Public data only: nothing here needs constant time.

use std::sync::LazyLock;

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
        let field: &Field = match self {
            Self::P256 => &P256,
            Self::P384 => &P384,
        };
        let (Some(x), Some(y)) = (from_bytes(x), from_bytes(y)) else { return false };
        if !less(&x, &field.prime) || !less(&y, &field.prime) {
            return false;
        }
        let (x, y) = (field.enter(&x), field.enter(&y));
        let cube = field.multiply(&field.multiply(&x, &x), &x);
        let three_x = field.add(&field.add(&x, &x), &x);
        field.multiply(&y, &y) == field.add(&field.subtract(&cube, &three_x), &field.b)
    }
}

static P256: LazyLock<Field> = LazyLock::new(|| Field::new(P256_PRIME, P256_B));
static P384: LazyLock<Field> = LazyLock::new(|| Field::new(P384_PRIME, P384_B));

/// Arithmetic below a prime. What is multiplied is in Montgomery's form, `n · 2^384` for the number n
/// ("Modular multiplication without trial division", 1985).
struct Field {
    prime: Number,
    /// What times the prime is -1, by the lowest 64 bits.
    inverse: u64,
    /// `2^768`.
    entry: Number,
    /// The curve's b, in Montgomery's form.
    b: Number,
}

impl Field {
    fn new(prime: &str, b: &str) -> Self {
        let prime = from_hex(prime);
        let [lowest, ..] = prime;
        // Newton's iteration: each turn doubles the bits that are right, of which an odd number has three at first.
        let inverse = (0..5).fold(lowest, |inverse: u64, _turn| {
            inverse.wrapping_mul(2_u64.wrapping_sub(lowest.wrapping_mul(inverse)))
        });
        let inverse = inverse.wrapping_neg();
        let mut field =
            Self { prime, inverse, entry: from_bytes(&[1]).unwrap_or_default(), b: [0; 6] };
        field.entry = (0..768).fold(field.entry, |power, _bit| field.add(&power, &power));
        field.b = field.enter(&from_hex(b));
        field
    }

    /// Into Montgomery's form.
    fn enter(&self, number: &Number) -> Number {
        self.multiply(number, &self.entry)
    }

    fn add(&self, a: &Number, b: &Number) -> Number {
        let (sum, carry) = add(a, b);
        if carry || !less(&sum, &self.prime) { subtract(&sum, &self.prime) } else { sum }
    }

    fn subtract(&self, a: &Number, b: &Number) -> Number {
        if less(a, b) { subtract(&add(a, &self.prime).0, b) } else { subtract(a, b) }
    }

    /// `a · b / 2^384`: a limb of b at a time, and as many times the prime as makes the lowest limb zero, which goes.
    fn multiply(&self, a: &Number, b: &Number) -> Number {
        let (mut product, mut above) = ([0; 6], 0);
        for limb in b {
            let first = add_times(&mut product, a, *limb);
            let [lowest, ..] = product;
            let second = add_times(&mut product, &self.prime, lowest.wrapping_mul(self.inverse));
            let (top, one) = first.overflowing_add(above);
            let (top, two) = top.overflowing_add(second);
            product.rotate_left(1);
            let [.., highest] = &mut product;
            (*highest, above) = (top, u64::from(one) + u64::from(two));
        }
        if above != 0 || !less(&product, &self.prime) {
            subtract(&product, &self.prime)
        } else {
            product
        }
    }
}

/// Adds so many times `a`; what is carried over.
fn add_times(sum: &mut Number, a: &Number, times: u64) -> u64 {
    sum.iter_mut().zip(a).fold(0, |carry, (sum, limb)| {
        let (low, high) = limb.carrying_mul_add(times, *sum, carry);
        *sum = low;
        high
    })
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
    use super::{Curve, Field, Number};

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
    fn products_are_those_of_doubling_and_adding() {
        for field in [&*super::P256, &*super::P384] {
            let mut number = super::from_hex("123456789abcdef0fedcba9876543210");
            let minus_one = super::subtract(&field.prime, &super::from_hex("1"));
            for other in [super::from_hex("0"), super::from_hex("1"), minus_one] {
                assert_eq!(product(field, &minus_one, &other), slowly(field, &minus_one, &other));
            }
            for _ in 0..200 {
                let next = slowly(field, &number, &minus_one);
                let square = slowly(field, &next, &number);
                assert_eq!(product(field, &next, &number), square);
                number = field.add(&square, &next);
            }
        }
    }

    /// Out of Montgomery's form by a multiplication with one.
    fn product(field: &Field, a: &Number, b: &Number) -> Number {
        let product = field.multiply(&field.enter(a), &field.enter(b));
        field.multiply(&product, &super::from_hex("1"))
    }

    fn slowly(field: &Field, a: &Number, b: &Number) -> Number {
        let mut product = [0; 6];
        for limb in b.iter().rev() {
            for bit in (0..64).rev() {
                product = field.add(&product, &product);
                if limb >> bit & 1 == 1 {
                    product = field.add(&product, a);
                }
            }
        }
        product
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
