//! `drydock export` and `drydock router`: for networks whose router does Drydock's part. They need no running server.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{STATE, output};
use crate::{
    api::key::ServerKey,
    boot::{self, Asset, Assets, WithoutServer},
    config::{Config, Network, Plan, interface},
    serve::{ASSETS, boot_settings, state::key_path},
};

/// Which server a router shall send machines to.
#[derive(Debug, clap::Args)]
struct Site {
    /// The server's configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's state directory: its key is there.
    #[arg(long, default_value = STATE, value_name = "DIR")]
    state: PathBuf,
    /// Where boot programs and images are, as `make image` writes them.
    #[arg(long, default_value = ASSETS, value_name = "DIR")]
    assets: PathBuf,
    /// The server's network interface, where there are several.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
}

/// `drydock export`.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Where the tree is written: a new directory, or a tree of an earlier export.
    directory: PathBuf,
    /// What a machine boots while the server does not answer.
    #[arg(long, value_enum, default_value = "own-disk")]
    without_server: Fallback,
    #[command(flatten)]
    site: Site,
}

/// What a machine boots while the server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fallback {
    /// Its own disk.
    OwnDisk,
    /// SunshineOS from the tree, which waits for the server.
    Sunshine,
}

/// `drydock router`.
#[derive(Debug, clap::Args)]
pub(super) struct Router {
    /// The router's kind: dnsmasq or openwrt.
    name: String,
    #[command(flatten)]
    site: Site,
}

impl Export {
    /// Writes the tree; prints what is in it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (settings, assets) = self.site.read()?;
        let without_server = match self.without_server {
            Fallback::OwnDisk => WithoutServer::OwnDisk,
            Fallback::Sunshine => WithoutServer::Sunshine,
        };
        let written = boot::export(&self.directory, &assets, &settings, without_server)?;
        output::print(&(written.join("\n") + "\n"))
    }
}

impl Router {
    /// Prints the recipe.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (settings, assets) = self.site.read()?;
        let programs: Vec<boot::Program> = assets
            .present()
            .into_iter()
            .filter_map(|asset| match asset {
                Asset::Program(program) => Some(program),
                Asset::Image(_) | Asset::Pack(_) | Asset::Unified(_) | Asset::Board(_) => None,
            })
            .collect();
        output::print(&boot::recipe(&self.name, &settings, &programs)?)
    }
}

impl Site {
    fn read(&self) -> anyhow::Result<(boot::Settings, Assets)> {
        let config = match &self.config {
            Some(path) => {
                Config::read(path).with_context(|| format!("configuration {}", path.display()))?
            }
            None => Config::default(),
        };
        let interfaces = interface::read().context("reading the network interfaces")?;
        let named = self.interface.as_deref();
        let in_plan = if config.vlans.is_empty() { named } else { None };
        let plan = Plan::make(&config, &interfaces, in_plan)?;
        let network = choose(&plan, named)?;
        let key = read_key(&self.state)?;
        let settings = boot_settings(&config, network, key.pin())?;
        let assets = Assets::open(&self.assets)
            .with_context(|| format!("assets {}", self.assets.display()))?;
        Ok((settings, assets))
    }
}

fn choose<'a>(plan: &'a Plan, named: Option<&str>) -> anyhow::Result<&'a Network> {
    let mut fitting = plan
        .networks
        .iter()
        .filter(|network| named.is_none_or(|name| network.dhcp.interface() == name));
    match (fitting.next(), fitting.next()) {
        (Some(network), None) => Ok(network),
        (None, _) => bail!("--interface: not in the configuration"),
        (Some(_), Some(_)) => {
            bail!("the configuration has several networks: name one with --interface")
        }
    }
}

/// Reads the key that the server made. Never makes one: it would not be the server's.
fn read_key(state: &Path) -> anyhow::Result<ServerKey> {
    let path = key_path(state);
    if !path.try_exists().with_context(|| format!("key {}", path.display()))? {
        bail!("no key {}: start `drydock serve` once with this state directory", path.display());
    }
    Ok(ServerKey::open(&path)?)
}
