//! Logins: how a client proves to a server that it may run a test.
//!
//! A client has a user name, a password and the server's public RSA key; a server has the private key and a file of
//! users. The client puts name, password and time into three lines, encrypts them and sends the result among the
//! parameters of the test; the server answers nothing to a login that it refuses.
//!
//! ```text
//! Password ─┐
//! name ─────┼─► three lines ──RSA──► base64 ═══ authtoken ═══► base64 ──RSA──► three lines ──► users file, clock
//! time ─────┘      token(PublicKey)                                  Authorizer::check
//! ```
//!
//! What this protects: the password on the wire, and the server from clients without a password. What it does not protect:
//! there is no challenge, so a recorded login can be replayed until the clocks are too far apart, and the test itself is
//! neither encrypted nor authenticated. The protocol leaves no choice in either.
//!
//! Passwords are wiped from memory when they are no longer needed and appear in no message.

mod authorizer;
mod der;
mod error;
mod file;
mod key;
mod login;
mod password;
mod small;
mod users;

pub use authorizer::{Authorizer, Denied};
pub use error::{AuthError, KeyProblem};
pub use file::{open, read};
pub use key::{Padding, PublicKey};
pub use login::token;
pub use password::Password;
