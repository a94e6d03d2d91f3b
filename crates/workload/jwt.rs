use crate::error::InvalidAudience;

/// How many audiences one JWT-SVID may have.
pub const MAX_AUDIENCES: usize = 8;

/// How long one audience may be.
pub const MAX_AUDIENCE_BYTES: usize = 512;

/// Checks the audiences of a request, before anybody is attested for it: they become a key of the
/// cache and a claim of a token.
///
/// # Errors
/// The first rule that one of them breaks.
pub fn check_audience(audience: &[String]) -> Result<(), InvalidAudience> {
    if audience.is_empty() {
        return Err(InvalidAudience::Missing);
    }
    if audience.len() > MAX_AUDIENCES {
        return Err(InvalidAudience::TooMany);
    }
    if audience.iter().any(String::is_empty) {
        return Err(InvalidAudience::Empty);
    }
    if audience.iter().any(|audience| audience.len() > MAX_AUDIENCE_BYTES) {
        return Err(InvalidAudience::TooLong);
    }
    // What JSON would have to escape is in no audience that anybody configures.
    let escaped = |character: char| character.is_control() || matches!(character, '"' | '\\');
    if audience.iter().any(|audience| audience.contains(escaped)) {
        return Err(InvalidAudience::Characters);
    }
    Ok(())
}
