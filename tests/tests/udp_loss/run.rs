//! A client and a server with a proxy between them.

use std::fmt;

use iperf_harness::pair::words;
use iperf_harness::proxy::{Fate, Passed, Plan, Proxy};
use iperf_harness::{Expectation, Finished, Pair, Peer, Problems};
use serde_json::Value;

/// A test and the way it takes.
pub(super) struct Case {
    pub(super) client: Peer,
    pub(super) server: Peer,
    pub(super) args: String,
    /// In both directions.
    pub(super) plan: Plan,
    pub(super) name: String,
}

/// Its outcome.
pub(super) struct Run {
    pub(super) expected: Expectation,
    pub(super) client: Finished,
    pub(super) server: Finished,
    pub(super) passed: Vec<Passed>,
    pub(super) client_json: Value,
    pub(super) server_json: Value,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} client, {} server: {}",
            self.client, self.server, self.name
        )
    }
}

impl Case {
    pub(super) fn new(client: Peer, server: Peer, args: &str, rules: &[(u64, Fate)]) -> Self {
        let wide = args.contains("--udp-counters-64bit");
        let fair = if wide {
            Plan::new().counters_64bit()
        } else {
            Plan::new()
        };
        let plan = rules
            .iter()
            .fold(fair, |plan, &(nth, fate)| plan.every(nth, fate));
        Self {
            client,
            server,
            args: format!("-J -u {args}"),
            plan,
            name: format!("{args} {rules:?}"),
        }
    }

    pub(super) fn with(mut self, change: impl FnOnce(Plan) -> Plan, name: &str) -> Self {
        self.plan = change(self.plan);
        self.name = format!("{} {name}", self.name);
        self
    }

    pub(super) fn run(&self) -> Result<Run, String> {
        // Each end has its own option for this.
        let own = self.args.contains("--no-gso").then_some("--no-gso");
        let pair = Pair::new(self.client, self.server)
            .client_args(&self.args)
            .server_args("-J")
            .server_args(own.unwrap_or_default());
        let (outcome, passed) =
            pair.run_through(|server| Proxy::udp(server, self.plan.clone(), self.plan.clone()));
        let (client_json, server_json) = outcome.documents();
        let run = Run {
            expected: Expectation::of(&words(&self.args)),
            passed,
            client_json,
            server_json,
            client: outcome.client,
            server: outcome.server,
        };
        let mut f = Problems::new();
        for (end, finished) in [("client", &run.client), ("server", &run.server)] {
            f.equal(format!("the {end}'s exit code"), finished.code(), Some(0));
            f.equal(format!("the {end}'s stderr"), finished.stderr.as_str(), "");
        }
        f.equal("streams", run.passed.len(), run.expected.connections());
        f.into_result(&run).map(|()| run)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, passed) in self.passed.iter().enumerate() {
            for (to, record) in [("server", &passed.to_server), ("client", &passed.to_client)] {
                let (came, went) = (record.arrived, record.sequences.len());
                let before = record.before_end;
                writeln!(
                    f,
                    "stream {index} to the {to}: {came} came, {went} went on, {before:?} before the end"
                )?;
            }
        }
        write!(f, "{}{}", self.client, self.server)
    }
}
