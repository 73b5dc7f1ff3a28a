//! Why an end can't log in, or can't let others log in, in iperf3's words and then our own.

use std::io;
use std::path::PathBuf;

use iperf_model::reason;
use iperf_proto::Code;
use thiserror::Error;

/// Why authentication can't be set up or used on this end. The text never holds a password.
#[derive(Debug, Error)]
pub enum AuthError {
    /// There is no terminal to ask for the password.
    #[error("{}: no password for {user}: IPERF3_PASSWORD is not set and stdin is not a terminal", self.code())]
    NoPassword {
        /// The user of the login.
        user: String,
    },
    /// The terminal does not work.
    #[error("{}: can't ask for the password: {}", self.code(), reason(.0))]
    Prompt(#[source] io::Error),
    /// A client's key can't be used.
    #[error("{}: {}: {problem}", self.code(), .path.display())]
    PublicKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// A server's key can't be used.
    #[error("{}: {}: {problem}", self.code(), .path.display())]
    PrivateKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// A server's file of users can't be read.
    #[error("{}: {}: {}", self.code(), .path.display(), reason(.source))]
    UsersFile {
        /// The file.
        path: PathBuf,
        /// Why it can't be read.
        source: io::Error,
    },
    /// A server splits a login at white space, so this one would not arrive as it is.
    #[error("{}: the {what} must be neither empty nor contain white space", self.code())]
    Unsendable {
        /// The user name or the password.
        what: &'static str,
    },
    /// A login is one RSA block.
    #[error("{}: this key has room for {room} bytes of user name and password together", self.code())]
    TooLong {
        /// The most bytes that name and password may have.
        room: usize,
    },
    /// The library refused to encrypt, without a reason.
    #[error("{}: the login can't be encrypted", self.code())]
    Encryption,
}

impl AuthError {
    /// The error of iperf3 that this is a case of.
    pub fn code(&self) -> Code {
        match self {
            Self::NoPassword { .. }
            | Self::Prompt(_)
            | Self::PublicKey { .. }
            | Self::Unsendable { .. }
            | Self::TooLong { .. }
            | Self::Encryption => Code::CLIENT_AUTH,
            Self::PrivateKey { .. } => Code::SERVER_AUTH,
            Self::UsersFile { .. } => Code::USERS_FILE,
        }
    }
}

/// What is wrong with a key.
#[derive(Debug, Error)]
pub enum KeyProblem {
    /// The file can't be read.
    #[error("{}", reason(.0))]
    Unreadable(#[source] io::Error),
    /// The file has dashes like PEM, but not its form, or what is in it is no key.
    #[error("the PEM text is damaged")]
    Damaged,
    /// The file has no key of the kind that is needed.
    #[error("the file holds no {wanted} in PEM form{}", instead(.found))]
    Missing {
        /// What is needed.
        wanted: &'static str,
        /// What the blocks of the file are called.
        found: Vec<String>,
    },
    /// The key is under a passphrase.
    #[error("the key is encrypted; a key without passphrase is needed")]
    Encrypted,
    /// The key is for another algorithm.
    #[error("the key is {0}; an RSA key is needed")]
    OtherKind(String),
    /// The key has this many bits.
    #[error("the RSA key has {0} bits; 1024 to 8192 are possible")]
    Size(usize),
}

fn instead(found: &[String]) -> String {
    match found {
        [] => String::new(),
        found => format!(", but {}", found.join(" and ")),
    }
}
