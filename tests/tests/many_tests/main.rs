//! A server that runs several tests at the same time (`--tests`), for unmodified iperf3 clients and ours.

mod counters;
mod crowd;
mod limits;
mod outputs;
mod successive;
mod sustained;
mod undelayed;
mod wait;
