//! `iperf exporter`: runs a test for each scrape of Prometheus, as iperf3 exporters do.

mod allow;
mod page;
mod probe;

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use iperf_model::reason;
use iperf_service::http;

use self::allow::Allowed;
use self::probe::Exporter;
use crate::terminal::complain;

/// A usage error, or an address that can't be listened on.
const FAILED: u8 = 2;

/// Run a test for each scrape of Prometheus: a drop-in replacement for iperf3 exporters
///
/// GET /probe?target=HOST runs a test with the server on HOST and returns its result. More parameters: port=5201,
/// period=5s, reverse_mode=true, udp_mode=true, bitrate (as -b), bind (as -B). Metrics have the names of existing iperf3
/// exporters (iperf3_up, iperf3_sent_bytes, ...) and base-unit names (iperf_probe_success,
/// iperf_received_bytes_per_second, ...). /metrics has the exporter's own metrics; /health and /ready return 200.
#[derive(Debug, Args)]
pub(crate) struct ExporterArgs {
    /// Listen on ADDR:PORT
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9579", value_parser = address)]
    listen: String,
    /// Allow probes of TARGET: a host, *.DOMAIN, or a network such as 10.0.0.0/8; can be repeated. Without it, an
    /// exporter that listens on loopback probes any target
    #[arg(long, value_name = "TARGET")]
    allow: Vec<Allowed>,
    /// End a probe after SECONDS, or half a second before Prometheus stops waiting, whichever comes first
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

/// An address and a port; that the address exists is found out later.
fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) {
        Ok(text.to_owned())
    } else {
        Err("must be an address and a port, such as 127.0.0.1:9579 or :9579".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .filter(|seconds| (1.0..=3600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be seconds, from 1 to 3600".to_owned())
}

impl ExporterArgs {
    /// Serves until the process is ended.
    pub(crate) fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("iperf exporter: error - {error}"));
                ExitCode::from(FAILED)
            }
        }
    }

    fn serve(self) -> Result<(), String> {
        let Self {
            listen,
            allow,
            timeout,
        } = self;
        let failed = |error| format!("unable to listen on {listen}: {}", reason(&error));
        let listener = http::listen(&listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if allow.is_empty() && !is_loopback(address) {
            return Err(format!(
                "anyone who reaches {address} could start tests with any host: name the targets with --allow"
            ));
        }
        let runtime = iperf::embed::runtime().map_err(|error| reason(&error))?;
        listener.set_nonblocking(true).map_err(failed)?;
        complain(&format!("iperf exporter: listening on {address}"));
        runtime.block_on(async {
            let exporter = std::sync::Arc::new(Exporter::new(allow, timeout));
            let stop = iperf_control::Stop::on_signals();
            match stop {
                Ok(mut stop) => tokio::select! {
                    _ = stop.wait() => Ok(()),
                    () = http::serve(listener, exporter) => Err("the HTTP server has ended".to_owned()),
                },
                Err(error) => Err(format!("unable to watch signals: {}", reason(&error))),
            }
        })
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    IpAddr::to_canonical(&address.ip()).is_loopback()
}
