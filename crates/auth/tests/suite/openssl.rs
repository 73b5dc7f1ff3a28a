//! Keys and blocks made by the `openssl` program, and a server's files around them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iperf_auth::{Authorizer, Denied, Padding, Password, PublicKey, token};
use tempfile::TempDir;

/// The time that these tests have.
pub(crate) const NOW: u64 = 1_795_368_534;

/// `printf '{mario}rossi' | sha256sum`
pub(crate) const MARIO: &str =
    "mario,bf7a49a846d44b454a5d11e7acfaf13d138bbe0b7483aa3e050879700572709b\n";

pub(crate) const PADDINGS: [Padding; 2] = [Padding::Oaep, Padding::Pkcs1];

/// Runs `openssl` with words that are separated by blanks, in a folder; what it writes to stdout.
pub(crate) fn openssl(folder: &Path, words: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program openssl");
    // The program may end without having read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "openssl {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A key in all the forms that a file may have. Making one takes a while, so all tests share it.
pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);

pub(crate) struct Keys(TempDir);

impl Keys {
    fn new() -> Self {
        // A static is never dropped, so this folder stays behind, where builds clean up.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for words in [
            "genrsa -out private.pem 2048",
            "rsa -in private.pem -traditional -out private-rsa.pem",
            "rsa -in private.pem -pubout -out public.pem",
            "rsa -in private.pem -RSAPublicKey_out -out public-rsa.pem",
            "rsa -in private.pem -aes128 -passout pass:x -out encrypted.pem",
            "rsa -in private.pem -traditional -aes128 -passout pass:x -out encrypted-rsa.pem",
        ] {
            openssl(folder.path(), words, b"");
        }
        Self(folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::load(&self.path("public.pem")).unwrap()
    }

    /// A token as a client makes it.
    pub(crate) fn token(&self, user: &str, password: &str, padding: Padding) -> String {
        token(
            &self.public(),
            user,
            &Password::new(password),
            at(0),
            padding,
        )
        .unwrap()
    }

    /// A server with this users file.
    pub(crate) fn server(&self, users: &str, padding: Padding) -> Server {
        Server::new(&self.path("private.pem"), users, padding)
    }
}

/// An authorizer and its users file.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) authorizer: Authorizer,
}

impl Server {
    pub(crate) fn new(private_key: &Path, users: &str, padding: Padding) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.csv");
        fs::write(&path, users).unwrap();
        let skew = Duration::from_secs(10);
        let authorizer = Authorizer::load(private_key, &path, skew, padding).unwrap();
        Self { folder, authorizer }
    }

    pub(crate) fn users(&self) -> PathBuf {
        self.folder.path().join("users.csv")
    }

    /// Its verdict on a token at the time that the tests use.
    pub(crate) fn check(&self, token: &str) -> Result<String, Denied> {
        self.authorizer.check(Some(token), at(0))
    }
}

/// The time of the tests, and some seconds more.
pub(crate) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.checked_add_signed(seconds).unwrap())
}
