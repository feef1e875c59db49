//! A certificate as people read it: in a terminal, and as a page that can be printed.

use std::fmt::Write as _;

use protocol::{
    order::DiskIdentity,
    wipe::{DiskReport, WipeReport},
};
use serde::Deserialize as _;

use super::{Certificate, Subject, Verified, policy};
use crate::{
    clock::Standing,
    machine::wipe::{Judged, level_word, outcome_word, verdict_words},
    moment,
    text::one_line,
};

/// Why writing to a text cannot fail.
const TAKES: &str = "a String takes everything";

/// A title and what stands beside it.
type Row = (String, String);

/// Returns what a certificate says, in lines.
pub fn text(verified: &Verified) -> String {
    let mut text = String::new();
    for (title, rows) in sections(verified) {
        writeln!(text, "{title}").expect(TAKES);
        for (key, value) in rows {
            writeln!(text, "  {key:<20} {value}").expect(TAKES);
        }
    }
    text
}

/// Returns what a certificate says as one HTML page that needs nothing else.
pub fn html(verified: &Verified) -> String {
    let serial = verified.certificate.serial;
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>Certificate {serial}</title><style>\
         body{{font:11pt/1.4 sans-serif;margin:2cm;max-width:20cm}}\
         h2{{font-size:12pt;margin:1em 0 .3em;border-bottom:1px solid}}\
         th{{text-align:left;vertical-align:top;font-weight:normal;padding-right:1em;white-space:nowrap}}\
         td{{overflow-wrap:anywhere}}tr{{break-inside:avoid}}</style></head><body>\
         <h1>Certificate of sanitization {serial}</h1>\n"
    );
    for (title, rows) in sections(verified) {
        writeln!(page, "<h2>{}</h2><table>", escaped(&title)).expect(TAKES);
        for (key, value) in rows {
            writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escaped(&key), escaped(&value))
                .expect(TAKES);
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body></html>\n");
    page
}

/// Makes a text harmless in HTML. What it holds was written by machines.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

fn sections(verified: &Verified) -> Vec<(String, Vec<Row>)> {
    let certificate = &verified.certificate;
    let mut sections = vec![("What this certifies".to_owned(), summary(certificate))];
    match &certificate.subject {
        Subject::Job { report, judgement } => {
            let report = WipeReport::deserialize(report).ok();
            for judged in &judgement.disks {
                let told = report
                    .as_ref()
                    .and_then(|report| report.disks.iter().find(|told| told.disk == judged.disk));
                sections.push((format!("Disk {}", words(&judged.disk)), disk(judged, told)));
            }
        }
        Subject::Disk { report, judged, .. } => {
            let told = report.as_ref().and_then(|told| DiskReport::deserialize(told).ok());
            let title = format!("Disk {}", words(&judged.disk));
            sections.push((title, disk(judged, told.as_ref())));
        }
    }
    sections.push(("Machine".to_owned(), machine(certificate)));
    sections.push(("Order".to_owned(), order(certificate)));
    sections.push(("Signatures".to_owned(), signatures(verified)));
    for (title, rows) in &mut sections {
        *title = one_line(title);
        for (_, value) in rows {
            *value = one_line(value);
        }
    }
    sections
}

struct Rows(Vec<Row>);

impl Rows {
    fn put(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((key.to_owned(), value.into()));
    }
}

fn summary(certificate: &Certificate) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    let policy = &certificate.policy;
    match &certificate.subject {
        Subject::Job { judgement, .. } => {
            let (yes, no) = ("yes: every disk of it", "no");
            rows.put("whole machine wiped", if judgement.is_complete { yes } else { no });
            for judged in &judgement.disks {
                let (verdict, reached) = (verdict_words(judged.verdict), judged.reached);
                let words = words(&judged.disk);
                rows.put("verdict", format!("{words}: {verdict}, {}", outcome_word(reached)));
            }
            judgement.findings.iter().for_each(|finding| rows.put("finding", finding.clone()));
        }
        Subject::Disk { judged, job, job_sha256, .. } => {
            rows.put("verdict", verdict_words(judged.verdict));
            rows.put("reached", outcome_word(judged.reached));
            rows.put("certificate of the job", format!("{job}, SHA-256 {job_sha256}"));
        }
    }
    rows.put("asked", format!("{}: {}", level_word(certificate.order.level), policy.asked));
    rows.put("IEEE 2883", policy.ieee2883.clone());
    rows.put("NIST SP 800-88", policy.nist80088.clone());
    rows.put("validation", certificate.validation.clone());
    certificate.out_of_scope.iter().for_each(|what| rows.put("not covered", what.clone()));
    for gone in &certificate.order.missing {
        rows.put("missing", format!("{}: destroy physically", words(gone)));
    }
    rows.0
}

