//! What one boot left behind, as answers to the questions that finding the cause asks.

use std::net::Ipv4Addr;

use super::{Context, Mode, Network, boot::is_firmware, sentence};
use crate::journal::{ClientFamily, Entry, FileProtocol, Silence, Unfit, What};

/// The traces of one boot.
#[derive(Debug)]
pub(super) struct Traces<'a> {
    /// The entries of the boot.
    pub(super) entries: &'a [Entry],
    /// The network that it most likely happened on.
    pub(super) network: Option<&'a Network>,
    /// Whether the machine's record is in place.
    pub(super) has_record: bool,
    /// Since the last entry.
    pub(super) quiet_milliseconds: i64,
}

/// What was last said over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFailure<'a> {
    pub(super) reason: &'a str,
    pub(super) pin_refused: bool,
}

impl<'a> Traces<'a> {
    pub(super) fn of(entries: &'a [Entry], context: &'a Context) -> Self {
        let quiet_milliseconds =
            entries.last().map_or(0, |last| context.now_unix_milliseconds - last.unix_milliseconds);
        let (network, has_record) = (network_of(entries, &context.networks), context.has_record);
        Self { entries, network, has_record, quiet_milliseconds }
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &'a What> {
        self.entries.iter().map(|entry| &entry.what)
    }

    pub(super) fn has(&self, holds: impl Fn(&What) -> bool) -> bool {
        self.all().any(holds)
    }

    fn count(&self, holds: impl Fn(&What) -> bool) -> usize {
        self.all().filter(|what| holds(what)).count()
    }

    pub(super) fn is_off(&self) -> bool {
        self.network.is_some_and(|network| network.mode == Mode::Off)
    }

    pub(super) fn is_proxy(&self) -> bool {
        self.network.is_some_and(|network| network.mode == Mode::Proxy)
    }

    /// The firmware that began the boot.
    pub(super) fn firmware(&self) -> Option<ClientFamily> {
        self.all().find_map(|what| match what {
            What::DhcpRequest { family, .. } if is_firmware(*family) => Some(*family),
            _ => None,
        })
    }

    /// How often the client that began the boot has asked for an address.
    pub(super) fn discovers(&self) -> usize {
        let first = self.firmware().unwrap_or(ClientFamily::Ipxe);
        self.count(|what| {
            matches!(what, What::DhcpRequest { message, family, .. }
                if message == "DISCOVER" && *family == first)
        })
    }

    /// How often the boot server was asked on port 4011.
    pub(super) fn requests_on_4011(&self) -> usize {
        self.count(|what| matches!(what, What::DhcpRequest { port: 4011, .. }))
    }

    /// Whether a request on port 4011 was followed by an answer.
    pub(super) fn answered_on_4011(&self) -> bool {
        self.all()
            .skip_while(|what| !matches!(what, What::DhcpRequest { port: 4011, .. }))
            .any(|what| matches!(what, What::DhcpReply { .. }))
    }

    /// The server that the client took an address of.
    pub(super) fn chosen_server(&self) -> Option<Ipv4Addr> {
        self.all().rev().find_map(|what| match what {
            What::DhcpRequest { chosen_server, .. } => *chosen_server,
            _ => None,
        })
    }

    /// Whether the client went on after the first offers.
    pub(super) fn has_requested(&self) -> bool {
        self.has(|what| matches!(what, What::DhcpRequest { message, .. } if message == "REQUEST"))
    }

    pub(super) fn has_offered(&self) -> bool {
        self.has(|what| matches!(what, What::DhcpReply { message, .. } if message != "NAK"))
    }

