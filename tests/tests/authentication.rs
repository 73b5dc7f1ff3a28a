//! Logins: a client with the password is served, one without it is refused, and the password appears nowhere.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

use iperf_harness::pair::run_client;
use iperf_harness::wire::{CREATE_STREAMS, PARAMS, RawClient, Reply, SERVER_ERROR};
use iperf_harness::{Finished, HANG, Peer, Problems, Running, Server, json, parallel};
use tempfile::TempDir;

const USER: &str = "mario";
const PASSWORD: &str = "s3cret-rossi";
const DENIED: &str = "test authorization failed";
/// The client of a 3.22 server, which closes without a word.
const CLOSED: &str = "control socket has closed unexpectedly";

/// A pair of keys and a file of users.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        Self::with_bits("2048")
    }

    fn with_bits(bits: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let secrets = Self(dir);
        secrets.openssl(&["genrsa", "-out", "private.pem", bits]);
        secrets.openssl(&["rsa", "-in", "private.pem", "-pubout", "-out", "public.pem"]);
        fs::write(secrets.path("salted"), format!("{{{USER}}}{PASSWORD}")).expect("a file");
        let digest = secrets.openssl(&["dgst", "-sha256", "-r", "salted"]);
        let hash = digest.split_whitespace().next().expect("a digest");
        let users = format!(
            "# users of the tests\n\nsomebody,{:064}\r\n{USER},{hash}\n",
            0
        );
        fs::write(secrets.path("users.csv"), users).expect("a file");
        secrets
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Starts a server that requires a login.
    fn serve(&self, peer: Peer, more: &[&str]) -> Server {
        let [private, users] = ["private.pem", "users.csv"].map(|name| self.path(name));
        let keys = ["--rsa-private-key-path", &private];
        let users = ["--authorized-users-path", &users];
        Server::start(peer, &[&keys, &users, more].concat())
    }

    /// What a client with the clock at `time` would send.
    fn token(&self, time: i64) -> String {
        let text = format!("user: {USER}\npwd:  {PASSWORD}\nts:   {time}");
        fs::write(self.path("token"), text).expect("a file");
        let encrypt = "pkeyutl -encrypt -pubin -inkey public.pem -in token -out token.enc -pkeyopt rsa_padding_mode:oaep";
        self.openssl(&encrypt.split(' ').collect::<Vec<_>>());
        self.openssl(&["base64", "-A", "-in", "token.enc"])
    }

    fn openssl(&self, args: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(args).current_dir(self.0.path());
        let end = Running::start(command).finish(HANG);
        assert!(end.succeeded(), "{end}");
        end.stdout
    }
}

/// A login, and what comes of it.
struct Case {
    client: Peer,
    server: Peer,
    /// Clients before 3.17 and servers with this option use PKCS#1 v1.5.
    pkcs1: bool,
    user: &'static str,
    password: Option<&'static str>,
    /// The client's error; `None` when it is served.
    refused: Option<&'static str>,
}

impl Case {
    fn good(client: Peer, server: Peer, pkcs1: bool) -> Self {
        Self {
            client,
            server,
            pkcs1,
            user: USER,
            password: Some(PASSWORD),
            refused: None,
        }
    }

    fn wrong(
        self,
        user: &'static str,
        password: Option<&'static str>,
        refused: &'static str,
    ) -> Self {
        let refused = Some(refused);
        Self {
            user,
            password,
            refused,
            ..self
        }
    }

