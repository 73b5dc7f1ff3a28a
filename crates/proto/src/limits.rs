//! What one end found to limit a test, for a peer of this program: a member of the results.
//!
//! ```json
//! [{"sends":true,"cause":"receive window","share":0.71,"evidence":"71 % of the time"}]
//! ```

use iperf_model::{Cause, Limitation, Role};
use serde_json::{Value, json};

use crate::json::Fields;
use crate::shown;

/// The most that are read.
const MOST: usize = 16;
/// The most characters of an evidence.
const LONGEST: usize = 200;

/// The member for the peer.
pub(crate) fn to_json(limits: &[Limitation]) -> Value {
    let limits = limits.iter().map(|limit| {
        json!({ "sends": limit.role.sends(), "cause": limit.cause.name(), "share": limit.share, "evidence": limit.evidence })
    });
    limits.collect()
}

/// The peer's, as it sees them. Causes that this version does not know are left out.
pub(crate) fn parse(results: &Fields<'_>) -> Vec<Limitation> {
    let limits = results.objects("limits").unwrap_or_default();
    let limits = limits.iter().take(MOST).filter_map(|limit| {
        let evidence = shown::line(&limit.string("evidence").unwrap_or_default());
        Some(Limitation {
            role: Role::of(limit.truth("sends")),
            cause: Cause::from_name(&limit.string("cause")?)?,
            share: limit.number("share").unwrap_or(0.0).clamp(0.0, 1.0),
            evidence: evidence.chars().take(LONGEST).collect(),
        })
    });
    limits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_were_written() {
        let limits = vec![Limitation {
            role: Role::Sender,
            cause: Cause::ReceiveWindow,
            share: 0.5,
            evidence: "50 % of the time".to_owned(),
        }];
        let results = json!({ "limits": to_json(&limits) }).to_string();
        assert_eq!(parse(&Fields::parse(&results).unwrap()), limits);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let results =
            r#"{"limits":[{"cause":"magic"},{},{"cause":"-b","share":7e9,"evidence":"a\u001bb"}]}"#;
        let read = parse(&Fields::parse(results).unwrap());
        assert_eq!(read.len(), 1);
        assert_eq!(
            (read[0].cause, read[0].evidence.as_str()),
            (Cause::Bitrate, "a\u{fffd}b")
        );
        assert!((read[0].share - 1.0).abs() < f64::EPSILON);
    }
}
