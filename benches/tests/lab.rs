//! The benchmark's runs in a virtual machine.

use iperf_bench::{Case, Guest, Program, Side};

#[test]
fn runs_over_vsock_are_measured() {
    let ours = Program::named("ours").expect("the program is there");
    let guest = Guest::boot(&ours);
    let names = ["vsock-64K".to_owned(), "vsock-1M".to_owned()];
    for case in Case::named(&names).expect("there are such cases") {
        for side in [Side::Ours, Side::Peer] {
            let run = guest.run(side, &case, 1);
            let run = run.unwrap_or_else(|error| panic!("{}: {error}", case.name));
            assert!(run.bits_per_second > 0.0 && run.bytes > 0.0);
            // At least its own code, and time to move the bytes.
            for usage in [run.client, run.server] {
                assert!(usage.memory > 1 << 20 && usage.cpu > 0.0, "{usage:?}");
            }
            assert!(run.wall.as_secs_f64() >= 1.0);
        }
    }
}