    /// The last boot file that was named: by us, or where we leave that to the router, by it.
    pub(super) fn offered_file(&self) -> Option<&'a str> {
        let ours = self.all().rev().find_map(|what| match what {
            What::DhcpReply { file, .. } => file.as_deref(),
            _ => None,
        });
        ours.or_else(|| self.foreign_boot_server().filter(|_| self.is_off()).map(|(_, file)| file))
    }

    /// Whether the last answer came with an address of ours, or the client has one of another server.
    pub(super) fn last_silence(&self) -> Option<&'a Silence> {
        self.all().rev().find_map(|what| match what {
            What::DhcpSilence(silence) => Some(silence),
            _ => None,
        })
    }

    /// Another server that offered an address.
    pub(super) fn foreign_offer(&self, has_identifier: bool) -> Option<Ipv4Addr> {
        self.all().find_map(|what| match what {
            What::ForeignOffer { server, has_server_identifier, .. }
                if *has_server_identifier == has_identifier =>
            {
                Some(*server)
            }
            _ => None,
        })
    }

    /// Another server that named a boot file.
    pub(super) fn foreign_boot_server(&self) -> Option<(Ipv4Addr, &'a str)> {
        self.all().find_map(|what| match what {
            What::ForeignOffer { server, file: Some(file), .. } => Some((*server, file.as_str())),
            _ => None,
        })
    }

    fn is_file(what: &What, over: FileProtocol) -> bool {
        match what {
            What::FileRequest { protocol, .. }
            | What::FileProbed { protocol, .. }
            | What::FileSent { protocol, .. }
            | What::FileFailed { protocol, .. } => *protocol == over,
            _ => false,
        }
    }

    /// Whether anything came over TFTP.
    pub(super) fn has_tftp(&self) -> bool {
        self.has(|what| Self::is_file(what, FileProtocol::Tftp))
    }

    /// Whether anything came over HTTP.
    pub(super) fn has_http(&self) -> bool {
        self.has(|what| {
            Self::is_file(what, FileProtocol::Http) || matches!(what, What::Script { .. })
        })
    }

    /// A program or script that went out whole, the last.
    pub(super) fn sent(&self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.all().rev().find_map(|what| match what {
            What::FileSent { path, .. } if wanted(path) => Some(path.as_str()),
            _ => None,
        })
    }

    /// A file of the image that was asked for and never went out whole.
    pub(super) fn unfinished_image(&self) -> Option<(&'a str, Option<&'a str>)> {
        self.unfinished(sentence::is_image)
    }

    /// A boot program that was asked for and never went out whole; not one that is not there on purpose.
    pub(super) fn unfinished_program(&self) -> Option<(&'a str, Option<&'a str>)> {
        self.unfinished(|path| !sentence::is_image(path) && !sentence::is_script(path))
            .filter(|(path, _)| !path.ends_with("/own-disk"))
    }

    fn unfinished(&self, is_meant: impl Fn(&str) -> bool) -> Option<(&'a str, Option<&'a str>)> {
        // Backwards, an end comes before its request.
        let mut probed: Vec<&str> = Vec::new();
        let wanted = self.all().rev().find_map(|what| match what {
            What::FileProbed { path, .. } => {
                probed.push(path);
                None
            }
            What::FileRequest { path, .. } | What::FileFailed { path, .. } if is_meant(path) => {
                match probed.iter().position(|probed| probed == path) {
                    Some(end) if matches!(what, What::FileRequest { .. }) => {
                        probed.swap_remove(end);
                        None
                    }
                    _ => Some(path.as_str()),
                }
            }
            _ => None,
        })?;
        if self.sent(|path| path == wanted).is_some() {
            return None;
        }
        let why = self.all().rev().find_map(|what| match what {
            What::FileFailed { path, reason, .. } if path == wanted => Some(reason.as_str()),
            _ => None,
        });
        Some((wanted, why))
    }

    /// A file that went out over TFTP in part: nobody acknowledged it.
    pub(super) fn tftp_timed_out(&self) -> Option<&'a str> {
        self.all().rev().find_map(|what| match what {
            // The server's own wording, documented at `What::FileFailed`.
            What::FileFailed { protocol: FileProtocol::Tftp, path, reason }
                if reason.starts_with("timed out") =>
            {
                Some(path.as_str())
            }
            _ => None,
        })
    }

    /// Whether the machine was sent to its own disk.
    pub(super) fn sent_to_own_disk(&self) -> bool {
        self.all().rev().find_map(|what| match what {
            What::Script { boots } => Some(boots == "own disk"),
            What::DhcpReply { file: Some(file), .. } => Some(file.ends_with("/own-disk")),
            _ => None,
        }) == Some(true)
    }

    /// What the last script boots.
    pub(super) fn script(&self) -> Option<&'a str> {
        self.all().rev().find_map(|what| match what {
            What::Script { boots } => Some(boots.as_str()),
            _ => None,
        })
    }

    /// Whether iPXE speaks.
    pub(super) fn has_ipxe(&self) -> bool {
        self.has(|what| matches!(what, What::DhcpRequest { family: ClientFamily::Ipxe, .. }))
    }

    /// The last failure over TLS, unless the agent announced itself afterwards.
    pub(super) fn tls_failure(&self) -> Option<TlsFailure<'a>> {
        self.all().rev().find_map(|what| match what {
            What::Announced { .. } => Some(None),
            What::TlsFailed { reason, pin_refused } => {
                Some(Some(TlsFailure { reason, pin_refused: *pin_refused }))
            }
            _ => None,
        })?
    }

    /// Why the agent's last report was refused, unless it announced itself afterwards.
    pub(super) fn unfit(&self) -> Option<&'a Unfit> {
        self.all().rev().find_map(|what| match what {
            What::Announced { .. } => Some(None),
            What::AnnounceRefused(unfit) => Some(Some(unfit)),
            _ => None,
        })?
    }

    /// The last thing that the record's writer said: its name, or why not.
    pub(super) fn record(&self) -> Option<Result<&'a str, &'a str>> {
        self.all().rev().find_map(|what| match what {
            What::RecordWritten { name } => Some(Ok(name.as_str())),
            What::RecordFailed { reason } => Some(Err(reason.as_str())),
            _ => None,
        })
    }

    /// Whether the agent announced itself; and whether completely.
    pub(super) fn announced(&self) -> Option<bool> {
        self.all().rev().find_map(|what| match what {
            What::Announced { complete, .. } => Some(*complete),
            _ => None,
        })
    }

    /// The drivers that are on their way, last, and whether that takes too long; nothing once the agent has said that it has
    /// seen everything.
    pub(super) fn awaited(&self) -> Option<(&'a [String], bool)> {
        self.all().rev().find_map(|what| match what {
            What::Announced { complete: true, .. } => Some(None),
            What::DriversAwaited { modules, overdue } => Some(Some((modules.as_slice(), *overdue))),
            _ => None,
        })?
    }

    /// What the agent failed of, last.
    pub(super) fn agent_failure(&self) -> Option<&'a str> {
        self.all().rev().find_map(|what| match what {
            What::Announced { .. } => Some(None),
            What::Agent(protocol::Event {
                kind: protocol::EventKind::Failed { reason, .. },
                ..
            }) => Some(Some(reason.as_str())),
            _ => None,
        })?
    }

    /// The kernel's log that a failing agent left.
    pub(super) fn kernel_log(&self) -> Option<&'a str> {
        self.all().rev().find_map(|what| match what {
            What::Agent(protocol::Event {
                kind: protocol::EventKind::Failed { kernel_log, .. },
                ..
            }) if !kernel_log.is_empty() => Some(kernel_log.as_str()),
            _ => None,
        })
    }

    /// Why the machine is held, last.
    pub(super) fn held(&self) -> Option<&'a str> {
        self.all().rev().find_map(|what| match what {
            What::Held { reason } => Some(reason.as_str()),
            _ => None,
        })
    }

    /// How often it came back, where that was noticed.
    pub(super) fn loops(&self) -> Option<u32> {
        self.all().rev().find_map(|what| match what {
            What::BootLoop { rounds } => Some(*rounds),
            _ => None,
        })
    }
}

/// Returns the network that a boot happened on: where its last DHCP request arrived. Where none did, the first.
fn network_of<'a>(entries: &[Entry], networks: &'a [Network]) -> Option<&'a Network> {
    let arrived = entries.iter().rev().find_map(|entry| match &entry.what {
        What::DhcpRequest { interface, .. } => interface.as_deref(),
        _ => None,
    });
    let there = networks.iter().find(|network| Some(network.interface.as_str()) == arrived);
    there.or(networks.first())
}
