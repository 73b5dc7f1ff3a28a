//! Statistics of comparisons. The unit is the run: intervals of one run depend on each other and are never pooled.
//!
//! ```text
//! values of runs ──► Arrangements (permutations or sign flips) ──► p, 95 % interval ──► Decision
//! ```

mod arrangements;
mod decision;
mod describe;
mod holm;
mod rng;

pub use arrangements::{Arrangements, EXACT_ARRANGEMENTS, EXACT_PAIRS, RESAMPLES, SEED};
pub use decision::{ALPHA, Decision, Effect, Verdict, decide, least_runs};
pub use describe::{Summary, median, outliers};
pub use holm::holm;
