//! What became of an order, in a few words.

use protocol::install::InstallPhase;

use super::{DiskOrder, OrderState};
use crate::machine::wipe::progress_words;

impl DiskOrder {
    /// Says how much of the image is on the disk, in percent; nothing before that is known.
    pub fn percent(&self) -> Option<u64> {
        let OrderState::Running { progress: Some(progress), .. } = &self.state else {
            return None;
        };
        let size = progress.image_bytes.or(self.install()?.image.size_bytes)?;
        let parts = [progress.written_bytes, progress.zeroed_bytes, progress.unchanged_bytes];
        let done = parts.iter().fold(0_u64, |sum, bytes| sum.saturating_add(bytes.0));
        done.min(size.0).saturating_mul(100).checked_div(size.0)
    }

    /// Says in a few words what became of it.
    pub fn words(&self) -> String {
        match &self.state {
            OrderState::Ordered {} => "ordered".to_owned(),
            OrderState::Given { .. } => "given to the machine".to_owned(),
            OrderState::Running { wiping, .. } if self.wipe().is_some() => {
                progress_words(wiping.as_deref())
            }
            OrderState::Interrupted { .. } => {
                "interrupted; the next boot of HerculesOS continues it".to_owned()
            }
            OrderState::Lost { .. } if self.wipe().is_some() => "unknown: the machine never came back, and nothing was heard of \
                                        its wipe for a day; what is on its disks nobody knows, and the journal and passwords are kept"
                .to_owned(),
            OrderState::Lost { .. } => "unknown: the machine never came back, and nothing was heard of its install for a day; what \
                                        is on its disk nobody knows"
                .to_owned(),
            OrderState::Wiped { result, .. } => result.words(),
            OrderState::Running { progress, .. } => {
                let phase =
                    progress.as_deref().map_or("beginning", |progress| phase(progress.phase));
                match self.percent() {
                    Some(percent) => format!("installing, {phase}, {percent} %"),
                    None => format!("installing, {phase}"),
                }
            }
            OrderState::Done { .. } => "done".to_owned(),
            OrderState::Failed { reason, touched: true, .. } => {
                format!("failed, the disk is not what it was: {reason}")
            }
            OrderState::Failed { reason, touched: false, .. } => {
                format!("failed, nothing was changed: {reason}")
            }
            OrderState::Expired { .. } => "expired before anybody began it".to_owned(),
            OrderState::Cancelled { reason, .. } => format!("cancelled: {reason}"),
        }
    }
}

/// Says what an agent is doing.
fn phase(phase: InstallPhase) -> &'static str {
    match phase {
        InstallPhase::Checking => "checking",
        InstallPhase::Disarming => "disarming",
        InstallPhase::Comparing => "comparing",
        InstallPhase::Writing => "writing",
        InstallPhase::Flushing => "flushing",
        InstallPhase::Verifying => "verifying",
        InstallPhase::Finishing => "finishing",
        InstallPhase::Other => "working",
    }
}
