//! The options that select how bytes are moved.

use iperf_model::{ReceiveMode, SendMode, ZeroCopy};

use super::{client, invocation, refused, test};

#[test]
fn sending_without_copying_turns_on_receiving_without_copying() {
    use ReceiveMode::{Copy, Mmap, Splice, Trunc};
    for (line, send, receive) in [
        ("-t 1", SendMode::Copy, Copy),
        ("-Z", SendMode::Auto, Mmap),
        ("-ZR", SendMode::Auto, Mmap),
        ("--zerocopy", SendMode::Auto, Mmap),
        ("--zerocopy=sendfile", SendMode::Sendfile, Mmap),
        ("--zerocopy=splice", SendMode::Splice, Mmap),
        ("--zerocopy=msg --zerocopy-rx=off", SendMode::Msg, Copy),
        ("--zerocopy-rx splice", SendMode::Copy, Splice),
        ("--zerocopy-rx mmap", SendMode::Copy, Mmap),
        ("--skip-rx-copy", SendMode::Copy, Trunc),
        ("-Z --skip-rx-copy", SendMode::Auto, Trunc),
        (
            "-Z --skip-rx-copy --zerocopy-rx=trunc",
            SendMode::Auto,
            Trunc,
        ),
        ("-Z -u", SendMode::Auto, Copy),
        ("--zerocopy=msg -u", SendMode::Msg, Copy),
        ("-Z --sctp", SendMode::Auto, Copy),
        ("--zerocopy=msg -c 3 --vsock", SendMode::Msg, Mmap),
    ] {
        let line = if line.contains("-c ") {
            line.to_owned()
        } else {
            format!("-c h {line}")
        };
        assert_eq!(test(&line).zerocopy, ZeroCopy { send, receive }, "{line}");
    }
}

#[test]
fn the_text_shows_how_bytes_were_moved_if_a_mode_of_ours_is_given() {
    for (line, asks) in [
        ("-t 1", false),
        ("-Z", false),
        ("--zerocopy", false),
        ("--skip-rx-copy", false),
        ("-Z --skip-rx-copy", false),
        ("--zerocopy=splice", true),
        ("--zerocopy-rx=off", true),
        ("-Z --zerocopy-rx=mmap", true),
        ("-Z --zerocopy-strict", true),
        ("--verify", true),
    ] {
        let invocation = invocation(&format!("-c h {line}"));
        assert_eq!(invocation.output.copies, asks, "{line}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (line, message) in [
        (
            "--zerocopy=mmap",
            "invalid value 'mmap' for -Z/--zerocopy: must be sendfile, splice or msg",
        ),
        (
            "--zerocopy=copy",
            "invalid value 'copy' for -Z/--zerocopy: must be sendfile, splice or msg",
        ),
        (
            "--zerocopy-rx=msg",
            "invalid value 'msg' for --zerocopy-rx: must be mmap, trunc, splice or off",
        ),
        (
            "--skip-rx-copy --zerocopy-rx=mmap",
            "--skip-rx-copy and --zerocopy-rx can't be combined",
        ),
        (
            "-u --zerocopy=splice",
            "--zerocopy=splice can't be used over UDP",
        ),
        (
            "-u --zerocopy=sendfile",
            "--zerocopy=sendfile can't be used over UDP",
        ),
        (
            "-u --zerocopy-rx=mmap",
            "--zerocopy-rx=mmap can't be used over UDP",
        ),
        (
            "--sctp --zerocopy-rx=splice",
            "--zerocopy-rx=splice can't be used over SCTP",
        ),
        (
            "--sctp --zerocopy=msg",
            "--zerocopy=msg can't be used over SCTP",
        ),
        (
            "--zerocopy-strict",
            "--zerocopy-strict needs --zerocopy or --zerocopy-rx",
        ),
        (
            "--verify --skip-rx-copy",
            "--verify can't check data that a receiver in mode trunc never sees",
        ),
        (
            "--verify --zerocopy-rx=splice",
            "--verify can't check data that a receiver in mode splice never sees",
        ),
        (
            "--verify --repeating-payload",
            "--verify and --repeating-payload can't be combined",
        ),
        (
            "--verify -F /dev/null",
            "--verify and -F/--file can't be combined",
        ),
    ] {
        assert_eq!(refused(&format!("-c h {line}")), message, "{line}");
    }
}

#[test]
fn strictness_stays_here_and_verification_travels() {
    let config = client("-Z --zerocopy-strict --verify");
    assert!(config.local.zerocopy_strict && config.test.verify);
    let config = client("-Z");
    assert!(!config.local.zerocopy_strict && !config.test.verify);
}
