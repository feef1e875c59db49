//! Another DHCP server on a network that is ours (SAFETY.md 17).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::{
    client::Client,
    lab::Lab,
    router::{ROUTER, Router},
    server::{Mode, SERVER, Server},
    wait,
};

/// The server looks for the other one again 30 s after it was seen, and then listens for 5 s.
const RECOVERY: Duration = Duration::from_mins(2);

pub(super) fn another_dhcp_server(lab: &Lab) -> Result<()> {
    let mut router = Router::plain(lab)?;
    router.leaves()?;
    let mut server = Server::start(lab, Mode::Authoritative)?;
    let client = Client::plug_in(lab)?;
    ensure!(client.asks()?.lender == Some(SERVER), "the server does not lend");

    router.comes_back()?;
    wait::until("the other one's addresses", RECOVERY, || {
        server.must_run()?;
        Ok((client.asks()?.lender == Some(ROUTER)).then_some(()))
    })?;

    // Ours does not wait for a gap in which it would be the only one to answer: it has to look first.
    router.leaves()?;
    let asked = client.asks()?;
    ensure!(asked.lender.is_none(), "{:?} lends beside {ROUTER}", asked.lender);
    let explanation = server.names(&asked.mac, "silenced")?;
    let says_who = explanation["timeline"].to_string().contains(&ROUTER.to_string());
    ensure!(says_who, "it does not say for whom it is silent: {explanation}");
    wait::until("addresses of ours", RECOVERY, || {
        server.must_run()?;
        Ok((client.asks()?.lender == Some(SERVER)).then_some(()))
    })?;

    // Where another one answers already, it does not even start.
    server.kill()?;
    router.comes_back()?;
    let refusal = server.restart().err().context("it started beside another DHCP server")?;
    let refusal = format!("{refusal:#}");
    ensure!(refusal.contains("another DHCP server answers on lan: 10.77.0.1"), "{refusal}");
    Ok(())
}
