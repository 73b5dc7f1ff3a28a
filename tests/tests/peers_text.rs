//! A peer's text can't control the terminal, forge a line of a log, or change the direction of the text.

use iperf_harness::pair::words;
use iperf_harness::process::wait_for;
use iperf_harness::wire::{
    DISPLAY_RESULTS, PARAM_EXCHANGE, PARAMS, RESULTS, Raw, RawServer, Reply, TEST_END, TEST_START,
};
use iperf_harness::{Finished, HANG, Peer, Problems, Running, Server, parallel};

/// Escapes of a terminal, a forged line, a C1 control and directional overrides, as JSON writes them.
const EVIL: &str = r"x\u001b[2J\u009b31m\r\n2026-01-01 WARN forged\u202eesrever\u2066\u200f\u2028";

fn is_active(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// No character that does something, and no line that the peer began, other than in the block of a server's output.
fn is_harmless(f: &mut Problems, end: &Finished, forged: usize) {
    for (name, output) in [("stdout", &end.stdout), ("stderr", &end.stderr)] {
        let active = output.chars().find(|c| is_active(*c));
        f.equal(
            format!("characters of {name} that do something"),
            active,
            None,
        );
    }
    let lines = end.stdout.lines().chain(end.stderr.lines());
    let begun = lines
        .filter(|line| line.starts_with("2026-01-01 WARN"))
        .count();
    f.equal("lines that begin where the peer wants", begun, forged);
}

/// A server whose results begin with this member. The first of two equal keys counts.
fn lying_server(member: String) -> RawServer {
    RawServer::start(move |stage| {
        stage.take_results();
        stage
            .control
            .send_json(&RESULTS.replacen('{', &format!("{{{member},"), 1));
        stage.control.send(&[DISPLAY_RESULTS]);
        stage.stall();
    })
}

fn client_of(server: &RawServer, args: &str) -> Finished {
    let mut command = Peer::Ours.command();
    let port = server.port().to_string();
    command.args(["-c", "127.0.0.1", "-p", &port, "-t", "1", "-b", "10M"]);
    command.args(words(args));
    Running::start(command).finish(HANG)
}

#[test]
fn a_servers_text_does_nothing_but_be_read() {
    let mut cases = Vec::new();
    for format in ["-V", "-J", "--json-stream", "-V -d"] {
        for member in [
            format!(r#""server_output_text":"{EVIL}""#),
            format!(r#""server_output_json":{{"{EVIL}":"{EVIL}"}}"#),
            format!(r#""congestion_used":"{EVIL}""#),
        ] {
            cases.push(format!("--get-server-output {format}\n{member}"));
        }
    }
    parallel::each(&cases, 4, |case| {
        let (args, member) = case.split_once('\n').expect("two parts");
        let server = lying_server(member.to_owned());
        let end = client_of(&server, args);
        let mut f = Problems::new();
        f.holds("the client succeeds", end.succeeded());
        let block = args.contains("-V") && member.contains("server_output_text");
        is_harmless(&mut f, &end, usize::from(block));
        f.holds("the text is shown", end.stdout.contains("esrever"));
        f.into_result(end)
    });
}

#[test]
fn output_that_was_not_requested_is_not_shown() {
    for format in ["", "-J", "--json-stream"] {
        for member in [
            r#""server_output_text":"unasked""#,
            r#""server_output_json":{"start":"unasked"}"#,
        ] {
            let server = lying_server(member.to_owned());
            let end = client_of(&server, format);
            let mut f = Problems::new();
            f.holds("the client succeeds", end.succeeded());
            f.holds("nothing of it is shown", !end.stdout.contains("unasked"));
            f.assert_none(end);
        }
    }
}

#[test]
fn a_clients_text_does_nothing_but_be_read() {
    for format in ["-V -d", "-J -d", "--json-stream -d"] {
        let mut args = vec!["-1"];
        args.extend(format.split(' '));
        let server = Server::start(Peer::Ours, &args);
        let cookie = format!("\u{1b}[2J\r\n2026-01-01 WARN forged{:\0<13}", '\u{9b}');
        let cookie = &cookie.as_bytes()[..37];
        let mut control = Raw::connect(server.port());
        control.send(cookie);
        control.expect(PARAM_EXCHANGE);
        let members = ["title", "extra_data", "congestion", "client_version"]
            .map(|key| format!(r#""{key}":"{EVIL}","#));
        control.send_json(&PARAMS.replacen('{', &format!("{{{}", members.concat()), 1));
        let _ = control.reply(HANG);
        let mut data = Raw::connect(server.port());
        data.send(cookie);
        // The congestion control does not exist: the test begins without it, or not at all.
        if control.reply(HANG) == Reply::State(TEST_START) {
            data.send(&[0; 1000]);
            control.send(&[TEST_END]);
            let _ = control.reply(HANG);
        }
        drop((control, data));
        let begun = wait_for(HANG, || {
            let output = server.process.stdout_so_far();
            (output.contains("cookie") || output.contains("Cookie")).then_some(())
        });
        let end = server.finish(HANG);
        let mut f = Problems::new();
        f.holds("the test was reported", begun.is_some());
        is_harmless(&mut f, &end, 0);
        f.assert_none(end);
    }
}
