//! The benchmark's runs in a virtual machine.

use iperf_bench::{Case, Effort, Guest, Program, engine};

#[test]
fn runs_over_vsock_are_measured() {
    let ours = Program::named("ours").expect("the program is there");
    let mut peer = ours.clone();
    "peer".clone_into(&mut peer.name);
    let bare_loop = Program::bare_loop(env!("CARGO_BIN_EXE_bare_loop"));
    let guest = Guest::boot(&[&ours, &peer, &bare_loop]);
    let effort = Effort {
        rounds: 1,
        seconds: 1,
    };
    for case in Case::named(&["vsock-64K".to_owned()]).expect("there is such a case") {
        let ran = engine::run(&case, &guest.programs()[..2], effort, Some(&guest));
        let (runs, failures) = ran.expect("the guest runs a bench");
        assert_eq!(failures, Vec::<String>::new());
        for name in ["ours", "peer"] {
            let run = runs[name][&1];
            assert!(run.bits_per_second > 0.0 && run.bytes > 0.0);
            // At least its own code, and time to move the bytes.
            for usage in [run.client, run.server] {
                assert!(usage.memory > 1 << 20 && usage.cpu > 0.0, "{usage:?}");
            }
            assert!(run.wall >= 1.0);
        }
    }
    let case = &Case::named(&["vsock-rr".to_owned()]).expect("there is such a case")[0];
    let programs = guest.programs();
    let ran = engine::run(case, &[programs[0], programs[2]], effort, Some(&guest));
    let (runs, failures) = ran.expect("the guest runs a bench");
    assert_eq!(failures, Vec::<String>::new());
    for name in ["ours", "loop"] {
        let exchanges = runs[name][&1].exchanges.expect("requests and responses");
        assert!(exchanges.per_second > 1.0 && exchanges.median > 0.0);
    }
}