fn disk(judged: &Judged, told: Option<&DiskReport>) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    let identity = &judged.disk;
    let names = [
        ("serial number", &identity.serial),
        ("WWN", &identity.wwn),
        ("EUI-64", &identity.eui64),
        ("NGUID", &identity.nguid),
    ];
    for (key, value) in names {
        if let Some(value) = value {
            rows.put(key, value.clone());
        }
    }
    rows.put("size", format!("{} ({} bytes)", identity.size_bytes, identity.size_bytes.0));
    rows.put("verdict", verdict_words(judged.verdict));
    rows.put("reached", outcome_word(judged.reached));
    judged.findings.iter().for_each(|finding| rows.put("finding", finding.clone()));
    let Some(told) = told else { return rows.0 };
    told.firmware.iter().for_each(|firmware| rows.put("firmware", firmware.clone()));
    rows.put("addressable", format!("{} bytes", told.accessible_bytes.0));
    told.native_bytes.iter().for_each(|native| rows.put("as made", format!("{} bytes", native.0)));
    for one in &told.techniques {
        let words = policy::technique_words(one.technique);
        let reason = one.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let (pass, commands) = (one.pass, one.commands.len());
        let seconds = one.milliseconds / 1000;
        let ended = format!("{:?}", one.ended).to_lowercase();
        rows.put(
            "technique",
            format!(
                "{words}, pass {pass}, {ended}{reason}; {seconds} s, {commands} commands recorded"
            ),
        );
    }
    for level in told.forecast.iter().flat_map(|forecast| &forecast.levels) {
        let would = format!("at {}", level.level.word());
        level.lines().into_iter().for_each(|line| rows.put(&would, line));
    }
    if let Some(seen) = &told.verification {
        rows.put(
            "read back",
            format!(
                "{} places, {} bytes; {} canaries, {} found again; {} differ, {} unreadable; seed {}",
                seen.places_read,
                seen.bytes_read.0,
                seen.canaries,
                seen.canaries_found,
                seen.differing,
                seen.unreadable,
                seen.seed
            ),
        );
    }
    for exception in &told.exceptions {
        rows.put("exception", format!("{}: {}", exception.code, exception.words));
    }
    rows.put("begun", moment::show(told.begun_unix_milliseconds));
    rows.put("ended", moment::show(told.ended_unix_milliseconds));
    rows.0
}

fn machine(certificate: &Certificate) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    let machine = &certificate.machine;
    rows.put("name", machine.name.clone());
    machine.manufacturer.iter().for_each(|maker| rows.put("maker", maker.clone()));
    machine.product.iter().for_each(|product| rows.put("model", product.clone()));
    let evidence = &machine.evidence;
    evidence.system_serial.iter().for_each(|serial| rows.put("serial number", serial.clone()));
    evidence.board_serial.iter().for_each(|serial| rows.put("board", serial.clone()));
    evidence.uuid.iter().for_each(|uuid| rows.put("UUID", uuid.clone()));
    evidence.ports.iter().for_each(|port| rows.put("port", port.to_string()));
    let strength = serde_json::to_value(machine.strength).unwrap_or_default();
    rows.put("identity", strength.as_str().unwrap_or_default());
    rows.0
}

fn order(certificate: &Certificate) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    let order = &certificate.order;
    rows.put("order", order.id.to_string());
    rows.put("given", format!("{} by {}", moment::show(order.at), order.by));
    order.ticket.iter().for_each(|ticket| rows.put("ticket", ticket.clone()));
    let continued = order.continued_boots.unwrap_or_default();
    rows.put("boots", format!("{}, of which {continued} continued it", order.boots.len()));
    rows.put("steps journaled", order.journal.len().to_string());
    rows.0
}

fn signatures(verified: &Verified) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    let certificate = &verified.certificate;
    let known = if verified.is_known { "as asked for" } else { "signer unknown" };
    rows.put("signed by", format!("{}, {known}", verified.signer));
    rows.put("signed at", moment::show(certificate.server.at));
    rows.put(
        "clock",
        match &certificate.server.clock {
            Standing::Synchronised => "synchronised".to_owned(),
            Standing::Trusted => "trusted by a person".to_owned(),
            Standing::Doubtful { reason } => format!("in doubt: {reason}"),
        },
    );
    if let Some(words) = machines_clock(certificate) {
        rows.put("machine's clock", words);
    }
    rows.put("agent", format!("session {}", certificate.agent.session));
    rows.put("report", format!("SHA-256 {}", certificate.agent.report_sha256));
    rows.put("number", certificate.serial.to_string());
    let previous = certificate.previous.clone();
    rows.put(
        "the one before",
        previous.map_or("none".to_owned(), |hash| format!("SHA-256 {hash}")),
    );
    rows.0
}

/// Says whose time the report's moments are, and how wrong the machine's own clock was. Of a job only: a disk's certificate
/// has no more of the report than the disk's part.
fn machines_clock(certificate: &Certificate) -> Option<String> {
    let Subject::Job { report, .. } = &certificate.subject else { return None };
    let report = WipeReport::deserialize(report).ok()?;
    let off = report.clock_offset_milliseconds.map(|offset| {
        let way = if offset < 0 { "ahead" } else { "behind" };
        format!(
            ", its own was {}.{:03} s {way}",
            offset.unsigned_abs() / 1000,
            offset.unsigned_abs() % 1000
        )
    });
    Some(format!("{}{}", report.clock, off.unwrap_or_default()))
}

/// Calls a disk by what stands on it.
fn words(disk: &DiskIdentity) -> String {
    let parts = [disk.model.as_deref(), disk.serial.as_deref().or(disk.wwn.as_deref())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
