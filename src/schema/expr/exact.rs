//! Exact numbers: fractions of big integers over the decimal text of numbers, bounded in size.

use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::Rounding;

/// Most bits of a numerator or denominator: room for the product of several of the longest number
/// tokens, and not for a formula that grows without end.
const BITS: u64 = 1 << 14;
/// Furthest exponent that is read: beyond it a number has more digits than are computed with.
const EXPONENT: i64 = 2000;

fn power_of_ten(n: u32) -> BigInt {
    BigInt::from(10u8).pow(n)
}

/// The exact value of a number token; `None` where it has too many digits.
pub(super) fn read(token: &str) -> Option<BigRational> {
    let (mantissa, exponent) = match token.find(['e', 'E']) {
        Some(at) => (&token[..at], &token[at + 1..]),
        None => (token, "0"),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = BigInt::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
    if digits.is_zero() {
        return Some(BigRational::zero());
    }
    let exponent: i64 = exponent.parse().ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    if !(-EXPONENT..=EXPONENT).contains(&exponent) {
        return None;
    }
    let digits = if negative { -digits } else { digits };
    let power = power_of_ten(u32::try_from(exponent.unsigned_abs()).ok()?);
    bounded(if exponent < 0 { BigRational::new(digits, power) } else { BigRational::from(digits * power) })
}

/// The value itself, where it is within bounds.
pub(super) fn bounded(value: BigRational) -> Option<BigRational> {
    (value.numer().bits() <= BITS && value.denom().bits() <= BITS).then_some(value)
}

/// The value times ten to the `scale`, rounded to an integer.
fn scaled(value: &BigRational, scale: u32, rounding: Rounding) -> BigInt {
    let numerator = value.numer() * power_of_ten(scale);
    let (quotient, rest) = (&numerator / value.denom(), &numerator % value.denom());
    let twice = rest.abs() * 2u8;
    let up = match (rounding, twice.cmp(value.denom())) {
        (_, _) if rest.is_zero() => false,
        (Rounding::Down, _) | (_, std::cmp::Ordering::Less) => false,
        (_, std::cmp::Ordering::Greater) | (Rounding::HalfUp, _) => true,
        (Rounding::HalfEven, _) => (&quotient % 2u8) != BigInt::zero(),
    };
    let step = if numerator.sign() == Sign::Minus { -BigInt::one() } else { BigInt::one() };
    if up { quotient + step } else { quotient }
}

/// The value rounded to that many digits after the point.
pub(super) fn round(value: &BigRational, scale: u32, rounding: Rounding) -> BigRational {
    BigRational::new(scaled(value, scale, rounding), power_of_ten(scale))
}

/// The value with exactly that many digits after the point.
pub(super) fn print(value: &BigRational, scale: u32, rounding: Rounding) -> String {
    let scaled = scaled(value, scale, rounding);
    let digits = format!("{:0>width$}", scaled.abs().to_string(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let sign = if scaled.sign() == Sign::Minus { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
