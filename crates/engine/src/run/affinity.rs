//! Binding to CPUs. Threads inherit the binding of the thread that starts them; a data thread may narrow it down.

use std::io;

use iperf_model::{Placement, reason};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use socket2::Socket;
use tracing::debug;

/// The calling thread; `sched_setaffinity` takes 0 for it.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// A binding that ends with this value: the thread then may run where it could before.
#[derive(Debug)]
pub struct Affinity {
    before: CpuSet,
}

impl Drop for Affinity {
    fn drop(&mut self) {
        // The old set was in force before, so it can only be refused when CPUs vanished meanwhile.
        let _ = sched_setaffinity(THIS_THREAD, &self.before);
    }
}

/// Binds the calling thread, and the threads that it starts from now on, to CPUs that the process may use. Where packets
/// decide, it stays as it is.
pub fn bind(placement: &Placement) -> io::Result<Affinity> {
    let before = sched_getaffinity(THIS_THREAD)?;
    let affinity = Affinity { before };
    let Placement::Cpus(cpus) = placement else {
        return Ok(affinity);
    };
    let mut set = CpuSet::new();
    for cpu in cpus.iter() {
        // The kernel drops those of a set that don't exist, unless none is left.
        if !placement.is_single() {
            bind_to(cpu).map_err(|error| named(cpu, &error))?;
        }
        set.set(cpu.into())?;
    }
    sched_setaffinity(THIS_THREAD, &set)?;
    Ok(affinity)
}

fn bind_to(cpu: u16) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu.into())?;
    Ok(sched_setaffinity(THIS_THREAD, &set)?)
}

fn named(cpu: u16, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("CPU {cpu}: {}", reason(error)))
}

/// Where one data thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where its process may.
    Anywhere,
    Cpu(u16),
    /// Where the packets of its connection arrive.
    Incoming,
}

impl Place {
    /// Binds the calling thread, which drives a stream over `socket` unless it has many. A measurement does not fail
    /// because of it.
    pub(crate) fn take(self, socket: Option<&Socket>) {
        let cpu = match self {
            Self::Anywhere => return,
            Self::Cpu(cpu) => Some(cpu),
            Self::Incoming => socket.and_then(incoming_cpu),
        };
        let Some(cpu) = cpu else {
            debug!("the kernel has seen no packet of this connection");
            return;
        };
        match bind_to(cpu) {
            Ok(()) => debug!("bound to CPU {cpu}"),
            Err(error) => debug!("not bound to CPU {cpu}: {error}"),
        }
    }
}

/// The places of an end's data threads, one after another.
pub(crate) struct Places<'a> {
    placement: Option<&'a Placement>,
    given: usize,
}

impl<'a> Places<'a> {
    pub(crate) fn new(placement: Option<&'a Placement>) -> Self {
        // Threads inherit a single CPU.
        let placement = placement.filter(|placement| !placement.is_single());
        Self {
            placement,
            given: 0,
        }
    }

    /// Whether packets decide.
    pub(crate) fn follow_packets(&self) -> bool {
        self.placement == Some(&Placement::Incoming)
    }

    /// The place of the next thread.
    pub(crate) fn next(&mut self) -> Place {
        let index = self.given;
        self.given += 1;
        match self.placement {
            Some(Placement::Cpus(cpus)) => Place::Cpu(cpus.in_turn(index)),
            Some(Placement::Incoming) => Place::Incoming,
            None => Place::Anywhere,
        }
    }
}

/// The CPU that handled the last packet of a socket; `None` if the kernel doesn't know one.
pub(crate) fn incoming_cpu(socket: &Socket) -> Option<u16> {
    // Without packets the value is -1.
    socket.cpu_affinity().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    fn allowed() -> CpuSet {
        sched_getaffinity(THIS_THREAD).unwrap()
    }

    #[test]
    fn binding_ends_with_its_guard() {
        let before = allowed();
        let guard = bind(&Placement::on(0)).unwrap();
        let bound = std::thread::spawn(allowed).join().unwrap();
        assert!(bound.is_set(0).unwrap() && !bound.is_set(1).unwrap());
        drop(guard);
        assert_eq!(allowed(), before);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused() {
        let before = allowed();
        assert!(bind(&Placement::on(1023)).is_err());
        // The kernel alone would take this set.
        let error = bind(&"0+1023".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "CPU 1023: Invalid argument");
        assert_eq!(allowed(), before);
    }

    #[test]
    fn data_threads_take_several_cpus_in_turn() {
        let several: Placement = "4-5".parse().unwrap();
        let places = |placement: Option<&Placement>| {
            let mut places = Places::new(placement);
            [0; 3].map(|_| places.next())
        };
        assert_eq!(places(Some(&several)), [4, 5, 4].map(Place::Cpu));
        // They inherit one CPU.
        let one = Placement::on(4);
        assert_eq!(places(Some(&one)), [Place::Anywhere; 3]);
        assert_eq!(places(Some(&Placement::Incoming)), [Place::Incoming; 3]);
        assert_eq!(places(None), [Place::Anywhere; 3]);
    }

    #[test]
    fn a_thread_follows_the_packets_of_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Over loopback, the CPU of the sender handles what it sends.
        let sender = std::thread::spawn(move || {
            let _guard = bind(&Placement::on(0)).unwrap();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"data").unwrap();
            stream
        });
        let receiver = Socket::from(listener.accept().unwrap().0);
        let _sender = sender.join().unwrap();
        assert_eq!(incoming_cpu(&receiver), Some(0));
        let bound = std::thread::spawn(move || {
            Place::Incoming.take(Some(&receiver));
            allowed()
        });
        let bound = bound.join().unwrap();
        assert!(bound.is_set(0).unwrap() && !bound.is_set(1).unwrap());
    }
}
