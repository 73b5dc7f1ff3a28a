//! What limited a throughput test: the members of `end.limits`.

use iperf_model::Limitation;
use serde::{Deserialize, Serialize};

use super::direction_of;

/// **Own**: a cause that held for a part of the test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// The direction that it is about: `client to server` or `server to client`.
    pub direction: String,
    /// What it was: `receive window`, `send buffer`, `congestion`, `sender's CPU`, `receiver's CPU`, `receiver's
    /// socket buffer`, `vsock credit`, `-b`, `--fq-rate`, `application`, `link`, `interface drops`, `CPU quota`, `steal
    /// time`, `unknown`.
    pub cause: String,
    /// For which part of the test, from 0 to 1; of losses, the part of the data.
    pub share: f64,
    /// The evidence.
    pub evidence: String,
}

impl Limit {
    pub(crate) fn of(limit: &Limitation, is_client: bool) -> Self {
        Self {
            direction: direction_of(limit.role, is_client).to_owned(),
            cause: limit.cause.name().to_owned(),
            share: limit.share,
            evidence: limit.evidence.clone(),
        }
    }
}
