//! The protocol as a whole: both machines against each other in virtual time, against recordings of real iperf3
//! processes, and each against everything that a peer might send.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod alive;
mod commands;
mod counts;
mod endings;
mod extensions;
mod modes;
mod pair;
mod params;
mod phases;
mod properties;
mod recorded;
mod recording;
mod replay;
mod results;
mod summary;
mod table;
