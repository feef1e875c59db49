//! An explanation as text for a terminal.

use std::fmt;

use super::{Explanation, Stage};
use crate::{moment, text::one_line};

/// Shows an explanation. Lines are as long as they are: terminals wrap, and copied text should not be cut.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.machine {
            Some(machine) if *machine != self.subject => {
                writeln!(f, "machine  {machine} ({})", self.subject)?;
            }
            _ => writeln!(f, "machine  {}", self.subject)?,
        }
        if let Some(began) = self.began_unix_milliseconds {
            writeln!(f, "boot of  {}", moment::show(began))?;
        }
        if !self.is_whole {
            writeln!(
                f,
                "note     the journal's disk cannot be read now: this is what is in memory"
            )?;
        }
        if !self.timeline.is_empty() {
            writeln!(f, "\n  SECONDS  STAGE    WHAT")?;
        }
        for step in &self.timeline {
            if let Some(gap) = step.gap_milliseconds {
                let (seconds, tenths) = (gap / 1000, gap % 1000 / 100);
                writeln!(f, "        .           nothing for {seconds}.{tenths} s")?;
            }
            let after = step.after_milliseconds;
            let (seconds, milliseconds) = (after / 1000, after % 1000);
            let stage = name(step.stage);
            write!(f, "{seconds:5}.{milliseconds:03}  {stage:<7}  {}", one_line(&step.text))?;
            match step.times {
                1 => writeln!(f)?,
                times => writeln!(f, " ({times} times)")?,
            }
        }
        writeln!(f, "\ncause    {}", code(self))?;
        writeln!(f, "         {}", one_line(&self.summary))?;
        if let Some(expected) = &self.expected {
            writeln!(f, "next     should have come: {}", one_line(expected))?;
        }
        for (index, advice) in self.advice.iter().enumerate() {
            let heading = if index == 0 { "try" } else { "" };
            writeln!(f, "{heading:<7}  {}. {}", index + 1, one_line(advice))?;
        }
        Ok(())
    }
}

fn code(explanation: &Explanation) -> String {
    let code = serde_json::to_value(explanation.cause).unwrap_or_default();
    code.as_str().unwrap_or_default().to_owned()
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Dhcp => "dhcp",
        Stage::Program => "program",
        Stage::Script => "script",
        Stage::Kernel => "kernel",
        Stage::Agent => "agent",
        Stage::Record => "record",
        Stage::Order => "order",
    }
}
