//! A computer that asks for an address: a real udhcpc, which changes nothing where it runs.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{
    lab::{Lab, Station},
    machine::chance,
};

/// Not in any range; it is never told about.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 250);

/// A computer on the lab's switch.
#[derive(Debug)]
pub(crate) struct Client {
    station: Station,
}

/// What came of one question.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The address of the card that asked.
    pub(crate) mac: String,
    /// Who lent an address; absent where nobody did within some seconds.
    pub(crate) lender: Option<Ipv4Addr>,
}

impl Client {
    /// Puts it on the switch.
    pub(crate) fn plug_in(lab: &Lab) -> Result<Client> {
        Ok(Client { station: lab.station("client", ADDRESS)? })
    }

    /// Asks for an address with a card that nobody has seen before.
    pub(crate) fn asks(&self) -> Result<Asked> {
        let mac = chance::mac();
        let namespace = &self.station.namespace;
        namespace.ip(&format!("link set lan address {mac}"))?;
        let output = Command::new("ip")
            .args(["netns", "exec", namespace.name()])
            .args(["busybox", "udhcpc", "-i", "lan", "-s", "/bin/true"])
            // Once and no longer: three questions, three seconds apart.
            .args(["-f", "-q", "-n", "-t", "3", "-T", "3"])
            .stdin(Stdio::null())
            .output()
            .context("running udhcpc")?;
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words);
        let lender = words.split_once("obtained from ").map(|(_, after)| {
            let end = after.find(',').unwrap_or(after.len());
            let lender = &after[..end];
            lender.parse().with_context(|| format!("reading {lender:?} in what udhcpc says"))
        });
        Ok(Asked { mac, lender: lender.transpose()? })
    }
}
