//! How reports describe the machine.

use iperf_model::VERSION;
use iperf_report::ReportOptions;
use nix::sys::utsname::uname;

/// The system: the fields of `uname`, separated by blanks.
pub fn system_info() -> String {
    match uname() {
        Ok(name) => [
            name.sysname(),
            name.nodename(),
            name.release(),
            name.version(),
            name.machine(),
        ]
        .map(|field| field.to_string_lossy().into_owned())
        .join(" "),
        Err(error) => format!("unknown system: {error}"),
    }
}

/// What the documents of this crate contain in addition to the test.
pub(crate) fn report_options(is_client: bool) -> ReportOptions {
    ReportOptions {
        program: "iperf".to_owned(),
        is_client,
        version: format!("iperf {VERSION}"),
        system_info: system_info(),
        ..ReportOptions::default()
    }
}
