//! The text of a system error, as `strerror` or the resolver has it, without the standard library's additions.

use std::io;

/// The standard library's prefix for errors of the resolver.
const RESOLVER: &str = "failed to lookup address information: ";

/// Its suffix, followed by the number, for errors of the system.
const NUMBER: &str = " (os error ";

/// The reason that the system or the resolver gives.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix(RESOLVER).unwrap_or(&text);
    let number = text.rfind(NUMBER).filter(|_| text.ends_with(')'));
    text[..number.unwrap_or(text.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_system_error_is_removed() {
        let refused = io::Error::from_raw_os_error(22);
        assert_eq!(reason(&refused), "Invalid argument");
        let wrapped = io::Error::other(format!("bind: {refused}"));
        assert_eq!(reason(&wrapped), "bind: Invalid argument");
        let resolver = format!("{RESOLVER}Name or service not known");
        assert_eq!(
            reason(&io::Error::other(resolver)),
            "Name or service not known"
        );
        let quoted = "file (os error 2) is missing";
        assert_eq!(reason(&io::Error::other(quoted)), quoted);
    }
}
