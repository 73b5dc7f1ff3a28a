//! A server's decision on a login.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use iperf_proto::shown;
use thiserror::Error;

use crate::key::PrivateKey;
use crate::login::{self, Login};
use crate::users::Users;
use crate::{AuthError, Padding};

/// Decides which users may run a test. May be shared by any number of connections.
#[derive(Debug)]
pub struct Authorizer {
    key: PrivateKey,
    users: Users,
    skew: Duration,
}

/// Why a login is refused. This is for the server's own log: a client that learns the reason learns which part of a
/// guess was right. The text holds nothing of the login but the time.
#[derive(Debug, Error)]
pub enum Denied {
    /// The client did not log in.
    #[error("the client sent no login")]
    NoToken,
    /// The token was not made with this server's key, or has other padding, or is not a login.
    #[error("the login can't be read: it is for another key, has other padding, or is damaged")]
    BadToken,
    /// The login is too old, or from the future.
    #[error("{}", skew_message(*.seconds))]
    Skew {
        /// How many seconds the client's clock is ahead; negative when it is behind.
        seconds: i64,
    },
    /// No line of the users file has this name and this password.
    #[error("unknown user or wrong password")]
    UnknownUserOrWrongPassword,
    /// The users file can't be read any more.
    #[error("can't read the users file: {0}")]
    UsersFile(#[source] io::Error),
}

impl Authorizer {
    /// Reads the private key (PEM) and makes sure of the users file. `skew` is how far a client's clock may be from
    /// this one's, in whole seconds.
    pub fn load(
        private_key: &Path,
        users: &Path,
        skew: Duration,
        padding: Padding,
    ) -> Result<Self, AuthError> {
        let key = PrivateKey::load(private_key, padding)?;
        let users = Users::open(users).map_err(|source| AuthError::UsersFile {
            path: users.to_owned(),
            source,
        })?;
        Ok(Self { key, users, skew })
    }

    /// A warning, where the key is weak.
    pub fn weakness(&self) -> Option<&str> {
        self.key.weakness.as_deref()
    }

    /// Whose token this is, as it may be shown, if that user may run a test now.
    ///
    /// Reads the users file and does one RSA operation, about a millisecond of work: in an async program, call it where
    /// blocking is allowed.
    pub fn check(&self, token: Option<&str>, now: SystemTime) -> Result<String, Denied> {
        let token = token.ok_or(Denied::NoToken)?;
        let block = login::block(token, self.key.size()).ok_or(Denied::BadToken)?;
        let text = self.key.decrypt(&block);
        let login = text.as_deref().and_then(|text| Login::parse(text));

        // A block that cannot be decrypted takes as long as one with a wrong password. An attacker that could distinguish the
        // two by time could decrypt recorded logins by trying modified ones (Bleichenbacher's attack on PKCS#1 v1.5).
        let (user, password) = login
            .as_ref()
            .map_or((&b""[..], &b""[..]), |login| (login.user, login.password));
        let known = self.users.know(user, password).map_err(Denied::UsersFile)?;

        let login = login.ok_or(Denied::BadToken)?;
        let seconds = login.seconds.saturating_sub(login::unix_seconds(now));
        if seconds.unsigned_abs() > self.skew.as_secs() {
            return Err(Denied::Skew { seconds });
        }
        if !known {
            return Err(Denied::UnknownUserOrWrongPassword);
        }
        Ok(shown::line(&String::from_utf8_lossy(login.user)))
    }
}

fn skew_message(seconds: i64) -> String {
    let side = if seconds < 0 { "behind" } else { "ahead of" };
    format!(
        "the client's clock is {} s {side} this one's",
        seconds.unsigned_abs()
    )
}