    fn check(&self, secrets: &Secrets) -> Result<(), String> {
        let mut args = vec!["-d", "-V"];
        // 3.12 has no other padding, and not the option.
        if self.pkcs1 && self.server != Peer::Old {
            args.push("--use-pkcs1-padding");
        }
        let server = secrets.serve(self.server, &args);
        let client = self.client(&secrets.path("public.pem"), server.port());
        let server = server.stop();

        let mut f = Problems::new();
        let document = client.document();
        let said = format!(
            "{}{}",
            json::text(&document, "/error").unwrap_or_default(),
            client.stderr
        );
        match self.refused {
            None => {
                f.equal("the client's exit code", client.code(), Some(0));
                f.positive("bytes", json::int(&document, "/end/sum_received/bytes"));
            }
            Some(refused) => f.holds(
                format!("the client reports {said:?}"),
                said.contains(refused),
            ),
        }
        if self.server == Peer::Ours && self.refused.is_some() {
            let reported = server.stderr.contains(DENIED);
            f.equal(
                "the server reports that it refuses",
                reported,
                self.password.is_some(),
            );
        }
        for end in [&client, &server] {
            let shown = format!("{}{}", end.stdout, end.stderr);
            // What a real iperf3 prints with -d does not matter here.
            let ours = end.command.contains(&*Peer::Ours.path().to_string_lossy());
            for secret in [PASSWORD, "BEGIN", self.password.unwrap_or(PASSWORD)] {
                f.holds(
                    format!("{secret:?} is not shown"),
                    !(ours && shown.contains(secret)),
                );
            }
        }
        f.into_result(format!("{client}{server}"))
    }

    fn client(&self, key: &str, port: u16) -> Finished {
        let mut command = self.client.command();
        let port = port.to_string();
        command.args(["-c", "127.0.0.1", "-p", &port, "-J", "-t", "1", "-b", "5M"]);
        command.args(["--username", self.user, "--rsa-public-key-path", key]);
        if self.client == Peer::Ours {
            command.args(["-d", "-V"]);
            if self.pkcs1 {
                command.arg("--use-pkcs1-padding");
            }
        }
        match self.password {
            Some(password) => command.env("IPERF3_PASSWORD", password),
            None => command.env_remove("IPERF3_PASSWORD"),
        };
        Running::start(command).finish(HANG)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let padding = if self.pkcs1 { "PKCS#1 v1.5" } else { "OAEP" };
        let Self {
            client,
            server,
            user,
            password,
            ..
        } = self;
        write!(
            f,
            "{client} client, {server} server, {padding}: {user} {password:?}"
        )
    }
}

fn check_all(cases: &[Case]) {
    let secrets = Secrets::new();
    parallel::each(cases, 8, |case| case.check(&secrets));
}

/// Client, server, and whether they use PKCS#1 v1.5.
const PAIRS: [(Peer, Peer, bool); 7] = [
    (Peer::Ours, Peer::Ours, false),
    (Peer::Ours, Peer::Ours, true),
    (Peer::Ours, Peer::New, false),
    (Peer::Ours, Peer::New, true),
    (Peer::Ours, Peer::Old, true),
    (Peer::New, Peer::Ours, false),
    (Peer::Old, Peer::Ours, true),
];

fn good((client, server, pkcs1): (Peer, Peer, bool)) -> Case {
    Case::good(client, server, pkcs1)
}

#[test]
fn a_client_with_the_password_is_served() {
    check_all(&PAIRS.map(good));
}

#[test]
fn a_client_with_a_wrong_login_is_refused() {
    let mut cases = Vec::new();
    for pair in PAIRS {
        let text = if pair.1 == Peer::New { CLOSED } else { DENIED };
        cases.push(good(pair).wrong(USER, Some("guessed-wrong"), text));
        cases.push(good(pair).wrong("luigi", Some(PASSWORD), text));
        cases.push(good(pair).wrong("somebody", Some("x-guess-x"), text));
    }
    check_all(&cases);
}

#[test]
fn a_client_without_a_password_does_not_connect() {
    let text = "no password for mario: IPERF3_PASSWORD is not set and stdin is not a terminal";
    let servers = [Peer::Ours, Peer::New, Peer::Old];
    check_all(&servers.map(|server| Case::good(Peer::Ours, server, false).wrong(USER, None, text)));
}

/// A client with a padding that the server does not use.
#[test]
fn the_wrong_padding_is_a_wrong_password() {
    check_all(&[
        Case::good(Peer::New, Peer::Ours, true).wrong(USER, Some(PASSWORD), DENIED),
        Case::good(Peer::Old, Peer::Ours, false).wrong(USER, Some(PASSWORD), DENIED),
        Case::good(Peer::Ours, Peer::Old, false).wrong(USER, Some(PASSWORD), DENIED),
    ]);
}

