//! The file of users: one `name,hash` per line, where hash is SHA-256 of `{name}password` in lower-case hex digits.
//!
//! Empty lines, lines without a comma, lines that start with `#` and lines of more than 1023 bytes are ignored.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use zeroize::Zeroizing;

use crate::file;

/// The longest line, without its end.
const LINE_LIMIT: usize = 1023;

/// A file of users. It is read at each login, so users come and go without a restart.
#[derive(Debug)]
pub(crate) struct Users {
    path: PathBuf,
}

impl Users {
    /// Remembers the file, if it can be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let users = Self {
            path: path.to_owned(),
        };
        users.read().map(|_| users)
    }

    /// Whether there is such a user with such a password.
    pub(crate) fn know(&self, user: &[u8], password: &[u8]) -> io::Result<bool> {
        let file = self.read()?;
        let hash = hash(user, password);
        // Every line is processed in the same way, whether or not its name matches, so that the time does not reveal which
        // names exist.
        Ok(entries(&file).fold(false, |known, (name, wanted)| {
            known | (is_same(name, user) & is_same(wanted, &hash[..]))
        }))
    }

    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        file::read(&self.path)
    }
}

/// Names and hashes.
fn entries(file: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    file.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_LIMIT || line.starts_with(b"#") {
            return None;
        }
        let comma = line.iter().position(|&byte| byte == b',')?;
        Some((&line[..comma], &line[comma + 1..]))
    })
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

/// What the file has for a user with this password.
fn hash(user: &[u8], password: &[u8]) -> Zeroizing<[u8; 2 * SHA256_OUTPUT_LEN]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut context = Context::new(&SHA256);
    for part in [b"{", user, b"}", password] {
        context.update(part);
    }
    let mut hex = Zeroizing::new([0; 2 * SHA256_OUTPUT_LEN]);
    for (pair, byte) in hex.chunks_exact_mut(2).zip(context.finish().as_ref()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '{mario}rossi' | sha256sum`
    const HASH: &str = "bf7a49a846d44b454a5d11e7acfaf13d138bbe0b7483aa3e050879700572709b";

    #[test]
    fn a_hash_covers_name_and_password() {
        assert_eq!(str::from_utf8(&hash(b"mario", b"rossi")[..]), Ok(HASH));
        assert_ne!(hash(b"mario", b"rossi"), hash(b"mario}", b"rossi"));
    }

    fn names(file: &[u8]) -> Vec<&[u8]> {
        entries(file).map(|(name, _)| name).collect()
    }

    #[test]
    fn only_lines_with_name_and_hash_count() {
        let file = b"a,1\r\n\r\n\n#b,2\nc\n d ,3\n,4\ne,5,6\n\xff,7\nf,8";
        let read: Vec<_> = entries(file).collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"a", b"1"),
            (b" d ", b"3"),
            (b"", b"4"),
            (b"e", b"5,6"),
            (b"\xff", b"7"),
            (b"f", b"8"),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_line_has_at_most_1023_bytes() {
        let name = "x".repeat(1021);
        let file = format!("{name},1\r\n{name}y,1\na,1\n");
        assert_eq!(names(file.as_bytes()), [name.as_bytes(), b"a"]);
    }
}
