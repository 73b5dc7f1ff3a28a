//! A peer's text, made safe to show in a terminal, a log or a document.
//!
//! Text from the wire passes through here where it is read, so that later code need not care. Control characters, line
//! breaks and bidirectional formatting characters become U+FFFD.
//!
//! ```text
//! line    names, reasons, errors     no line ends
//! block   a server's output, -T      line ends and tabs stay
//! json    a server's document        the same for raw and for escaped characters
//! ```

use std::borrow::Cow;

/// Text that is shown within a line.
pub fn line(text: &str) -> String {
    let shown = |c| if is_active(c) { REPLACED } else { c };
    text.chars().map(shown).collect()
}

/// Text of several lines.
pub(crate) fn block(text: &str) -> String {
    let shown = |c| match c {
        '\n' | '\t' => c,
        c if is_active(c) => REPLACED,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// The source of a JSON value. Control characters that it escapes stay, since they are escaped again when printed.
pub(crate) fn json(source: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_graphic() || matches!(c, ' ' | '\n' | '\t' | '\r');
    if source.chars().all(is_plain) && !source.contains("\\u") {
        return Cow::Borrowed(source);
    }
    let mut shown = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let (length, active) = if c == '\\' {
            escape(rest)
        } else {
            let blank = matches!(c, '\n' | '\t' | '\r');
            (c.len_utf8(), !blank && is_active(c))
        };
        if active {
            shown.push(REPLACED);
        } else {
            shown.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    Cow::Owned(shown)
}

/// The replacement for a character that is not shown.
const REPLACED: char = char::REPLACEMENT_CHARACTER;

/// The length of the escape at the beginning, and whether it means a character that JSON would print as it is.
fn escape(text: &str) -> (usize, bool) {
    let code = text
        .get(2..6)
        .filter(|_| text[1..].starts_with('u'))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .and_then(char::from_u32);
    match code {
        Some(c) => (6, c >= ' ' && is_active(c)),
        // The backslash and what it escapes, so that an escaped backslash starts no escape.
        None => (
            1 + text[1..].chars().next().map_or(0, char::len_utf8),
            false,
        ),
    }
}

/// Whether a character does more than occupy its place.
fn is_active(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns || breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_character_that_does_something() {
        let text =
            "a\u{1b}[31m\n\r\t\0\u{7f}\u{9b}\u{202e}\u{2066}\u{200f}\u{2028}é 漢 👩\u{200d}👩";
        let want = format!(
            "a{0}[31m{1}é 漢 👩\u{200d}👩",
            '\u{fffd}',
            "\u{fffd}".repeat(10)
        );
        assert_eq!(line(text), want);
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("a\tb\nc\r\u{1b}"), "a\tb\nc\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_document_is_shown_as_it_is_but_for_what_does_something() {
        for plain in [r#"{"a": "b\n\\u202e \"c\"", "d": [1.50, null]}"#, "{}\n"] {
            assert_eq!(json(plain), plain);
        }
        for (source, want) in [
            (
                "{\"a\u{202e}\": \"\u{9b}\u{7f}\"}",
                "{\"a\u{fffd}\": \"\u{fffd}\u{fffd}\"}",
            ),
            (
                r#""\u202E\u009b\u2028\u007f""#,
                "\"\u{fffd}\u{fffd}\u{fffd}\u{fffd}\"",
            ),
            (
                r#""\u0041\u001b\u00e9\ud83d\ude00""#,
                r#""\u0041\u001b\u00e9\ud83d\ude00""#,
            ),
            (r#""\\\u202e""#, "\"\\\\\u{fffd}\""),
        ] {
            assert_eq!(json(source), want);
            let value: Result<serde_json::Value, _> = serde_json::from_str(&json(source));
            assert!(value.is_ok(), "{source}");
        }
    }

    /// Not JSON, cut anywhere: it is passed on, without a panic.
    #[test]
    fn what_is_no_json_does_no_harm() {
        for text in ["\\", "\\u", "\\u20", "\\u20é", "\\é", "\\u202", "\"\\ud83d"] {
            assert_eq!(json(text), text);
        }
    }
}
