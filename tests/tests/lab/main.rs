//! Tests in virtual machines: what needs modules, guests or configurations that this machine does not have.

mod encounter;
mod machines;
mod modes;
mod module;
mod zerocopy;
