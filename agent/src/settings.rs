//! What the machine was told before it spoke to anybody: the kernel command line, and a pin in the image.

use protocol::{CommandLine, CommandLineError, HandedLease, Pin, PinError};

/// Where an image carries pins, one on each line or separated by commas.
pub const IMAGE_PINS: &str = "/etc/drydock/pin";

/// What was said, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The agents' door.
    pub server: Option<String>,
    /// Keys that the server may have. Without one nobody is spoken to.
    pub pins: Vec<Pin>,
    /// What iPXE had from DHCP.
    pub lease: Option<HandedLease>,
}

/// Says why the boot must stop: nobody knows whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The command line cannot be read.
    #[error("reading the kernel command line")]
    CommandLine(#[source] CommandLineError),
    /// The image's own pins cannot be read.
    #[error("reading {IMAGE_PINS}")]
    ImagePins(#[source] PinError),
    /// The command line names another server key than the image.
    #[error("the command line's {0} is not among the pins of the image")]
    Contradiction(Pin),
}

/// Reads the command line. Pins of the image beat it, and a different one on it is an error.
pub fn read(command_line: &str, image_pins: Option<&str>) -> Result<Settings, SettingsError> {
    let CommandLine { server, pins, lease } =
        CommandLine::parse(command_line).map_err(SettingsError::CommandLine)?;
    let Some(image_pins) = image_pins else { return Ok(Settings { server, pins, lease }) };
    let image_pins: Vec<Pin> = image_pins
        .split(|character: char| character == ',' || character.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(SettingsError::ImagePins)?;
    if let Some(other) = pins.iter().find(|pin| !image_pins.contains(pin)) {
        return Err(SettingsError::Contradiction(*other));
    }
    Ok(Settings { server, pins: image_pins, lease })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Pin = Pin([1; 32]);
    const TWO: Pin = Pin([2; 32]);

    #[test]
    fn without_a_pin_in_the_image_the_command_line_counts() {
        let settings = read(&format!("drydock.pin={ONE}"), None).unwrap();
        assert_eq!(settings.pins, [ONE]);
        assert_eq!(read("quiet", None), Ok(Settings::default()));
    }

    #[test]
    fn a_pin_in_the_image_beats_the_command_line() {
        let image = format!("{ONE}\n{TWO}\n");
        assert_eq!(read("quiet", Some(&image)).unwrap().pins, [ONE, TWO]);
        let settings = read(&format!("drydock.pin={TWO}"), Some(&image)).unwrap();
        assert_eq!(settings.pins, [ONE, TWO]);
    }

    #[test]
    fn a_different_pin_on_the_command_line_stops_the_boot() {
        let line = format!("drydock.pin={ONE},{TWO}");
        let error = read(&line, Some(&ONE.to_string())).unwrap_err();
        assert_eq!(error, SettingsError::Contradiction(TWO));
    }

    #[test]
    fn an_empty_or_broken_pin_file_never_lets_the_command_line_in() {
        let line = format!("drydock.pin={ONE}");
        assert!(read(&line, Some("")).is_err());
        assert!(read(&line, Some("sha256:12")).is_err());
        assert_eq!(read("", Some("")).unwrap().pins, []);
    }
}
