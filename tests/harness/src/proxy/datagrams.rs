//! One direction of one stream of datagrams on its way through a [`Proxy`](super::Proxy): what is lost, repeated or
//! late, and what was passed on.
//!
//! A datagram's fate depends only on its position in the stream, so a run can be repeated. Hellos and replies, which are
//! recognised by their length, do not count.

use std::time::Duration;

/// The lengths of hellos and replies: iperf3's, and a hello with a cookie.
const HELLOS: [usize; 2] = [4, 41];

/// Where the sequence number lies, behind the time.
const SEQUENCE: usize = 8;

/// What becomes of a datagram that does not simply pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// The lowest bit of its last byte is flipped.
    Flip,
    /// It arrives after this many of its successors. One: the two are swapped.
    Late(u64),
}

/// What happens to the datagrams of each stream in one direction.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    rules: Vec<(u64, Fate)>,
    until: Option<u64>,
    cut: Option<u64>,
    hellos: u32,
    hold: Duration,
    counters_64bit: bool,
}

/// What went on, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The sequence numbers of the datagrams.
    pub sequences: Vec<u64>,
    /// How many of them passed before the client ended the test; `None` if it never did.
    pub before_end: Option<usize>,
    /// How many arrived.
    pub arrived: u64,
    /// How many hellos or replies arrived.
    pub hellos: u32,
}

/// One direction of one stream.
#[derive(Debug)]
pub(super) struct FaultyPath {
    plan: Plan,
    hellos: u32,
    /// Datagrams that are held back, and the place in the stream that each waits for.
    late: Vec<(u64, Vec<u8>)>,
    record: Record,
}

impl Plan {
    /// Everything passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every `nth` datagram has this fate. Of several rules the first that fits counts.
    pub fn every(mut self, nth: u64, fate: Fate) -> Self {
        self.rules.push((nth, fate));
        self
    }

    /// Rules hold for the first `count` datagrams only.
    pub fn until(self, count: u64) -> Self {
        let until = Some(count);
        Self { until, ..self }
    }

    /// All datagrams behind the first `count` are lost.
    pub fn cut_after(self, count: u64) -> Self {
        let cut = Some(count);
        Self { cut, ..self }
    }

    /// The first `count` hellos or replies of each stream are lost.
    pub fn lose_hellos(self, count: u32) -> Self {
        Self {
            hellos: count,
            ..self
        }
    }

    /// Hellos or replies take this long, and everything behind them waits.
    pub fn hold_hellos(self, time: Duration) -> Self {
        Self { hold: time, ..self }
    }

    /// Sequence numbers have 64 bits.
    pub fn counters_64bit(self) -> Self {
        Self {
            counters_64bit: true,
            ..self
        }
    }

    fn fate(&self, place: u64) -> Option<Fate> {
        if self.cut.is_some_and(|cut| place > cut) {
            return Some(Fate::Drop);
        }
        if self.until.is_some_and(|until| place > until) {
            return None;
        }
        let rule = self
            .rules
            .iter()
            .find(|(nth, _)| place.is_multiple_of(*nth));
        rule.map(|(_, fate)| *fate)
    }

    fn sequence(&self, datagram: &[u8]) -> u64 {
        let length = if self.counters_64bit { 8 } else { 4 };
        let bytes = datagram.iter().skip(SEQUENCE).take(length);
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl FaultyPath {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            hellos: 0,
            late: Vec::new(),
            record: Record::default(),
        }
    }

    /// Takes a datagram and returns what passes now.
    pub(super) fn offer(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        if HELLOS.contains(&datagram.len()) {
            self.hellos += 1;
            self.record.hellos += 1;
            std::thread::sleep(self.plan.hold);
            let passes = self.hellos > self.plan.hellos;
            return passes.then(|| datagram.to_vec()).into_iter().collect();
        }
        self.record.arrived += 1;
        let place = self.record.arrived;
        let mut out = Vec::new();
        match self.plan.fate(place) {
            None => out.push(datagram.to_vec()),
            Some(Fate::Drop) => {}
            Some(Fate::Flip) => {
                let mut datagram = datagram.to_vec();
                if let Some(last) = datagram.last_mut() {
                    *last ^= 1;
                }
                out.push(datagram);
            }
            Some(Fate::Duplicate) => out.extend([datagram.to_vec(), datagram.to_vec()]),
            Some(Fate::Late(others)) => self.late.push((place + others, datagram.to_vec())),
        }
        let (due, late) = self.late.drain(..).partition(|(when, _)| *when <= place);
        self.late = late;
        let due: Vec<(u64, Vec<u8>)> = due;
        out.extend(due.into_iter().map(|(_, datagram)| datagram));
        self.note(out)
    }

    /// The client ends the test: what is still held back passes now.
    pub(super) fn end(&mut self) -> Vec<Vec<u8>> {
        let late = self.late.drain(..).map(|(_, datagram)| datagram).collect();
        let out = self.note(late);
        self.record
            .before_end
            .get_or_insert(self.record.sequences.len());
        out
    }

    pub(super) fn into_record(self) -> Record {
        self.record
    }

    fn note(&mut self, out: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let sequences = out.iter().map(|datagram| self.plan.sequence(datagram));
        self.record.sequences.extend(sequences);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(sequence: u32) -> Vec<u8> {
        [&[0; SEQUENCE][..], &sequence.to_be_bytes(), &[9; 4]].concat()
    }

    fn passed(plan: Plan, count: u32) -> Vec<u64> {
        let mut path = FaultyPath::new(plan);
        for sequence in 1..=count {
            path.offer(&datagram(sequence));
        }
        path.end();
        path.into_record().sequences
    }

    #[test]
    fn each_fault_does_what_its_name_says() {
        let plan = |fate| Plan::new().every(3, fate);
        assert_eq!(passed(plan(Fate::Drop), 7), [1, 2, 4, 5, 7]);
        assert_eq!(passed(plan(Fate::Duplicate), 4), [1, 2, 3, 3, 4]);
        assert_eq!(passed(plan(Fate::Late(1)), 7), [1, 2, 4, 3, 5, 7, 6]);
        assert_eq!(passed(plan(Fate::Late(2)), 6), [1, 2, 4, 5, 3, 6]);
        assert_eq!(passed(plan(Fate::Drop).until(3), 6), [1, 2, 4, 5, 6]);
        assert_eq!(passed(plan(Fate::Duplicate).cut_after(3), 6), [1, 2, 3, 3]);
        let both = Plan::new().every(4, Fate::Drop).every(2, Fate::Duplicate);
        assert_eq!(passed(both, 6), [1, 2, 2, 3, 5, 6, 6]);
    }

    #[test]
    fn hellos_are_not_part_of_the_stream() {
        let mut path = FaultyPath::new(Plan::new().lose_hellos(1).every(1, Fate::Drop));
        assert!(path.offer(b"9876").is_empty());
        assert!(path.offer(&datagram(1)).is_empty());
        assert_eq!(path.offer(b"9876"), [b"9876"]);
        assert_eq!(path.into_record().arrived, 1);
    }

    #[test]
    fn wide_counters_are_read() {
        let mut path = FaultyPath::new(Plan::new().counters_64bit());
        let header = [&[0; SEQUENCE][..], &(1_u64 << 40).to_be_bytes()].concat();
        assert_eq!(path.offer(&header), [header]);
        path.end();
        path.offer(&[0; 16]);
        let record = path.into_record();
        assert_eq!(
            (record.sequences, record.before_end),
            (vec![1 << 40, 0], Some(1))
        );
    }
}
