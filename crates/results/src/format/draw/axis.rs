//! Axes: round ticks.

/// A tenth of a unit is finer than anybody sees.
pub(super) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A round distance of ticks: 1, 2 or 5 times a power of ten, for four to ten of them.
pub(super) fn step(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf((highest / 5.0).log10().floor());
    let nearest = highest / 5.0 / power;
    power
        * [1.0, 2.0, 5.0]
            .into_iter()
            .find(|step| nearest <= *step)
            .unwrap_or(10.0)
}

pub(super) fn ticks(end: f64, step: f64) -> Vec<f64> {
    (0..20)
        .map(|at| f64::from(at) * step)
        .take_while(|tick| *tick <= end * (1.0 + 1e-9))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (highest, expected) in [
            (9.4e9, 2e9),
            (1.0, 0.2),
            (0.000_37, 1e-4),
            (0.0, 1.0),
            (23.0, 5.0),
        ] {
            let step = step(highest);
            assert!((step / expected - 1.0).abs() < 1e-9, "{highest}: {step}");
            assert!(ticks(highest.max(1e-9), step).len() <= 11);
        }
    }
}
