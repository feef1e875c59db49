//! Images and orders to install them, given and followed through the command.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Server;
use crate::wait;

/// An order that was given.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    /// Its name.
    pub(crate) id: String,
    /// What the command printed when it was given.
    pub(crate) given: Value,
}

impl Server {
    /// Puts an image into the store under a name, and returns what is known of it.
    pub(crate) fn adds_image(&self, file: &Path, name: &str) -> Result<Value> {
        let file = file.to_str().context("the checkout's path is no UTF-8")?;
        self.ask(&["image", "add", file, "--name", name])
    }

    /// Orders an image onto a machine's disk, with these further options, and does not wait for it.
    pub(crate) fn installs(
        &self,
        machine: &str,
        image: &str,
        disk: &str,
        options: &[&str],
    ) -> Result<Ordered> {
        let order = ["install", machine, "--image", image, "--disk", disk, "--detach"];
        let given = self.ask(&[&order[..], options].concat())?;
        let id = given["id"].as_str().with_context(|| format!("an order without id: {given}"))?;
        Ok(Ordered { id: id.to_owned(), given })
    }

    /// Orders disks of a machine to be wiped, with these further options, and does not wait for it.
    pub(crate) fn wipes(
        &self,
        machine: &str,
        level: &str,
        disks: &[&str],
        options: &[&str],
    ) -> Result<Ordered> {
        let mut order = vec!["wipe", machine, "--level", level, "--detach", "--yes", machine];
        for disk in disks {
            order.extend(["--disk", disk]);
        }
        let given = self.ask(&[&order[..], options].concat())?;
        let given = given.get("order").unwrap_or(&given).clone();
        let id = given["id"].as_str().with_context(|| format!("an order without id: {given}"))?;
        Ok(Ordered { id: id.to_owned(), given: given.clone() })
    }

    /// Waits until an order to wipe is over and its report is there, looking at how far it is each time; returns what it
    /// came to.
    pub(crate) fn is_wiped(
        &mut self,
        order: &Ordered,
        limit: Duration,
        mut look: impl FnMut(&Value) -> Result<()>,
    ) -> Result<Value> {
        let state = self.is_over(order, limit, |state| look(&state["wiping"]))?;
        ensure!(state["is"] == "wiped", "the order was not carried out: {state}");
        Ok(state["result"].clone())
    }

    /// Waits until a disk of a wipe is that far in its erasure: bytes of a pass.
    pub(crate) fn is_erasing(
        &mut self,
        order: &Ordered,
        bytes: u64,
        limit: Duration,
    ) -> Result<()> {
        wait::until(&format!("{bytes} bytes of {} to be written", order.id), limit, || {
            self.must_run()?;
            let state = self.state_of(order)?;
            match state["is"].as_str() {
                Some("ordered" | "given") => Ok(None),
                Some("running") => {
                    let disks = state["wiping"]["disks"].as_array().cloned().unwrap_or_default();
                    let is_there = |disk: &Value| {
                        disk["phase"] == "erasing" && disk["doneBytes"].as_u64() >= Some(bytes)
                    };
                    Ok(disks.iter().any(is_there).then_some(()))
                }
                _ => bail!("it was over before: {state}"),
            }
        })
    }

    /// Waits until a boot has journaled steps of a wipe that are as wanted, while it runs, and returns them.
    pub(crate) fn journals(
        &mut self,
        order: &Ordered,
        limit: Duration,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        wait::until(&format!("steps of order {}", order.id), limit, || {
            self.must_run()?;
            let steps = self.journal_of(order)?;
            if wanted(&steps) {
                return Ok(Some(steps));
            }
            let state = self.state_of(order)?;
            let goes_on = matches!(
                state["is"].as_str(),
                Some("ordered" | "given" | "running" | "interrupted")
            );
            ensure!(goes_on, "it was over before: {state}, {steps:?}");
            Ok(None)
        })
    }

    /// Returns the steps that boots have journaled of a wipe so far.
    pub(crate) fn journal_of(&self, order: &Ordered) -> Result<Vec<Value>> {
        let shown = self.ask(&["orders", "show", &order.id])?;
        Ok(journal_in(&shown).cloned().unwrap_or_default())
    }

    /// Returns the numbers of all certificates with what stands in each, as a file of `directory`.
    pub(crate) fn certificates(&self, directory: &Path) -> Result<Vec<(PathBuf, Value)>> {
        let list = self.ask(&["certificate", "list"])?;
        let list = list.as_array().context("the list of certificates is none")?;
        let number = |one: &Value| one["serial"].as_u64().context("a certificate without number");
        list.iter()
            .map(|one| {
                let number = number(one)?.to_string();
                let text = self.command(&["certificate", "show", &number])?;
                let path = directory.join(format!("certificate-{number}.json"));
                fs::write(&path, &text).context("keeping a certificate")?;
                let value = serde_json::from_str(&text)
                    .with_context(|| format!("reading certificate {number}: {text}"))?;
                Ok((path, value))
            })
            .collect()
    }

