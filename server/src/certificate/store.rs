//! Where certificates are kept: one file each in `STATE/certificates`, never rewritten, each naming the one before it.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use protocol::{
    OrderId, Pin,
    order::DiskIdentity,
    wipe::{Outcome, Verdict, WipeStep, canonical},
};
use redb::Database;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Certificate, CertifiedAgent, CertifiedMachine, CertifiedOrder, CertifiedPolicy,
    CertifiedServer, DOMAIN, EMULATED, HandedIn, Head, Inventoried, Problem, Signed, SigningKey,
    Subject,
    chain::Chain,
    digits,
    head::{gaps, note, noted},
    key::SigningKeyError,
    policy, verify,
};
use crate::{
    api::key::write_new,
    machine::{Session, wipe::WipeWork},
    text::chain,
};

/// The directory, in the state directory.
const DIRECTORY: &str = "certificates";
/// The key's file, in the state directory.
pub const KEY_FILE: &str = "certificate.key";

/// The certificates of a state directory. Clones are the same.
#[derive(Debug, Clone)]
pub struct Certificates(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    key: SigningKey,
    database: Arc<Database>,
    chain: Mutex<Chain>,
}

/// A certificate, in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its number.
    pub serial: u64,
    /// SHA-256 of its file.
    pub sha256: String,
    /// SHA-256 of the one before it, as it says; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// When it was made: milliseconds since 1970.
    pub at: i64,
    /// The machine.
    pub machine: String,
    /// The order.
    pub order: OrderId,
    /// The boot whose report it is.
    pub session: Session,
    /// The disk, as the server calls it; absent for a job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Everything that tells that disk from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<DiskIdentity>,
    /// Of a disk, the verdict; of a job, that of its worst disk.
    pub verdict: Verdict,
    /// The same of what was reached.
    pub reached: Outcome,
    /// Of a job, whether the whole machine is wiped.
    pub is_complete: bool,
    /// The person's name of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl Listed {
    /// Holds where it says that the disk was erased, with exceptions or without, and overwritten or more: what only reads
    /// as nothing may still be there.
    pub fn proves_erasure(&self) -> bool {
        let is_erased = matches!(self.verdict, Verdict::Erased | Verdict::ErasedWithExceptions);
        is_erased && self.reached >= Outcome::Clear
    }
}

