//! `drydock state`: the harbour in one file, for the day its disk dies.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Subcommand;

use super::{Server, output};
use crate::{
    api::{
        client::ClientError,
        key::{ServerKey, write_new},
        operators::{BACKUP_KIND, Backup},
    },
    certificate::{self, Certificates, KEY_FILE, SigningKey},
    machine::{self, Registry},
    serve::state::{State, key_path, prepare},
};

/// `drydock state`.
#[derive(Debug, clap::Args)]
pub(super) struct StateCommand {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Saves key and machines to a new file of mode 0600. Whoever has it can pose as this server.
    Backup {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Makes an empty state directory from such a file. Orders that were pending are void.
    Restore {
        /// The file.
        file: PathBuf,
    },
}

impl StateCommand {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        match &self.verb {
            Verb::Backup { file } => {
                let backup = self.collect()?;
                let text = serde_json::to_string(&backup).context("writing JSON")?;
                write_new(file, &text).with_context(|| format!("writing {}", file.display()))?;
                let machines = backup.machines.len();
                output::say(&format!(
                    "saved the key and {machines} machines to {}",
                    file.display()
                ));
                Ok(())
            }
            Verb::Restore { file } => restore(file, &self.server.state),
        }
    }

    /// Asks the running server; where none runs, reads the directory.
    fn collect(&self) -> anyhow::Result<Backup> {
        match self.server.ask("GET", "/v1/backup") {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::Unreachable { .. })) => {
                let directory = &self.server.state;
                if !key_path(directory).exists() {
                    bail!("no key in {}: nothing to save", directory.display());
                }
                let state = State::open(directory)?;
                let settings = machine::Settings::default();
                let registry =
                    Registry::open(Arc::clone(&state.database), settings, Arc::new(|_| {}))?;
                let has_key = directory.join(KEY_FILE).exists();
                let certificates = has_key
                    .then(|| Certificates::open(directory, Arc::clone(&state.database)))
                    .transpose()?;
                let backup = Backup::of(&state.key, certificates.as_ref(), &registry)?;
                registry.close();
                Ok(backup)
            }
            answer => answer,
        }
    }
}

fn restore(file: &Path, directory: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let backup: Backup = serde_json::from_str(&text)
        .with_context(|| format!("reading {}: it is no backup of this version", file.display()))?;
    if backup.kind != BACKUP_KIND {
        bail!("{} is no backup that this version understands: {}", file.display(), backup.kind);
    }
    ServerKey::from_pem(&backup.key).with_context(|| format!("key in {}", file.display()))?;
    if !is_empty(directory).with_context(|| format!("state directory {}", directory.display()))? {
        bail!("state directory {} is not empty: restore into a new one", directory.display());
    }
    prepare(directory)?;
    let key = key_path(directory);
    write_new(&key, &backup.key).with_context(|| format!("writing {}", key.display()))?;
    if let Some(key) = &backup.certificate_key {
        SigningKey::from_pem(key)
            .with_context(|| format!("key of certificates in {}", file.display()))?;
        let path = directory.join(KEY_FILE);
        write_new(&path, key).with_context(|| format!("writing {}", path.display()))?;
    }
    let state = State::open(directory)?;
    // A server waits for room on a full disk; a person at a terminal should rather know.
    state.give_up();
    let machines: Vec<_> =
        backup.machines.into_iter().map(|saved| (saved.machine, saved.inventory)).collect();
    let count = machines.len();
    let of_machines = machines.iter().flat_map(|(machine, _)| &machine.passwords).count();
    let passwords = of_machines + backup.passwords.len();
    machine::restore(Arc::clone(&state.database), machines, backup.retired, backup.passwords)?;
    output::say(&format!("restored the key and {count} machines; pending orders are void"));
    if let Some(head) = &backup.certificate_head {
        certificate::note(&state.database, head)?;
        output::say(&format!(
            "before you start the server, copy all certificates from the old state directory, also those that are newer than \
             number {}, the newest of the backup: certificates/; without them their numbers are given a second time",
            head.serial
        ));
    }
    if passwords > 0 {
        output::say(&format!(
            "{passwords} ATA passwords that wipes left on disks are here again: drydock orders passwords"
        ));
    }
    output::say(
        "what happened after that backup was made, passwords of later wipes included, stands in the old state directory only",
    );
    Ok(())
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
