//! What the server says of the boots of one machine, and why.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Server;
use crate::wait;

impl Server {
    /// Waits until the command names this reason for what became of a port's last boot, in words too; returns all of it.
    pub(crate) fn names(&self, mac: &str, cause: &str) -> Result<Value> {
        let mut last = String::new();
        let what = format!("`explain` to say {cause}");
        let explanation = wait::until(&what, crate::cases::BOOT_PATIENCE, || {
            let explanation = self.explains(mac)?;
            last = explanation.to_string();
            Ok((explanation["cause"] == cause).then_some(explanation))
        })
        .with_context(|| format!("at last it said {last}"))?;
        in_words(&explanation, "/summary")?;
        in_words(&explanation, "/timeline/0/text")?;
        Ok(explanation)
    }

    fn explains(&self, mac: &str) -> Result<Value> {
        self.ask(&["explain", mac])
    }
}

/// Fails unless an explanation has words there.
pub(crate) fn in_words(explanation: &Value, pointer: &str) -> Result<()> {
    let words = explanation.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ensure!(!words.is_empty(), "no words at {pointer}: {explanation}");
    Ok(())
}
