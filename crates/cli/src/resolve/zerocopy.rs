//! The zero-copy options, and which of them can be combined.

use iperf_model::{CopyMode, ReceiveMode, SendMode, Transport, ZeroCopy};

use crate::error::ParameterError;
use crate::value::Value;

/// The zero-copy options as far as they have been read.
#[derive(Debug, Default)]
pub(super) struct ZeroCopyDraft {
    send: SendMode,
    receive: Option<ReceiveMode>,
    skip_rx_copy: bool,
    pub(super) strict: bool,
    pub(super) verify: bool,
}

impl ZeroCopyDraft {
    /// `-Z`, `--zerocopy[=MODE]`.
    pub(super) fn send(&mut self, value: &Value<'_>) -> Result<(), ParameterError> {
        self.send = match CopyMode::from_name(value.str()?).map(SendMode::try_from) {
            Some(Ok(mode)) if mode != SendMode::Copy => mode,
            _ => return Err(value.refuse("sendfile, splice or msg")),
        };
        Ok(())
    }

    /// `--zerocopy-rx=MODE`.
    pub(super) fn receive(&mut self, value: &Value<'_>) -> Result<(), ParameterError> {
        let name = value.str()?;
        let mode = CopyMode::from_name(name).map(ReceiveMode::try_from);
        self.receive = Some(match mode {
            _ if name == "off" => ReceiveMode::Copy,
            Some(Ok(mode)) if mode != ReceiveMode::Copy => mode,
            _ => return Err(value.refuse("mmap, trunc, splice or off")),
        });
        Ok(())
    }

    /// `--skip-rx-copy`.
    pub(super) fn skip_rx_copy(&mut self) {
        self.skip_rx_copy = true;
    }

    /// Whether an option was given that iperf3 does not have; it has `-Z` and `--skip-rx-copy`.
    pub(super) fn asks_for_more(&self) -> bool {
        let named = !matches!(self.send, SendMode::Copy | SendMode::Auto);
        named || self.receive.is_some() || self.strict || self.verify
    }

    /// The first of the options that was given, if any: an exchange has no way to avoid copies.
    pub(super) fn given(&self) -> Option<&'static str> {
        let options = [
            (self.verify, "--verify"),
            (self.send != SendMode::Copy, "-Z/--zerocopy"),
            (self.receive.is_some(), "--zerocopy-rx"),
            (self.skip_rx_copy, "--skip-rx-copy"),
            (self.strict, "--zerocopy-strict"),
        ];
        let given = options.into_iter().find(|(given, _)| *given);
        given.map(|(_, option)| option)
    }

    /// Determines the modes of a test. With `-Z`, receiving avoids copies too where it can.
    pub(super) fn settle(&self, transport: Transport) -> Result<ZeroCopy, ParameterError> {
        let streams = match transport {
            Transport::Tcp | Transport::Mptcp | Transport::Vsock => true,
            Transport::Udp | Transport::Sctp | Transport::VsockSeqpacket => false,
        };
        let receive = match self.receive {
            Some(ReceiveMode::Trunc) | None if self.skip_rx_copy => ReceiveMode::Trunc,
            Some(_) if self.skip_rx_copy => {
                return Err(ParameterError::Clash("--skip-rx-copy", "--zerocopy-rx"));
            }
            Some(mode) => mode,
            None if self.send != SendMode::Copy && streams => ReceiveMode::Mmap,
            None => ReceiveMode::Copy,
        };
        let refused = match (transport, self.send, receive) {
            (Transport::Udp | Transport::Sctp, SendMode::Splice, _) => "--zerocopy=splice",
            (Transport::Udp, SendMode::Sendfile, _) => "--zerocopy=sendfile",
            (Transport::Sctp, SendMode::Msg, _) => "--zerocopy=msg",
            (Transport::Udp | Transport::Sctp, _, ReceiveMode::Mmap) => "--zerocopy-rx=mmap",
            (Transport::Udp | Transport::Sctp, _, ReceiveMode::Splice) => "--zerocopy-rx=splice",
            (Transport::VsockSeqpacket, send, receive) => match (send, receive) {
                (SendMode::Sendfile, _) => "--zerocopy=sendfile",
                (SendMode::Splice, _) => "--zerocopy=splice",
                (_, ReceiveMode::Copy) => return self.check(receive),
                _ => "--zerocopy-rx",
            },
            _ => return self.check(receive),
        };
        Err(ParameterError::NotOver {
            option: refused,
            transport: match transport {
                Transport::VsockSeqpacket => "SOCK_SEQPACKET",
                other => other.name(),
            },
        })
    }

    fn check(&self, receive: ReceiveMode) -> Result<ZeroCopy, ParameterError> {
        let modes = ZeroCopy {
            send: self.send,
            receive,
        };
        if self.strict && modes == ZeroCopy::default() {
            return Err(ParameterError::Needs(
                "--zerocopy-strict",
                "--zerocopy or --zerocopy-rx",
            ));
        }
        match receive {
            ReceiveMode::Trunc if self.verify => Err(ParameterError::Unseen("trunc")),
            ReceiveMode::Splice if self.verify => Err(ParameterError::Unseen("splice")),
            _ => Ok(modes),
        }
    }
}
