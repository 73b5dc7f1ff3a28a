//! Opening and accepting data streams, per transport.

pub mod tcp;
