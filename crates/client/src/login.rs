//! The client's login, for servers that require one.

use std::path::Path;
use std::time::SystemTime;

use iperf_auth::{AuthError, Padding, Password, PublicKey, token};
use iperf_model::Credentials;

/// All that a login needs: read, or entered by the user, before the test begins.
#[derive(Debug)]
pub struct Login {
    user: String,
    password: Password,
    key: PublicKey,
    padding: Padding,
}

impl Login {
    /// Reads the key, and takes the password from the environment or the terminal. What can't be sent, such as a
    /// password with white space, is an error now and not when the server is connected.
    pub fn prepare(credentials: &Credentials) -> Result<Self, AuthError> {
        let padding = if credentials.pkcs1 {
            Padding::Pkcs1
        } else {
            Padding::Oaep
        };
        let login = Self {
            key: PublicKey::load(&credentials.public_key)?,
            user: credentials.username.clone(),
            password: Password::from_env_or_prompt(&credentials.username)?,
            padding,
        };
        login.token()?;
        Ok(login)
    }

    /// A user with a password, for servers since iperf3 3.17. `key` is the file of the server's public key.
    pub fn new(user: String, password: String, key: &Path) -> Result<Self, AuthError> {
        let login = Self {
            key: PublicKey::load(key)?,
            user,
            password: Password::new(password),
            padding: Padding::Oaep,
        };
        login.token()?;
        Ok(login)
    }

    /// A warning, where the key is weak.
    pub fn weakness(&self) -> Option<&str> {
        self.key.weakness()
    }

    /// A token for right now: it names the time, and is worth something for some seconds only.
    pub(crate) fn token(&self) -> Result<String, AuthError> {
        token(
            &self.key,
            &self.user,
            &self.password,
            SystemTime::now(),
            self.padding,
        )
    }
}
