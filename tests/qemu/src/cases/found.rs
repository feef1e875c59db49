//! Machines that nobody told where the server is: they look for it.

use anyhow::{Result, bail, ensure};

use super::{
    Case, When,
    medium::{Form, image, with_medium},
};
use crate::{
    lab::Lab,
    machine::{Bus, Card, Disk, Firmware, Machine, Port},
    router::{ROUTER, Router},
    server::{Mode, SERVER, Server, TLS_PORT},
};

/// Every case of this kind.
pub(super) const CASES: &[Case] = &[
    // Seen red: the router has no SRV record.
    Case {
        name: "medium_finds_server",
        claim: "beside a router that has never heard of Drydock, a machine that starts from a medium with a pin finds the server by multicast DNS, and one whose router has DNS records of it finds it by those",
        machines: 1,
        when: When::Soak,
        run: finds_server,
    },
];

/// What a person writes who lets machines find the server by the names of his own network, for one machine only.
fn names(mac: &str) -> String {
    format!(
        "no-resolv\nno-hosts\nlocal=/lab.example/\n\
         dhcp-host={mac},set:named\ndhcp-option=tag:named,option:domain-name,lab.example\n\
         dhcp-option=option:dns-server,{ROUTER}\n\
         ptr-record=_drydock._tcp.lab.example,harbour._drydock._tcp.lab.example\n\
         srv-host=harbour._drydock._tcp.lab.example,harbour.lab.example,{TLS_PORT}\n\
         host-record=harbour.lab.example,{SERVER}"
    )
}

fn finds_server(lab: &Lab) -> Result<()> {
    let machine = |name: &str| {
        let port = Port::new(Card::IntelWithIpxe);
        Machine::with(name, Firmware::Bios, port).disk(Disk::blank(Bus::Sata))
    };
    let (stranger, named) = (machine("stranger"), machine("named"));
    let _router = Router::configured(lab, &names(named.mac()))?;
    let mut server = Server::start(lab, Mode::Off)?;
    let image = image(lab, &server)?;
    for (machine, way) in [(stranger, "multicast DNS"), (named, "DNS")] {
        let booted = with_medium(machine, Form::Cd, &image).boot(lab)?;
        server.waits_for(&booted)?;
        let console = booted.console()?;
        let heard: Vec<&str> =
            console.lines().filter(|line| line.contains("where a server is")).collect();
        let [heard] = heard.as_slice() else { bail!("once: {heard:?}") };
        let is_by_group = heard.contains("multicast DNS");
        ensure!(heard.contains(way) && is_by_group == (way != "DNS"), "not by {way}: {heard}");
        ensure!(heard.contains(&format!("https://{SERVER}:{TLS_PORT}")), "elsewhere: {heard}");
    }
    Ok(())
}
