//! What a device was sent and what it answered, for the certificate.

use protocol::wipe::RawCommand;

// A certificate is read by people: an erasure takes some ten commands and as many changes of state.
const MOST: usize = 200;

/// The commands of one technique, bounded. Of questions that are asked again and again only the first is kept, those
/// whose answer says something else, and the last.
#[derive(Debug, Default)]
pub(super) struct Tape {
    commands: Vec<RawCommand>,
    polled: Option<Polled>,
}

#[derive(Debug)]
struct Polled {
    state: String,
    last: Option<RawCommand>,
}

impl Tape {
    /// Keeps a command and its completion.
    pub(super) fn record(&mut self, name: &str, command: String, completion: String) {
        self.flush();
        self.push(RawCommand { name: name.to_owned(), command, completion });
    }

    /// Keeps a question, whose answer came to `state`.
    pub(super) fn record_poll(
        &mut self,
        name: &str,
        command: String,
        completion: String,
        state: &str,
    ) {
        let command = RawCommand { name: name.to_owned(), command, completion };
        if let Some(polled) = self.polled.as_mut().filter(|polled| polled.state == state) {
            polled.last = Some(command);
            return;
        }
        self.flush();
        self.push(command);
        self.polled = Some(Polled { state: state.to_owned(), last: None });
    }

    /// Returns what was kept.
    pub(super) fn into_commands(mut self) -> Vec<RawCommand> {
        self.flush();
        self.commands
    }

    fn flush(&mut self) {
        if let Some(last) = self.polled.take().and_then(|polled| polled.last) {
            self.push(last);
        }
    }

    fn push(&mut self, command: RawCommand) {
        // The end says more than the middle.
        if self.commands.len() == MOST {
            self.commands.pop();
        }
        self.commands.push(command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_questions_the_first_the_changes_and_the_last_are_kept() {
        let mut tape = Tape::default();
        tape.record("start", "84".to_owned(), "0".to_owned());
        for (at, state) in ["runs", "runs", "runs", "over", "over", "runs"].iter().enumerate() {
            tape.record_poll("look", "02".to_owned(), at.to_string(), state);
        }
        tape.record("end", "06".to_owned(), "0".to_owned());
        let kept: Vec<_> = tape
            .into_commands()
            .iter()
            .map(|command| format!("{} {}", command.name, command.completion))
            .collect();
        assert_eq!(kept, ["start 0", "look 0", "look 2", "look 3", "look 4", "look 5", "end 0"]);
    }

    #[test]
    fn a_device_that_changes_its_mind_for_ever_fills_no_memory() {
        let mut tape = Tape::default();
        for at in 0..10_000 {
            tape.record_poll("look", String::new(), at.to_string(), &at.to_string());
        }
        let commands = tape.into_commands();
        assert_eq!(commands.len(), MOST);
        assert_eq!(commands[MOST - 1].completion, "9999");
    }
}
