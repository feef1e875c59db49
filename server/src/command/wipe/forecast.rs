//! What each level would do to the disks of a machine, as its agent said at `idle`.

use anyhow::Context as _;
use protocol::wipe::{PowerLevel, WipeReport};
use serde::{Deserialize as _, Serialize};

use super::words;
use crate::{
    certificate::{Signed, Subject},
    command::{
        Server, orders,
        output::{self, Format},
    },
    machine::{OrderOverview, disk_order::OrderState},
    moment,
    text::one_line,
};

/// An order of `idle` with what its machine reported: the forecast of each disk.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Looked<'o> {
    /// The order.
    #[serde(flatten)]
    order: &'o OrderOverview,
    /// What its agent reported.
    report: WipeReport,
}

impl<'o> Looked<'o> {
    /// Prints an order: one of `idle` that is over with what its machine reported.
    pub(in crate::command) fn show(
        server: &Server,
        order: &'o OrderOverview,
        format: Format,
    ) -> anyhow::Result<()> {
        let page = |order: &OrderOverview| orders::page(order, moment::now());
        match Self::of(server, order)? {
            Some(looked) => output::show(format, &looked, |looked| {
                format!("{}\n{}", page(looked.order), looked.text())
            }),
            None => output::show(format, order, page),
        }
    }

    /// Asks the server for the report; nothing where there is none that says anything.
    fn of(server: &Server, order: &'o OrderOverview) -> anyhow::Result<Option<Self>> {
        let OrderState::Wiped { result, .. } = &order.order.state else { return Ok(None) };
        if result.level != PowerLevel::Idle {
            return Ok(None);
        }
        let path = format!("/v1/certificates/{}", result.certificate);
        let signed: Signed =
            server.ask("GET", &path).context("reading what the machine reported")?;
        let Subject::Job { report, .. } = &signed.certificate.subject else { return Ok(None) };
        let report = WipeReport::deserialize(report).context("reading the machine's report")?;
        Ok(Some(Self { order, report }))
    }

    /// Returns what each level would do, for a person.
    fn text(&self) -> String {
        let mut text = String::new();
        for disk in &self.report.disks {
            let transport = disk.transport.as_deref().unwrap_or("no transport");
            let medium = disk.forecast.as_ref().map_or("not asked", |told| told.medium.word());
            let title = format!("{}  {}, {transport}, {medium}", disk.name, words(&disk.disk));
            text.push_str(&one_line(&title));
            text.push('\n');
            match &disk.forecast {
                Some(forecast) => {
                    for line in forecast.lines() {
                        text.push_str(&one_line(&line));
                        text.push('\n');
                    }
                }
                None => {
                    for exception in &disk.exceptions {
                        text.push_str(&one_line(&format!("  {}", exception.words)));
                        text.push('\n');
                    }
                }
            }
            text.push('\n');
        }
        text
    }
}
