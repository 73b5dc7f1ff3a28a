//! A login: user, password and time; as text, and as the token that is sent.
//!
//! ```text
//! user: mario
//! pwd:  rossi
//! ts:   1795368534        no line feed at the end
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::{AuthError, Padding, Password, PublicKey};

/// Makes the token by which `user` logs in within seconds of `now`: base64, one line.
pub fn token(
    key: &PublicKey,
    user: &str,
    password: &Password,
    now: SystemTime,
    padding: Padding,
) -> Result<String, AuthError> {
    let login = Login {
        user: user.as_bytes(),
        password: password.as_bytes(),
        seconds: unix_seconds(now),
    };
    for (what, text) in [("user name", login.user), ("password", login.password)] {
        if !is_word(text) {
            return Err(AuthError::Unsendable { what });
        }
    }
    let text = login.compose();
    let names = login.user.len() + login.password.len();
    let room = key.room(padding);
    if text.len() > room {
        return Err(AuthError::TooLong {
            room: room.saturating_sub(text.len() - names),
        });
    }
    Ok(STANDARD.encode(key.encrypt(&text, padding)?))
}

/// The block in a token of at most `size` bytes. Anything longer is refused unread.
pub(crate) fn block(token: &str, size: usize) -> Option<Vec<u8>> {
    if token.len() > size.div_ceil(3) * 4 {
        return None;
    }
    STANDARD.decode(token).ok()
}

/// Seconds since 1970, negative before.
pub(crate) fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs());
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => seconds(since).unwrap_or(i64::MAX),
        Err(before) => seconds(before.duration()).map_or(i64::MIN, |seconds| -seconds),
    }
}

/// The content of a token.
pub(crate) struct Login<'a> {
    pub(crate) user: &'a [u8],
    pub(crate) password: &'a [u8],
    /// Seconds since 1970.
    pub(crate) seconds: i64,
}

impl<'a> Login<'a> {
    fn compose(&self) -> Zeroizing<Vec<u8>> {
        let time = self.seconds.to_string();
        let parts = [
            b"user: ".as_slice(),
            self.user,
            b"\npwd:  ",
            self.password,
            b"\nts:   ",
            time.as_bytes(),
        ];
        // `concat` allocates once, so no half-made copy stays behind.
        Zeroizing::new(parts.concat())
    }

    /// Reads a text as servers read it: labels in this order, each value up to white space, and any white space or
    /// none between them. A NUL ends the text, and what follows the digits of the time is ignored.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.split(|&byte| byte == 0).next()?;
        let (user, text) = word(text.strip_prefix(b"user:")?)?;
        let (password, text) = word(skip_space(text).strip_prefix(b"pwd:")?)?;
        let (time, _) = word(skip_space(text).strip_prefix(b"ts:")?)?;
        let sign = usize::from(time.starts_with(b"-") || time.starts_with(b"+"));
        let digits = time[sign..].iter().take_while(|byte| byte.is_ascii_digit());
        let number = &time[..sign + digits.count()];
        Some(Self {
            user,
            password,
            seconds: str::from_utf8(number).ok()?.parse().ok()?,
        })
    }
}

/// The first word of a text, and the rest.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = skip_space(text);
    let end = text.iter().position(|&byte| is_space(byte));
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (!word.is_empty()).then_some((word, rest))
}

fn skip_space(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte));
    &text[start.unwrap_or(text.len())..]
}

/// Whether a server reads all of it as one value.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && !text.iter().any(|&byte| byte == 0 || is_space(byte))
}

/// White space as C's `isspace` has it, which counts the vertical tab too.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parsed(text: &str) -> Option<(&str, &str, i64)> {
        let login = Login::parse(text.as_bytes())?;
        let text = |bytes| str::from_utf8(bytes).unwrap();
        Some((text(login.user), text(login.password), login.seconds))
    }

    #[test]
    fn a_login_has_three_lines() {
        let login = Login {
            user: b"mario",
            password: b"rossi",
            seconds: 1_795_368_534,
        };
        let text = login.compose();
        assert_eq!(&text[..], b"user: mario\npwd:  rossi\nts:   1795368534");
        let read = parsed(str::from_utf8(&text).unwrap());
        assert_eq!(read, Some(("mario", "rossi", 1_795_368_534)));
    }

    #[test]
    fn any_white_space_separates_the_lines_of_a_login() {
        for text in [
            "user:mario pwd:rossi ts:12",
            "user:\t mario\r\n\n pwd:\x0brossi\x0cts: 12",
            "user: mario\npwd:  rossi\nts:   +12\nmore",
            "user: mario\npwd:  rossi\nts:   12s",
            "user: mario\npwd:  rossi\nts:   12\0 9",
        ] {
            assert_eq!(parsed(text), Some(("mario", "rossi", 12)), "{text:?}");
        }
        assert_eq!(
            parsed("user: pwd: pwd: ts: ts: -7"),
            Some(("pwd:", "ts:", -7))
        );
    }

    #[test]
    fn incomplete_logins_are_refused() {
        for text in [
            "",
            "user:",
            " user: mario\npwd:  rossi\nts:   12",
            "User: mario\npwd:  rossi\nts:   12",
            "user: mario pwd rossi",
            "user: mario rossi\npwd:  rossi\nts:   12",
            "user: mario\npwd:  \nts:   12",
            "user: mario\npwd:  rossi",
            "user: mario\npwd:  rossi\nts:",
            "user: mario\npwd:  rossi\nts:   -",
            "user: mario\npwd:  rossi\nts:   x12",
            "user: mario\npwd:  rossi\nts:   9223372036854775808",
            "user: mario\0\npwd:  rossi\nts:   12",
            "ts: 12\npwd: rossi\nuser: mario",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_token_longer_than_a_block_is_not_decoded() {
        let fits = STANDARD.encode([7; 256]);
        assert_eq!(fits.len(), 344);
        assert_eq!(block(&fits, 256), Some(vec![7; 256]));
        assert_eq!(block(&STANDARD.encode([7; 259]), 256), None);
        assert_eq!(block("not base64!", 256), None);
    }

    #[test]
    fn there_were_times_before_1970() {
        assert_eq!(unix_seconds(UNIX_EPOCH + Duration::from_millis(1999)), 1);
        assert_eq!(unix_seconds(UNIX_EPOCH - Duration::from_secs(3)), -3);
    }
}
