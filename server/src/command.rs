//! The commands: one verb, one file. Data goes to stdout, words to stderr.

mod certificate;
mod explain;
mod image;
mod install;
mod line;
mod machines;
mod orders;
mod output;
mod serve;
mod site;
mod state;
mod version;
mod wipe;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    iter,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::{
    certificate::{CertificateCommand, Doubt},
    image::Images,
    install::{Install, Outcome},
    machines::Machines,
    orders::Orders,
    output::Format,
    serve::Serve,
    site::{Export, Router},
    state::StateCommand,
    version::Version,
    wipe::WipeCommand,
};
use crate::{
    api::{
        client::{self, ClientError},
        operators::Status,
    },
    clock::Standing,
    explain::Network,
    serve::state::socket_path,
};

/// The usual state directory.
const STATE: &str = "/var/lib/drydock";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the message on stderr says why
  2  the command line makes no sense
  3  no server answers with this state directory
  4  the server refused
  5  the server knows no such machine, order or image
  6  the order failed; its reason says whether the disk was touched
  7  the order ended before anybody began it: it expired or was cancelled
  8  the certificate is consistent, and nobody said whose key must have signed it
  9  the certificate is not what was signed";

/// Boots machines over the network, knows them, and writes their Tinkerbell Hardware records.
#[derive(Debug, Parser)]
#[command(name = "drydock", version, help_expected = true, after_help = EXIT_CODES)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the server.
    Serve(Serve),
    /// Lists machines and says what shall happen to them.
    Machines(Machines),
    /// Puts an image on a disk of a machine, and follows that to its end.
    Install(Box<Install>),
    /// Wipes disks of a machine, and follows that to its certificate.
    Wipe(Box<WipeCommand>),
    /// Lists certificates of what was wiped, verifies and prints them.
    Certificate(CertificateCommand),
    /// Lists orders and takes them back.
    Orders(Orders),
    /// Adds images to the server's store, lists, verifies and removes them.
    Image(Images),
    /// Explains a machine's last boot: what happened, why there was silence, what to try.
    Explain {
        /// The machine's name, or the MAC address of one of its ports.
        machine: String,
        /// How the explanation is printed.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
        #[command(flatten)]
        server: Server,
    },
    /// Writes the static tree that a router or web server can serve instead of this one.
    Export(Export),
    /// Prints what a router must be told, in its own configuration language.
    Router(Router),
    /// Says what the running server does.
    Status {
        /// How it is printed.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
        #[command(flatten)]
        server: Server,
    },
    /// Saves the state directory to a file, and makes one from a file.
    State(StateCommand),
    /// Prints the version, and what the images that are served are made of.
    Version(Version),
}

/// Which server is spoken to.
#[derive(Debug, clap::Args)]
struct Server {
    /// The server's state directory: its socket is there.
    #[arg(long, default_value = STATE, value_name = "DIR", global = true)]
    state: PathBuf,
}

impl Server {
    /// Asks the server for JSON.
    fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, path: &str) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(client::ask(&socket_path(&self.state), method, path))?)
    }

    /// Tells the server something, and reads its JSON answer.
    fn tell<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(body)?.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(client::tell(&socket_path(&self.state), "POST", path, body))?)
    }
}

impl Command {
    /// Does what the command line says.
    pub fn run(self) -> ExitCode {
        let done = match self.verb {
            Verb::Serve(serve) => serve.run(),
            Verb::Machines(machines) => machines.run(),
            Verb::Install(install) => install.run(),
            Verb::Wipe(wipe) => wipe.run(),
            Verb::Certificate(certificate) => certificate.run(),
            Verb::Orders(orders) => orders.run(),
            Verb::Image(images) => images.run(),
            Verb::Explain { machine, output, server } => explain::run(&machine, output, &server),
            Verb::Export(export) => export.run(),
            Verb::Router(router) => router.run(),
            Verb::Status { output, server } => status(output, &server),
            Verb::State(state) => state.run(),
            Verb::Version(version) => version.run(),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nobody is left to tell when stderr is closed.
                drop(writeln!(io::stderr(), "drydock: {error:#}"));
                ExitCode::from(exit_of(&error))
            }
        }
    }
}

fn status(format: Format, server: &Server) -> anyhow::Result<()> {
    let status: Status = server.ask("GET", "/v1/status")?;
    output::show(format, &status, |status| {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let mut rows =
            vec![row(["version", &status.version]), row(["pin", &status.pin.to_string()])];
        for network in &status.networks {
            let Network { interface, address, mode, http_port, tls_port } = network;
            let does = format!("{address}, DHCP {mode:?}, HTTP {http_port}, TLS {tls_port}");
            rows.push(row([interface, &does]));
        }
        let (machines, waiting) = (status.machines, status.waiting_for_approval);
        let clock = match &status.clock {
            Standing::Synchronised => "synchronised".to_owned(),
            Standing::Trusted => "trusted, because of --trust-clock".to_owned(),
            Standing::Doubtful { reason } => {
                format!("in doubt, so nothing that destroys is handed out: {reason}")
            }
        };
        rows.push(row(["clock", &clock]));
        if let Some(build) = &status.images.build {
            let all = status.images.systems.iter().flat_map(|system| &system.software);
            // One for each architecture.
            let kernels: BTreeSet<_> =
                all.filter(|line| line.starts_with("linux-image-")).cloned().collect();
            let words: Vec<_> = iter::once(format!("build {build}")).chain(kernels).collect();
            rows.push(row(["images", &words.join(", ")]));
        }
        rows.push(row(["machines", &format!("{machines}, {waiting} of them not approved")]));
        output::align(&rows)
    })
}

/// The numbers of [`EXIT_CODES`].
fn exit_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Outcome>() {
        Some(Outcome::Failed(_)) => return 6,
        Some(Outcome::NotBegun(_)) => return 7,
        None => {}
    }
    if let Some(doubt) = error.downcast_ref::<Doubt>() {
        return certificate::exit_of(doubt);
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { .. } | ClientError::Forbidden { .. }) => 3,
        Some(ClientError::Refused { status, .. }) if status.as_u16() == 404 => 5,
        Some(ClientError::Refused { .. }) => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_argument_explained() {
        Command::command().debug_assert();
    }

    #[test]
    fn the_help_reads_well() {
        let mut command = Command::command();
        let mut text = command.render_long_help().to_string();
        for name in [
            "serve",
            "machines",
            "install",
            "wipe",
            "certificate",
            "orders",
            "image",
            "explain",
            "export",
            "router",
            "state",
        ] {
            let verb = command.find_subcommand_mut(name).unwrap();
            text.extend(["\n---- ", name, "\n", &verb.render_long_help().to_string()]);
        }
        insta::assert_snapshot!(text);
    }
}
