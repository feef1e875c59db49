//! `drydock certificate`: what was wiped, and whether that is what was signed.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use protocol::Pin;

use super::{
    Server,
    output::{self, Format},
};
use crate::{
    api::certificates::{Accounted, Signer},
    certificate::{Inventoried, Listed, Problem, page, policy, verify},
    machine::wipe::{outcome_word, verdict_words},
    moment,
};

/// `drydock certificate`.
#[derive(Debug, clap::Args)]
pub(super) struct CertificateCommand {
    #[command(subcommand)]
    verb: Verb,
    /// How lists are printed.
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Format,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists certificates, oldest first.
    List,
    /// Prints one, byte for byte as it was signed.
    Show {
        /// Its number, or a file.
        certificate: String,
    },
    /// Looks whether a certificate is what was signed. Needs no server and no network.
    Verify {
        /// The file.
        file: PathBuf,
        /// The fingerprint of the key that must have signed it, from elsewhere than the file: drydock certificate key.
        #[arg(long, value_name = "FINGERPRINT")]
        key: Option<Pin>,
    },
    /// Lists every disk that was ever seen: the machine that it is in, its certificate, or that it is gone without proof.
    Report,
    /// Prints one as a page of HTML that needs nothing else.
    Print {
        /// Its number, or a file.
        certificate: String,
    },
    /// Prints the fingerprint of the key that signs.
    Key,
    /// Prints the table of techniques: how much each reaches at most, and what the standards call it.
    Policy,
}

/// How a look at a certificate ended that did not end well.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It is what somebody signed, and nobody said who should have.
    SignerUnknown,
    /// It is not what was signed.
    Broken(Problem),
    /// Not all are there that were made.
    Incomplete(String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignerUnknown => f.write_str(
                "consistent, signer unknown: compare the fingerprint with drydock certificate key, and say it with --key",
            ),
            Self::Broken(problem) => problem.fmt(f),
            Self::Incomplete(problem) => {
                write!(f, "{problem}: find the files again, in a backup of certificates/")
            }
        }
    }
}

impl std::error::Error for Doubt {}

impl CertificateCommand {
    /// Does it.
    pub(super) fn run(self) -> anyhow::Result<()> {
        match &self.verb {
            Verb::List => {
                let all: Vec<Listed> = self.server.ask("GET", "/v1/certificates")?;
                output::show(self.output, &all, |all| table(all))?;
                self.all_are_there()
            }
            Verb::Show { certificate } => {
                let bytes = self.read(certificate)?;
                output::print(&String::from_utf8_lossy(&bytes))
            }
            Verb::Verify { file, key } => {
                let bytes = read_file(file)?;
                let verified = verify(&bytes, *key).map_err(Doubt::Broken)?;
                output::print(&page::text(&verified))?;
                if verified.is_known { Ok(()) } else { bail!(Doubt::SignerUnknown) }
            }
            Verb::Report => {
                let all: Vec<Accounted> = self.server.ask("GET", "/v1/certificates/report")?;
                output::show(self.output, &all, |all| report(all, moment::now()))?;
                self.all_are_there()
            }
            Verb::Print { certificate } => {
                let bytes = self.read(certificate)?;
                let verified = verify(&bytes, None).map_err(Doubt::Broken)?;
                output::print(&page::html(&verified))
            }
            Verb::Key => {
                let signer: Signer = self.server.ask("GET", "/v1/certificates/key")?;
                output::show(self.output, &signer, |signer| format!("{}\n", signer.key))
            }
            Verb::Policy => match self.output {
                Format::Table => output::print(&policy_table()),
                format => output::show(format, policy::policy(), |_| String::new()),
            },
        }
    }

    /// Says which certificates were made and are not there any more, or are not what was made.
    fn all_are_there(&self) -> anyhow::Result<()> {
        let files: Inventoried = self.server.ask("GET", "/v1/certificates/files")?;
        if let Some(notice) = files.notice() {
            output::say(&notice);
        }
        files.problem().map_or(Ok(()), |problem| bail!(Doubt::Incomplete(problem)))
    }

    /// Reads a certificate by its number from the server, else from a file.
    fn read(&self, certificate: &str) -> anyhow::Result<Vec<u8>> {
        match certificate.parse::<u64>() {
            Ok(serial) => {
                let value: serde_json::Value =
                    self.server.ask("GET", &format!("/v1/certificates/{serial}"))?;
                // It came as canonical JSON, and a value writes itself so.
                let mut bytes = protocol::wipe::canonical(&value)?;
                bytes.push(b'\n');
                Ok(bytes)
            }
            Err(_) => read_file(Path::new(certificate)),
        }
    }
}

fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}", file.display()))
}

fn table(all: &[Listed]) -> String {
    let titles = ["NUMBER", "MADE", "MACHINE", "SUBJECT", "VERDICT", "REACHED", "TICKET"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        let subject = match (&one.disk, one.is_complete) {
            (Some(disk), _) => disk.clone(),
            (None, true) => "the whole machine".to_owned(),
            (None, false) => format!("order {}", one.order),
        };
        vec![
            one.serial.to_string(),
            moment::show(one.at),
            one.machine.clone(),
            subject,
            verdict_words(one.verdict).to_owned(),
            outcome_word(one.reached).to_owned(),
            one.ticket.clone().unwrap_or_default(),
        ]
    }));
    output::align(&rows)
}

fn report(all: &[Accounted], now: i64) -> String {
    let titles = ["DISK", "SIZE", "MACHINE", "LAST SEEN", "CERTIFICATE", "STANDING"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        let proof = one.certificate.as_ref().map_or("none".to_owned(), |certificate| {
            let (serial, verdict) = (certificate.serial, verdict_words(certificate.verdict));
            format!("{serial}, {verdict}, {}", outcome_word(certificate.reached))
        });
        let standing = match (one.is_there, one.is_gone_without_proof) {
            (true, _) => "in its machine",
            (false, true) => "GONE WITHOUT PROOF",
            (false, false) => "gone, erased before",
        };
        vec![
            one.identity.clone(),
            one.named.size_bytes.to_string(),
            one.machine.clone(),
            one.last_seen.map(|at| moment::show_ago(at, now)).unwrap_or_default(),
            proof,
            standing.to_owned(),
        ]
    }));
    output::align(&rows)
}

fn policy_table() -> String {
    let titles = ["TECHNIQUE", "REACHES AT MOST", "IEEE 2883", "WORDS"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(policy::policy().techniques.iter().map(|one| {
        let name = serde_json::to_value(one.technique).unwrap_or_default();
        vec![
            name.as_str().unwrap_or_default().to_owned(),
            outcome_word(one.at_most).to_owned(),
            policy::outcome_words(one.at_most).ieee2883.clone(),
            one.words.clone(),
        ]
    }));
    format!("{}: {}\n\n{}", policy::policy().name, policy::policy().standards, output::align(&rows))
}

/// The exit code of a doubt: one of its own for a signer that nobody vouched for.
pub(super) fn exit_of(doubt: &Doubt) -> u8 {
    match doubt {
        Doubt::SignerUnknown => 8,
        Doubt::Broken(_) | Doubt::Incomplete(_) => 9,
    }
}
