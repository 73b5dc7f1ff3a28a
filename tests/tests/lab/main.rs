//! Tests in virtual machines: what needs modules, guests or configurations that this machine does not have.

mod bad_input;
mod encounter;
mod endurance;
mod exchanges;
mod firecracker;
mod hairpin;
mod killed;
mod limits;
mod machines;
mod many_tests;
mod modes;
mod module;
mod movers;
mod network;
mod outputs;
mod pages;
mod shortage;
mod unbind;
mod zerocopy;
