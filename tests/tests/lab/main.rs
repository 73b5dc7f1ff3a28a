//! Tests in virtual machines: what needs modules, guests or configurations that this machine does not have.

mod machines;
mod module;
