//! Probes: the parameters of a request, the test that it requests, and how many run at the same time.

use std::collections::HashMap;
use std::ffi::OsString;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iperf::{Client, Document};
use iperf_cli::{Job, parse};
use iperf_model::{ClientConfig, VERSION};
use iperf_service::exposition::{Exposition, Kind, TextFormat};
use iperf_service::http::{Handler, Request, Response};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::timeout;

use super::allow::Allowed;
use super::page::{Outcome, page};
use crate::terminal::complain;

/// Probes at the same time, of all targets.
const MAX_PROBES: usize = 32;

/// Prometheus needs this long to get the answer.
const HEADROOM: Duration = Duration::from_millis(500);

/// The shortest time limit of a probe.
const LEAST: Duration = Duration::from_millis(500);

/// How long a test may take to end after a stop.
const ENDING: Duration = Duration::from_secs(2);

/// The parameters that a probe knows.
const PARAMETERS: [&str; 7] = [
    "target",
    "port",
    "period",
    "reverse_mode",
    "udp_mode",
    "bitrate",
    "bind",
];

/// Runs probes.
pub(super) struct Exporter {
    allow: Vec<Allowed>,
    limit: Duration,
    room: Semaphore,
    /// One lock for each target that is probed.
    targets: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    probes: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    busy_micros: AtomicU64,
}

/// What a request contains.
struct ProbeJob {
    target: String,
    port: String,
    config: Box<ClientConfig>,
}

impl Exporter {
    /// Probes targets that are on the list, or any if there is none.
    pub(super) fn new(allow: Vec<Allowed>, limit: Duration) -> Self {
        Self {
            allow,
            limit,
            room: Semaphore::new(MAX_PROBES),
            targets: Mutex::default(),
            probes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy_micros: AtomicU64::new(0),
        }
    }

    async fn probe(&self, request: &Request, job: ProbeJob) -> Response {
        let start = Instant::now();
        let Ok(_permit) = self.room.try_acquire() else {
            self.refused.fetch_add(1, Relaxed);
            return Response::text(503, format!("{MAX_PROBES} probes run already\n"));
        };
        let ProbeJob {
            target,
            port,
            mut config,
        } = job;
        let deadline = start + self.time_limit(request.scrape_timeout);
        let key = format!("{target} {port}");
        let result = match timeout(left(deadline), self.lock(&key)).await {
            Ok(_guard) => {
                config.connect_timeout = Some(left(deadline).max(LEAST));
                run(*config, deadline).await
            }
            Err(_) => Err("another probe of this target did not end in time".to_owned()),
        };
        self.unlock(&key);
        self.probes.fetch_add(1, Relaxed);
        let took = start.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_micros.fetch_add(micros, Relaxed);
        let document = result
            .inspect_err(|error| {
                self.errors.fetch_add(1, Relaxed);
                complain(&format!("iperf exporter: {target} port {port}: {error}"));
            })
            .ok();
        let format = TextFormat::accepted(&request.accept);
        Response {
            status: 200,
            content_type: format.content_type(),
            body: page(&Outcome { document, took }, &target, &port, format),
        }
    }

    fn time_limit(&self, scrape: Option<Duration>) -> Duration {
        let scrape = scrape.map(|scrape| scrape.saturating_sub(HEADROOM));
        scrape
            .map_or(self.limit, |scrape| scrape.min(self.limit))
            .max(LEAST)
    }

    /// Waits until no other probe of this target runs.
    async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets.entry(key.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// Removes targets without a probe.
    fn unlock(&self, key: &str) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if targets
            .get(key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            targets.remove(key);
        }
    }

