//! Many small jobs at once: most of a run's time is waiting.

use std::env;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::thread;

/// Runs `job` for every item on `workers` threads and panics with the reports of all that failed.
///
/// `IPERF_CASE=text` runs only the items whose name contains the text.
pub fn each<T: Sync + Display>(
    items: &[T],
    workers: usize,
    job: impl Fn(&T) -> Result<(), String> + Sync,
) {
    let only = env::var("IPERF_CASE").unwrap_or_default();
    let chosen: Vec<&T> = items
        .iter()
        .filter(|item| item.to_string().contains(&only))
        .collect();
    every(&chosen, workers, |item| job(item));
}

/// Runs `job` for every item, whatever `IPERF_CASE` says.
pub fn every<T: Sync + Display>(
    items: &[T],
    workers: usize,
    job: impl Fn(&T) -> Result<(), String> + Sync,
) {
    let queue = Mutex::new(items.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(item) = queue.lock().expect("no worker panics").next() else {
                        return;
                    };
                    let result = panic::catch_unwind(AssertUnwindSafe(|| job(item)));
                    let report = match result {
                        Ok(Ok(())) => continue,
                        Ok(Err(report)) => report,
                        Err(payload) => panic_text(payload.as_ref()),
                    };
                    let report = format!("──── {item}\n{report}");
                    failures.lock().expect("no worker panics").push(report);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no worker panics");
    assert!(
        failures.is_empty(),
        "{} of {} cases failed\n{}",
        failures.len(),
        items.len(),
        failures.join("\n")
    );
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("the case panicked")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_item_is_run_once() {
        let sum = AtomicUsize::new(0);
        each(&[1_usize, 2, 3, 4, 5], 3, |n| {
            sum.fetch_add(*n, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(sum.into_inner(), 15);
    }

    #[test]
    fn failures_and_panics_are_all_reported() {
        let caught = panic::catch_unwind(|| {
            each(&["good", "bad", "worse"], 2, |name| match *name {
                "bad" => Err("it is bad".to_owned()),
                "worse" => panic!("it is worse"),
                _ => Ok(()),
            });
        });
        let report = panic_text(caught.unwrap_err().as_ref());
        assert!(report.contains("2 of 3 cases failed"), "{report}");
        assert!(
            report.contains("it is bad") && report.contains("it is worse"),
            "{report}"
        );
    }
}