/// Why a certificate was not made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The file could not be read or written.
    #[error("certificate {path}: {operation}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The database did not tell or take which one is the newest.
    #[error("{doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database says.
        source: Box<redb::Error>,
    },
    /// It could not be written as JSON.
    #[error("writing a certificate as JSON")]
    Form(#[source] serde_json::Error),
    /// It could not be signed.
    #[error("signing a certificate")]
    Sign(#[source] rcgen::Error),
    /// It would not verify: the report holds something that does not read back as it was written.
    #[error("the certificate of this report would not verify, so none is made")]
    Unsound(#[source] Problem),
    /// The order is no wipe.
    #[error("the order is no wipe")]
    NoWipe,
}

impl Certificates {
    /// Opens the certificates of a state directory, and makes key and directory where they are not there.
    /// A file that does not verify is said and left alone, and so are those that are missing; new ones follow all the same.
    pub fn open(state: &Path, database: Arc<Database>) -> Result<Self, CertificateError> {
        let key = SigningKey::open(&state.join(KEY_FILE))?;
        let directory = state.join(DIRECTORY);
        let io = |operation| {
            let path = directory.clone();
            move |source| CertificateError::Io { path, operation, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(io("making the directory"))?;
        let chain = Chain::read(&directory, noted(&database)?, key.fingerprint())?;
        let opened = Self(Arc::new(Shared { directory, key, database, chain: Mutex::new(chain) }));
        opened.note_head()?;
        if let Some(said) = opened.inventoried()?.notice() {
            tracing::warn!("{said}");
        }
        if let Some(problem) = opened.inventoried()?.problem() {
            tracing::error!(
                problem,
                "find the files again: what they prove, nothing else here does"
            );
        }
        Ok(opened)
    }

    /// Compares the files that there are with the certificates that were made. Reads the disk.
    pub fn inventoried(&self) -> Result<Inventoried, CertificateError> {
        let (head, mut broken, unnoted) = {
            let chain = self.lock();
            (chain.head.clone(), chain.broken.clone(), chain.unnoted)
        };
        // The head first: what is made meanwhile is beyond it.
        let there = self.files()?;
        let last = head.as_ref().map_or(0, |head| head.serial);
        broken.retain(|serial| there.contains(serial));
        let missing = gaps(there.range(..=last).copied(), last);
        Ok(Inventoried { head, missing, broken: broken.into_iter().collect(), unnoted })
    }

    /// Returns the newest certificate that was made.
    pub fn head(&self) -> Option<Head> {
        self.lock().head.clone()
    }

    /// Lists the numbers of the files.
    fn files(&self) -> Result<BTreeSet<u64>, CertificateError> {
        let directory = &self.0.directory;
        let io =
            |source| CertificateError::Io { path: directory.clone(), operation: "listing", source };
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(directory).map_err(io)? {
            there.extend(serial_of(&entry.map_err(io)?.path()));
        }
        Ok(there)
    }

    /// Notes in the database which one is the newest. Nobody waits for it who only reads.
    fn note_head(&self) -> Result<(), CertificateError> {
        let head = self.head();
        head.map_or(Ok(()), |head| note(&self.0.database, &head))
    }

    fn lock(&self) -> MutexGuard<'_, Chain> {
        self.0.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fingerprint of the key that signs.
    pub fn fingerprint(&self) -> Pin {
        self.0.key.fingerprint()
    }

    /// Returns the key as PEM, for a backup.
    pub fn key_pem(&self) -> String {
        self.0.key.to_pem()
    }

    /// Lists all, oldest first.
    pub fn list(&self) -> Vec<Listed> {
        self.lock().listed.clone()
    }

    /// Reads the file of one; nothing where there is none of this number.
    pub fn read(&self, serial: u64) -> Result<Option<Vec<u8>>, CertificateError> {
        let path = self.file(serial);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CertificateError::Io { path, operation: "reading", source }),
        }
    }

    /// Says of a certificate that cannot be read because there is no file of it, why: it was never made, or is missing.
    pub fn say_absent(&self, serial: u64) -> String {
        if self.head().is_none_or(|head| serial > head.serial) {
            return format!("no certificate of this number: {serial}");
        }
        let file = self.file(serial);
        format!("certificate {serial} was made, and its file is missing: {}", file.display())
    }

    fn file(&self, serial: u64) -> PathBuf {
        self.0.directory.join(file_name(serial))
    }

    /// Makes the certificate of a job and one of each of its disks, on disk when this returns. Reads and writes the disk.
    ///
    /// A report that is handed in twice gets the certificates that it has: what was cut off is completed.
    pub fn issue(&self, handed_in: &HandedIn<'_>) -> Result<Certificate, CertificateError> {
        let certificate = self.issue_files(handed_in)?;
        // The files are there: that their number is not noted yet, the next start mends.
        if let Err(error) = self.note_head() {
            tracing::warn!(
                problem = chain(&error),
                "if these certificates vanish, it is not noticed"
            );
        }
        Ok(certificate)
    }

    fn issue_files(&self, handed_in: &HandedIn<'_>) -> Result<Certificate, CertificateError> {
        // Once, and before anybody has to wait: it may be long.
        let report = canonical(handed_in.raw).map_err(CertificateError::Form)?;
        let report_sha256 = digits(&Sha256::digest(&report));
        let mut chain = self.lock();
        let (order, session) = (handed_in.order.id, handed_in.session);
        let is_its = |one: &&Listed| one.order == order && one.session == session;
        let job = chain.listed.iter().filter(is_its).rfind(|one| one.disk.is_none()).cloned();
        let (job, certificate) = if let Some(made) = self.made(job)? {
            made
        } else {
            let subject = Subject::Job {
                report: handed_in.raw.clone(),
                judgement: handed_in.judgement.clone(),
            };
            self.add(&mut chain, handed_in, &report_sha256, subject)?
        };
        let Subject::Job { report, judgement } = &certificate.subject else {
            return Err(CertificateError::NoWipe);
        };
        let wipe = handed_in.order.wipe().ok_or(CertificateError::NoWipe)?;
        let told = report.get("disks").and_then(Value::as_array);
        for (disk, judged) in wipe.disks.iter().zip(&judgement.disks) {
            let has = |one: &Listed| one.disk.as_ref() == Some(&disk.identity);
            if chain.listed.iter().filter(is_its).any(has) {
                continue;
            }
            let named = serde_json::to_value(&disk.named).map_err(CertificateError::Form)?;
            let is_about = |told: &&Value| told.get("disk") == Some(&named);
            let subject = Subject::Disk {
                job: job.serial,
                job_sha256: job.sha256.clone(),
                identity: disk.identity.clone(),
                report: told.and_then(|told| told.iter().find(is_about)).cloned(),
                judged: judged.clone(),
            };
            self.add(&mut chain, handed_in, &report_sha256, subject)?;
        }
        Ok(certificate)
    }

    /// Reads a certificate that was made; nothing where its file is gone or another: then it is made anew.
    fn made(&self, one: Option<Listed>) -> Result<Option<(Listed, Certificate)>, CertificateError> {
        let Some(one) = one else { return Ok(None) };
        let bytes = self.read(one.serial)?.unwrap_or_default();
        if digits(&Sha256::digest(&bytes)) != one.sha256 {
            tracing::error!(serial = one.serial, "the file of a certificate is not what was made");
            return Ok(None);
        }
        let signed: Signed = serde_json::from_slice(&bytes).map_err(CertificateError::Form)?;
        Ok(Some((one, signed.certificate)))
    }

    /// Signs one more certificate and puts it on disk.
    fn add(
        &self,
        chain: &mut Chain,
        handed_in: &HandedIn<'_>,
        report_sha256: &str,
        subject: Subject,
    ) -> Result<(Listed, Certificate), CertificateError> {
        let wipe = handed_in.order.wipe().ok_or(CertificateError::NoWipe)?;
        chain.look(&self.0.directory, self.fingerprint());
        let newest = chain.head.as_ref().map_or(0, |newest| newest.serial);
        let certificate = Certificate {
            version: 1,
            serial: newest.max(chain.unread) + 1,
            previous: chain.head.as_ref().map(|newest| newest.sha256.clone()),
            machine: machine_of(handed_in),
            order: order_of(handed_in, wipe, &subject),
            agent: CertifiedAgent {
                session: handed_in.session,
                public_key: digits(handed_in.public_key),
                signature: handed_in.signature.to_owned(),
                report_sha256: report_sha256.to_owned(),
            },
            server: CertifiedServer {
                key: self.fingerprint(),
                at: handed_in.at,
                clock: handed_in.clock.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            policy: words_of(wipe, &subject),
            out_of_scope: out_of_scope(handed_in, &subject),
            validation: EMULATED.to_owned(),
            subject,
        };
        let mut message = DOMAIN.to_vec();
        message.extend(canonical(&certificate).map_err(CertificateError::Form)?);
        let signature = self.0.key.sign(&message).map_err(CertificateError::Sign)?;
        let signed = Signed {
            certificate,
            public_key: digits(self.0.key.public_key()),
            signature: digits(&signature),
        };
        let mut text = String::from_utf8(canonical(&signed).map_err(CertificateError::Form)?)
            .expect("JSON is UTF-8");
        text.push('\n');
        verify(text.as_bytes(), Some(self.fingerprint())).map_err(CertificateError::Unsound)?;
        let serial = signed.certificate.serial;
        let path = self.file(serial);
        // Whole and on disk, or not at all; and never over another.
        if let Err(source) = write_new(&path, &text) {
            // It may be there by now, or another may: the next attempt goes on behind it.
            if let Ok(bytes) = fs::read(&path) {
                chain.take(serial, &bytes, self.fingerprint());
                chain.see(&self.0.directory);
            }
            return Err(CertificateError::Io { path, operation: "writing", source });
        }
        let one = list(&signed.certificate, text.as_bytes());
        chain.head = Some(Head { serial: one.serial, sha256: one.sha256.clone() });
        chain.listed.push(one.clone());
        chain.see(&self.0.directory);
        Ok((one, signed.certificate))
    }
}

/// Reads the number of a certificate from the name of its file.
pub(super) fn serial_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let serial: u64 = name.strip_suffix(".json")?.parse().ok()?;
    // Whatever else somebody put there is none: the next number follows the highest.
    (serial < END && name == file_name(serial)).then_some(serial)
}

/// Returns the name of a certificate's file.
pub(super) fn file_name(serial: u64) -> String {
    format!("{serial:012}.json")
}

/// No certificate has this number: names have twelve digits.
const END: u64 = 1_000_000_000_000;

fn machine_of(handed_in: &HandedIn<'_>) -> CertifiedMachine {
    let machine = handed_in.machine;
    CertifiedMachine {
        name: machine.name.clone(),
        evidence: handed_in.report.machine.clone(),
        strength: machine.strength(),
        manufacturer: machine.description.manufacturer.clone(),
        product: machine.description.product.clone(),
    }
}

fn order_of(handed_in: &HandedIn<'_>, wipe: &WipeWork, subject: &Subject) -> CertifiedOrder {
    let order = handed_in.order;
    let number = match subject {
        Subject::Job { .. } => None,
        Subject::Disk { identity, .. } => {
            wipe.disks.iter().position(|disk| disk.identity == *identity)
        }
    };
    let is_its = |step: &&WipeStep| {
        number.is_none_or(|number| usize::try_from(step.disk).is_ok_and(|disk| disk == number))
    };
    CertifiedOrder {
        id: order.id,
        by: order.by.clone(),
        at: order.at,
        deadline: order.deadline,
        ticket: wipe.ticket.clone(),
        level: wipe.level,
        options: wipe.options.clone(),
        extras: wipe.extras.clone(),
        finish: wipe.finish,
        disks: match number {
            None => wipe.disks.iter().map(|disk| disk.named.clone()).collect(),
            Some(number) => {
                wipe.disks.iter().skip(number).take(1).map(|d| d.named.clone()).collect()
            }
        },
        missing: wipe.missing.clone(),
        boots: wipe.boots.clone(),
        continued_boots: wipe.boots.len().checked_sub(1).filter(|continued| *continued > 0),
        journal: wipe.inherited.iter().chain(&wipe.journal).filter(is_its).cloned().collect(),
    }
}

/// Returns the least that was reached, and the worst verdict.
fn least(subject: &Subject) -> (Outcome, Verdict) {
    let judged = match subject {
        Subject::Job { judgement, .. } => judgement.disks.as_slice(),
        Subject::Disk { judged, .. } => std::slice::from_ref(judged),
    };
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Erased => 0,
        Verdict::ErasedWithExceptions => 1,
        Verdict::NotErased => 2,
        Verdict::UnknownStillRunning => 3,
    };
    let reached = judged.iter().map(|judged| judged.reached).min();
    let verdict = judged.iter().map(|judged| judged.verdict).max_by_key(rank);
    (reached.unwrap_or(Outcome::None), verdict.unwrap_or(Verdict::NotErased))
}

fn words_of(wipe: &WipeWork, subject: &Subject) -> CertifiedPolicy {
    let reached = policy::outcome_words(least(subject).0);
    CertifiedPolicy {
        name: policy::policy().name.clone(),
        asked: policy::outcome_words(wipe.level.asked()).ieee2883.clone(),
        ieee2883: reached.ieee2883.clone(),
        nist80088: reached.nist80088.clone(),
    }
}

/// Collects what nothing here covers, once each.
fn out_of_scope(handed_in: &HandedIn<'_>, subject: &Subject) -> Vec<String> {
    let about = |disk: &DiskIdentity| match subject {
        Subject::Job { .. } => true,
        Subject::Disk { judged, .. } => judged.disk == *disk,
    };
    let mut all: Vec<String> = Vec::new();
    for disk in handed_in.report.disks.iter().filter(|disk| about(&disk.disk)) {
        for what in &disk.out_of_scope {
            if !all.contains(what) {
                all.push(what.clone());
            }
        }
    }
    all
}

pub(super) fn list(certificate: &Certificate, bytes: &[u8]) -> Listed {
    let (reached, verdict) = least(&certificate.subject);
    let (disk, named, is_complete) = match &certificate.subject {
        Subject::Job { judgement, .. } => (None, None, judgement.is_complete),
        Subject::Disk { identity, judged, .. } => {
            (Some(identity.clone()), Some(judged.disk.clone()), false)
        }
    };
    Listed {
        serial: certificate.serial,
        sha256: digits(&Sha256::digest(bytes)),
        previous: certificate.previous.clone(),
        at: certificate.server.at,
        machine: certificate.machine.name.clone(),
        order: certificate.order.id,
        session: certificate.agent.session,
        disk,
        named,
        verdict,
        reached,
        is_complete,
        ticket: certificate.order.ticket.clone(),
    }
}
