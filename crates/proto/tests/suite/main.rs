//! The protocol as a whole: both machines against each other in virtual time, against recordings of real iperf3
//! processes, and each against everything that a peer might say.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod alive;
mod counts;
mod endings;
mod modes;
mod pair;
mod params;
mod properties;
mod replay;
mod results;
mod summary;
mod table;
