//! Zero-copy between two programs: what each mode does, what it reports, and what happens when it can't.
//!
//! - [`modes`]: each way to send with each way to receive, and the accounts of both ends
//! - [`carriers`]: what is not TCP
//! - [`mapping`]: where segments fill pages, receivers map
//! - [`strict`]: copying is an error on request
//! - [`verify`]: what arrives is what was sent, and which end reports a difference
//! - [`peers`]: real iperf3 at the other end
//! - [`limits`]: a kernel that pins no memory
//! - [`extensions`]: requests that a server ignores or refuses
//! - [`lying_servers`]: grants and reports that cannot be true
//!
//! `IPERF_CASE=text` runs only the cases whose name contains the text.

mod account;
mod carriers;
mod extensions;
mod limits;
mod lying_servers;
mod mapping;
mod modes;
mod peers;
mod strict;
mod verify;
