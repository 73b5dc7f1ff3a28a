//! Logins from end to end: between the two halves of the crate, and with the `openssl` program as either half, as
//! iperf3 uses OpenSSL.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod check;
mod files;
mod interop;
mod openssl;
mod properties;