    /// Reads a request; the error names what is wrong with it.
    fn read(&self, request: &Request) -> Result<ProbeJob, Response> {
        let bad = |text: String| Response::text(400, text + "\n");
        for (name, _) in &request.query {
            if !PARAMETERS.contains(&name.as_str()) {
                let known = PARAMETERS.join(", ");
                return Err(bad(format!(
                    "unknown parameter '{name}': known are {known}"
                )));
            }
        }
        let target = request.parameter("target").unwrap_or_default();
        if target.is_empty() {
            return Err(bad("the parameter 'target' is missing".to_owned()));
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|rule| rule.allows(target)) {
            self.refused.fetch_add(1, Relaxed);
            let text = format!("the target '{target}' is not on the list of --allow\n");
            return Err(Response::text(403, text));
        }
        let port = request.parameter("port").unwrap_or("5201");
        let period = request.parameter("period").unwrap_or("5s");
        let seconds = whole_seconds(period).ok_or_else(|| {
            bad(format!(
                "period '{period}': must be from 1s to 1h, such as 10s"
            ))
        })?;
        let mut words = vec!["-c", target, "-p", port, "-t", &seconds, "-i", "0"];
        for (name, option) in [("reverse_mode", "-R"), ("udp_mode", "-u")] {
            match request.parameter(name) {
                Some("true" | "1") => words.push(option),
                None | Some("false" | "0" | "") => {}
                Some(other) => {
                    return Err(bad(format!("{name} '{other}': must be true or false")));
                }
            }
        }
        for (name, option) in [("bitrate", "-b"), ("bind", "-B")] {
            if let Some(value) = request.parameter(name).filter(|value| !value.is_empty()) {
                words.extend([option, value]);
            }
        }
        let words = words.into_iter().map(OsString::from);
        match parse(words).map(|invocation| invocation.job) {
            Ok(Job::Client(config)) => Ok(ProbeJob {
                target: target.to_owned(),
                port: port.to_owned(),
                config: Box::new(config),
            }),
            Ok(_) => Err(bad(format!("'{target}' is no target"))),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    /// The exporter itself.
    fn metrics(&self, format: TextFormat) -> String {
        use Kind::{Counter, Gauge};
        let number = |counter: &AtomicU64| counter.load(Relaxed) as f64;
        let running = MAX_PROBES.saturating_sub(self.room.available_permits());
        let seconds = number(&self.busy_micros) / 1e6;
        let mut page = Exposition::new(format);
        page.family("iperf_exporter_info", Gauge, "The version of the exporter.")
            .sample(&[("version", VERSION)], 1.0)
            .single(
                "iperf_exporter_probes",
                Counter,
                "Probes that are over.",
                number(&self.probes),
            )
            .single(
                "iperf_exporter_probes_running",
                Gauge,
                "Probes that run now.",
                running as f64,
            )
            .single(
                "iperf_exporter_refused",
                Counter,
                "Probes of targets that are not allowed, or too many at a time.",
                number(&self.refused),
            )
            .single(
                "iperf3_exporter_errors",
                Counter,
                "Probes whose test failed.",
                number(&self.errors),
            )
            .single(
                "iperf_exporter_probe_seconds",
                Counter,
                "Time of all probes together.",
                seconds,
            );
        page.finish()
    }
}

impl Handler for Exporter {
    async fn answer(&self, request: Request) -> Response {
        match request.path.as_str() {
            "/probe" => match self.read(&request) {
                Ok(job) => self.probe(&request, job).await,
                Err(response) => response,
            },
            "/metrics" => {
                let format = TextFormat::accepted(&request.accept);
                Response {
                    status: 200,
                    content_type: format.content_type(),
                    body: self.metrics(format),
                }
            }
            "/health" | "/ready" => Response::text(200, "ok\n"),
            "/" => Response::text(200, "/probe?target=HOST\n/metrics\n/health\n/ready\n"),
            _ => Response::text(404, "not found\n"),
        }
    }

    fn limit(&self) -> Duration {
        self.limit
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A time as Go writes it, or a number of seconds: `10s`, `1m30s`, `500ms`, `10`. Rounded up.
fn whole_seconds(text: &str) -> Option<String> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" | "" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += factor * number.parse::<f64>().ok()?;
        rest = tail;
    }
    let fits = seconds > 0.0 && seconds <= 3600.0;
    fits.then(|| seconds.ceil().to_string())
}

/// Runs a test, until the deadline at most.
async fn run(config: ClientConfig, deadline: Instant) -> Result<Document, String> {
    let test = Client::new(config)
        .start()
        .map_err(|error| error.to_string())?;
    let stopper = test.stopper();
    let mut document = pin!(test.document());
    if let Ok(ended) = timeout(left(deadline), &mut document).await {
        return ended.map_err(|error| error.to_string());
    }
    stopper.stop();
    // It ends now, and what it has measured is no result.
    let _ = timeout(ENDING, document).await;
    Err("the time limit is over".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<ClientConfig, (u16, String)> {
        let exporter = Exporter::new(vec!["a.example".parse().unwrap()], LEAST);
        let request = Request {
            query: query
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Request::default()
        };
        let job = exporter.read(&request);
        job.map(|job| *job.config)
            .map_err(|response| (response.status, response.body))
    }

    #[test]
    fn parameters_become_a_test() {
        let target = ("target", "a.example");
        let config = read(&[
            target,
            ("reverse_mode", "true"),
            ("period", "1m500ms"),
            ("bitrate", "10M"),
        ]);
        let test = config.unwrap().test;
        assert_eq!(test.limit, iperf_model::Limit::Seconds(61));
        assert_eq!(
            test.pacing.rate,
            Some(iperf_model::BitRate::new(10_000_000))
        );
        assert_eq!(test.direction, iperf_model::Direction::Reverse);
        for (query, status, text) in [
            (&[][..], 400, "'target' is missing"),
            (&[("target", "b.example")], 403, "not on the list"),
            (&[target, ("port", "70000")], 400, "port"),
            (&[target, ("period", "2h")], 400, "from 1s to 1h"),
            (&[target, ("period", "s")], 400, "from 1s to 1h"),
            (&[target, ("udp_mode", "yes")], 400, "true or false"),
            (&[target, ("command", "x")], 400, "unknown parameter"),
        ] {
            let (got, body) = read(query).unwrap_err();
            assert!(
                got == status && body.contains(text),
                "{query:?}: {got} {body}"
            );
        }
    }

    #[test]
    fn prometheus_time_limit_counts_if_it_is_shorter() {
        let exporter = Exporter::new(Vec::new(), Duration::from_secs(30));
        let limit = |seconds| exporter.time_limit(Some(Duration::from_secs(seconds)));
        assert_eq!(limit(10), Duration::from_millis(9500));
        assert_eq!(limit(60), Duration::from_secs(30));
        assert_eq!(limit(0), LEAST);
        assert_eq!(exporter.time_limit(None), Duration::from_secs(30));
    }
}