/// A client that does not log in is refused, and a server without logins accepts one that does.
#[test]
fn logins_are_for_servers_that_ask() {
    let secrets = Secrets::new();
    let server = secrets.serve(Peer::Ours, &[]);
    for client in [Peer::Ours, Peer::New, Peer::Old] {
        let end = run_client(client, server.port(), "-t 1");
        assert_eq!(end.code(), Some(1), "{end}");
        assert!(end.stderr.contains(DENIED), "{end}");
    }
    drop(server);
    let server = Server::start(Peer::Ours, &[]);
    let case = Case::good(Peer::Ours, Peer::Ours, false);
    let end = case.client(&secrets.path("public.pem"), server.port());
    assert!(end.succeeded(), "{end}");
}

/// iperf3 takes small keys; here they come with a warning on either end.
#[test]
fn a_small_key_is_enough_and_both_ends_warn() {
    let secrets = Secrets::with_bits("1024");
    let cases: Vec<Case> = [
        (Peer::Ours, Peer::Ours, false),
        (Peer::Ours, Peer::Ours, true),
        (Peer::Ours, Peer::New, false),
        (Peer::Ours, Peer::Old, true),
        (Peer::New, Peer::Ours, false),
        (Peer::Old, Peer::Ours, true),
    ]
    .map(|(client, server, pkcs1)| Case::good(client, server, pkcs1))
    .into();
    parallel::each(&cases, 2, |case| case.check(&secrets));

    let key = secrets.path("public.pem");
    let case = Case::good(Peer::Ours, Peer::Ours, false);
    let server = secrets.serve(Peer::Ours, &[]);
    let client = case.client(&key, server.port());
    let server = server.stop();
    for end in [&client, &server] {
        let warned = end
            .stderr
            .contains("an RSA key of 1024 bits is weak; use 2048 or more");
        assert!(warned, "{end}");
    }
}

/// A server reads a login up to the next white space. Nothing listens on the port, so a connection would be refused.
#[test]
fn a_login_that_cannot_be_sent_is_refused_before_connecting() {
    let secrets = Secrets::new();
    let port = iperf_harness::Port::reserve();
    for password in ["two words", "tab\tbed", "line\n", "", &"x".repeat(300)] {
        let mut command = Peer::Ours.command();
        command
            .args(["-c", "127.0.0.1", "-p", &port.number().to_string()])
            .args([
                "--username",
                USER,
                "--rsa-public-key-path",
                &secrets.path("public.pem"),
            ])
            .env("IPERF3_PASSWORD", password);
        let end = Running::start(command).finish(HANG);
        let expected = if password.len() < 300 {
            "the password must be neither empty nor contain white space"
        } else {
            "bytes of user name and password together"
        };
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), ""), "{end}");
        assert!(end.stderr.contains(expected), "{password:?}\n{end}");
    }
}

/// The token contains the client's time, so a captured token soon becomes useless.
#[test]
fn a_token_of_another_time_is_worth_nothing() {
    let secrets = Secrets::new();
    let server = secrets.serve(Peer::Ours, &["--time-skew-threshold", "3"]);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a date");
    let now = i64::try_from(now.as_secs()).expect("a date");
    for (skew, accepted) in [(0, true), (-60, false), (60, false), (-1, true)] {
        let token = secrets.token(now + skew);
        let mut client = RawClient::up_to_params(server.port());
        let params = PARAMS.replacen('{', &format!("{{\"authtoken\":\"{token}\","), 1);
        client.control.send_json(&params);
        let want = if accepted {
            CREATE_STREAMS
        } else {
            SERVER_ERROR
        };
        let reply = client.control.reply(HANG);
        assert_eq!(
            reply,
            Reply::State(want),
            "{skew} s: {}",
            server.process.stderr_so_far()
        );
    }
}
