//! What no sample shows: failures, other transports, missing results, several tests on one sink.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod case;
mod failures;
mod losses;
mod output;
#[path = "../support/mod.rs"]
mod support;
mod transports;