    /// Returns what its command says to a certificate, with the fingerprint of the key that must have signed it: nothing
    /// where it is good. Needs no server.
    pub(crate) fn doubts(&self, certificate: &Path, key: &str) -> Result<Option<String>> {
        let path = certificate.to_str().context("the lab's path is no UTF-8")?;
        let output = self.output_of(&["certificate", "verify", path, "--key", key])?;
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok((!output.status.success()).then_some(words))
    }

    /// Returns what became of an order.
    pub(crate) fn state_of(&self, order: &Ordered) -> Result<Value> {
        let shown = self.ask(&["orders", "show", &order.id])?;
        let state = shown.get("state").filter(|state| state["is"].is_string());
        Ok(state.with_context(|| format!("an order without state: {shown}"))?.clone())
    }

    /// Waits until the system that an order installed has said back that it is done, and returns what it said.
    pub(crate) fn is_said_back(&mut self, order: &Ordered, limit: Duration) -> Result<Value> {
        wait::until(&format!("the word of what order {} installed", order.id), limit, || {
            self.must_run()?;
            let shown = self.ask(&["orders", "show", &order.id])?;
            Ok(shown.get("phonedHome").filter(|said| said.is_object()).cloned())
        })
    }

    /// Waits until so many bytes of an image stand on the disk while the order is carried out.
    pub(crate) fn is_midway(&mut self, order: &Ordered, bytes: u64, limit: Duration) -> Result<()> {
        wait::until(&format!("{bytes} bytes of {} on the disk", order.id), limit, || {
            self.must_run()?;
            let state = self.state_of(order)?;
            let phase = &state["progress"]["phase"];
            match state["is"].as_str() {
                Some("ordered" | "given") => Ok(None),
                Some("running") => {
                    let written = state["progress"]["writtenBytes"].as_u64();
                    Ok((phase == "writing" && written >= Some(bytes)).then_some(()))
                }
                _ => bail!("it was over before: {state}"),
            }
        })
    }

    /// Waits until an order was carried out, looking at how far it is each time, and returns its report.
    pub(crate) fn is_done(
        &mut self,
        order: &Ordered,
        limit: Duration,
        mut look: impl FnMut(&Value) -> Result<()>,
    ) -> Result<Value> {
        let state = self.is_over(order, limit, |state| look(&state["progress"]))?;
        ensure!(state["is"] == "done", "the order was not carried out: {state}");
        Ok(state["report"].clone())
    }

    /// Waits until an order has failed on its machine, and returns why.
    pub(crate) fn has_failed(&mut self, order: &Ordered, limit: Duration) -> Result<Failure> {
        let state = self.is_over(order, limit, |_| Ok(()))?;
        ensure!(state["is"] == "failed", "the order did not fail: {state}");
        let reason = state["reason"].as_str().context("a failure without a reason")?.to_owned();
        let touched = state["touched"].as_bool().context("it does not say what of the disk")?;
        Ok(Failure { reason, touched })
    }

    /// Waits until an order has ended before anything was done: refused by its machine, or void. Returns why.
    pub(crate) fn ends_untouched(&mut self, order: &Ordered, limit: Duration) -> Result<String> {
        let state = self.is_over(order, limit, |_| Ok(()))?;
        let is_refused = state["is"] == "failed" && state["touched"] == false;
        ensure!(is_refused || state["is"] == "cancelled", "it was begun: {state}");
        Ok(state["reason"].as_str().context("no reason")?.to_owned())
    }

    fn is_over(
        &mut self,
        order: &Ordered,
        limit: Duration,
        mut look: impl FnMut(&Value) -> Result<()>,
    ) -> Result<Value> {
        let mut last = Value::Null;
        wait::until(&format!("the end of order {}", order.id), limit, || {
            self.must_run()?;
            last = self.state_of(order)?;
            if matches!(last["is"].as_str(), Some("ordered" | "given" | "running" | "interrupted"))
            {
                look(&last)?;
                return Ok(None);
            }
            Ok(Some(last.clone()))
        })
        .with_context(|| format!("at last: {last}"))
    }
}

/// Finds a journal wherever it stands.
fn journal_in(value: &Value) -> Option<&Vec<Value>> {
    match value.get("journal") {
        Some(Value::Array(steps)) => Some(steps),
        _ => value.as_object()?.values().find_map(journal_in),
    }
}

/// Why an order failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// In words.
    pub(crate) reason: String,
    /// Whether the disk may have been changed.
    pub(crate) touched: bool,
}
