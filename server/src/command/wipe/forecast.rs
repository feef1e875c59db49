//! What each level would do to the disks of a machine, as its agent said at `idle`.

use anyhow::Context as _;
use protocol::wipe::{DiskReport, Exception, PowerLevel, WipeReport};
use serde::{Deserialize as _, Serialize};

use super::words;
use crate::{
    certificate::{Signed, Subject},
    command::{
        Server, orders,
        output::{self, Format},
    },
    machine::{
        OrderOverview,
        disk_order::OrderState,
        wipe::{Against, level_word},
    },
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
    /// What the server itself would refuse now.
    against: Vec<Against>,
}

impl<'o> Looked<'o> {
    /// Prints an order: one of `idle` that is over with what its machine reported. Where that cannot be read, the order all the
    /// same, and why.
    pub(in crate::command) fn show(
        server: &Server,
        order: &'o OrderOverview,
        format: Format,
    ) -> anyhow::Result<()> {
        let page = |order: &OrderOverview| orders::page(order, moment::now());
        let (looked, unread) = kept(Self::of(server, order));
        match looked {
            Some(looked) => output::show(format, &looked, |looked| {
                format!("{}\n{}", page(looked.order), looked.text())
            }),
            None => output::show(format, order, page),
        }?;
        if let Some(unread) = unread {
            output::say(&unread);
        }
        Ok(())
    }

    /// Asks the server for the report; nothing where there is none that says anything.
    fn of(server: &Server, order: &'o OrderOverview) -> anyhow::Result<Option<Self>> {
        let OrderState::Wiped { result, .. } = &order.order.state else { return Ok(None) };
        if result.level != PowerLevel::Idle {
            return Ok(None);
        }
        let path = format!("/v1/certificates/{}", result.certificate);
        let signed: Signed =
            server.ask("GET", &path).context("what the machine reported cannot be shown")?;
        let Subject::Job { report, .. } = &signed.certificate.subject else { return Ok(None) };
        let report = WipeReport::deserialize(report).context("reading the machine's report")?;
        let path = format!("/v1/orders/{}/against", order.order.id);
        let against = server.ask("GET", &path).unwrap_or_else(|unsaid: anyhow::Error| {
            let words = format!("the server does not say what it would refuse: {unsaid:#}");
            output::say(&one_line(&words));
            Vec::new()
        });
        Ok(Some(Self { order, report, against }))
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
            let is_said = |one: &&Exception| {
                disk.forecast.as_ref().is_some_and(|told| told.obstacles.contains(one))
            };
            let exceptions = disk.exceptions.iter().filter(|one| !is_said(one));
            let exceptions = exceptions.map(|one| format!("  {}", one.words));
            let lines = exceptions.chain(self.forecast(disk));
            lines.for_each(|line| text.push_str(&(one_line(&line) + "\n")));
            text.push('\n');
        }
        text
    }

    /// Says what each level would do to a disk, and what stands in the way: with its agent, and with the server.
    fn forecast(&self, disk: &DiskReport) -> Vec<String> {
        let is_its = |one: &&Against| one.disk.as_ref().is_none_or(|its| *its == disk.disk);
        let its = self.against.iter().filter(is_its);
        let Some(mut forecast) = disk.forecast.clone() else {
            let words =
                |one: &Against| format!("  in the way of {}: {}", level_word(one.level), one.words);
            return its.map(words).collect();
        };
        for one in its {
            for level in forecast.levels.iter_mut().filter(|level| level.level == one.level) {
                level.in_the_way.push(one.words.clone());
            }
        }
        forecast.lines()
    }
}

/// Keeps the order where its report cannot be read, and says why that is.
fn kept<T>(looked: anyhow::Result<Option<T>>) -> (Option<T>, Option<String>) {
    match looked {
        Ok(looked) => (looked, None),
        Err(unread) => (None, Some(one_line(&format!("{unread:#}")))),
    }
}

#[cfg(test)]
mod tests {
    use protocol::wipe::{DiskForecast, LevelForecast, MediumWord, Outcome};

    use super::*;
    use crate::machine::wipe::{
        judge::tests::{report, told},
        tests::order,
    };

    #[test]
    fn what_the_server_would_refuse_stands_beside_what_the_agent_says() {
        let level = |level: PowerLevel| LevelForecast {
            level,
            ways: vec![],
            asked: level.asked(),
            reaches: Outcome::None,
            in_the_way: vec!["it is frozen".to_owned()],
            would_remove: None,
            notes: vec![],
        };
        let levels = vec![level(PowerLevel::Working), level(PowerLevel::Full)];
        let (obstacles, not_asked) = (vec![], vec![]);
        let medium = MediumWord::Flash;
        let forecast = Some(DiskForecast { medium, levels, obstacles, not_asked });
        let exceptions =
            vec![Exception { code: "refused".to_owned(), words: "sdb is mounted".to_owned() }];
        let disks =
            vec![DiskReport { forecast, ..told("a") }, DiskReport { exceptions, ..told("b") }];
        let against = |disk: Option<&str>, words: &str| Against {
            level: PowerLevel::Full,
            disk: disk.map(|name| told(name).disk),
            words: words.to_owned(),
        };
        let order = OrderOverview { machine: "one".to_owned(), online: true, order: order(1) };
        let looked = Looked {
            order: &order,
            report: WipeReport { disks, ..report(1) },
            against: vec![
                against(Some("a"), "the server: it is another's"),
                against(Some("b"), "the server: it is on USB"),
                against(None, "the server: the clock"),
            ],
        };
        insta::assert_snapshot!(looked.text(), @"
        sda  a, 1 GiB, no transport, flash
          working
            there is no way
            reaches nothing, not signatures
          full
            there is no way
            reaches nothing, not clear
            in the way: the server: it is another's
            in the way: the server: the clock
          in the way of every level: it is frozen

        sda  b, 1 GiB, no transport, not asked
          sdb is mounted
          in the way of full: the server: it is on USB
          in the way of full: the server: the clock
        ");
    }

    #[test]
    fn an_order_whose_report_is_lost_is_shown_and_what_is_missing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lost = "certificate 7 was made, and its file is missing: certificates/7.json";
        let routes = axum::Router::new().fallback(move |uri: axum::http::Uri| async move {
            assert_eq!(uri.path(), "/v1/certificates/7");
            let body = serde_json::json!({ "error": lost }).to_string();
            (axum::http::StatusCode::NOT_FOUND, body)
        });
        let socket = directory.path().join("drydock.sock");
        let bound = runtime.block_on(crate::api::socket::Socket::bind(&socket)).unwrap();
        let serving = runtime.spawn(bound.run(routes));
        let mut order = order(1);
        order.state = OrderState::Wiped {
            session: crate::machine::Session([1; 32]),
            at: 1,
            result: Box::new(crate::machine::wipe::WipeResult {
                level: PowerLevel::Idle,
                is_done: true,
                is_complete: false,
                disks: vec![],
                findings: vec![],
                undone: vec![],
                certificate: 7,
            }),
        };
        let shown = OrderOverview { machine: "one".to_owned(), online: true, order };
        let server = Server { state: directory.path().to_owned() };
        let (looked, unread) = kept(Looked::of(&server, &shown));
        serving.abort();
        assert!(looked.is_none());
        assert!(unread.as_deref().is_some_and(|said| said.contains(lost)), "{unread:?}");
    }
}
