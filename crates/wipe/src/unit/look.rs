//! `idle`: what the other levels would do. Nothing is written, and no command is sent but questions.

use protocol::wipe::WipePhase;
use signature::probe;

use super::Run;
use crate::{
    firmware::Device,
    forecast::{Known, USB_UNASKED, add_look, forecast},
    harbour,
    verdict::exception,
    working::source::Source,
};

impl Run<'_> {
    /// Says what each level would do to the disk. Its filesystems are mounted read-only, one after the other.
    pub(super) fn look(&mut self) {
        let (part, wipe) = (self.part, self.terms.wipe);
        let size = part.medium.size_bytes();
        let mut forecast = forecast(&Known {
            examined: &self.examined,
            kind: part.kind,
            size_bytes: size,
            is_nvme: part.transport.as_deref() == Some("nvme"),
            discards: part.handling.discards(),
            is_zoned: part.handling.is_zoned(),
            may: part.may,
            options: &wipe.options,
            has_psid: self.settings().psid.is_some(),
        });
        // What takes no commands is told nothing anyway.
        let takes_commands = !matches!(part.device, Device::None);
        if let Some(why) = part.withheld.as_ref().filter(|_| takes_commands) {
            let words = format!("it would not be told to erase all of itself: {why}");
            forecast.obstacles.push(exception("notWholeDevice", &words));
        }
        if !takes_commands && part.transport.as_deref() == Some("usb") {
            forecast.not_asked.push(format!("what the disk can itself: {USB_UNASKED}"));
        }
        forecast.not_asked.extend(self.exceptions.iter().map(|one| one.words.clone()));
        match part.filesystems {
            Some(filesystems) if !self.is_over() => {
                part.watch.phase(WipePhase::Examining, None);
                let mut source = Source::new(part.medium);
                let content = probe(&mut source, size, part.medium.sector_bytes());
                let mode = harbour::Mode::Look;
                add_look(
                    &mut forecast,
                    &harbour::run(&content, size, filesystems, mode, part.watch),
                );
            }
            Some(_) => {}
            None => {
                let words = "which files harbour would remove: nothing here mounts filesystems";
                forecast.not_asked.push(words.to_owned());
            }
        }
        self.forecast = Some(forecast);
    }
}
