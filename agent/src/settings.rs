//! What the machine was told before it spoke to anybody: the kernel command line, and a pin in the image.

use protocol::{CommandLine, CommandLineError, HandedLease, MacAddress, Pin, PinError};

/// Where an image carries pins, one on each line or separated by commas.
pub const IMAGE_PINS: &str = "/etc/drydock/pin";
/// Where an image may carry the address of its server, which beats the command line's.
pub const IMAGE_SERVER: &str = "/etc/drydock/server";

/// What was said, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The agents' door.
    pub server: Option<String>,
    /// Keys that the server may have. Without one nobody is spoken to.
    pub pins: Vec<Pin>,
    /// A key that the command line names and the image does not know: the boot must stop.
    pub contradiction: Option<Contradiction>,
    /// What iPXE had from DHCP.
    pub lease: Option<HandedLease>,
    /// The port that the machine booted through, where somebody said it.
    pub port: Option<MacAddress>,
    /// Whether drivers of storage on a network may be loaded.
    pub network_storage: bool,
    /// Whether the machine started from a CD or stick of ours.
    pub medium: bool,
}

/// The command line names another server key than the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the command line's {0} is not among the pins of the image")]
pub struct Contradiction(pub Pin);

/// Says why the boot must stop: nobody knows whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The command line cannot be read.
    #[error("reading the kernel command line")]
    CommandLine(#[source] CommandLineError),
    /// The image's own pins cannot be read.
    #[error("reading {IMAGE_PINS}")]
    ImagePins(#[source] PinError),
}

/// Reads the command line. Pins of the image beat it, and a different one on it stops the boot.
pub fn read(command_line: &str, image_pins: Option<&str>) -> Result<Settings, SettingsError> {
    let CommandLine { server, pins, lease, port, network_storage, medium } =
        CommandLine::parse(command_line).map_err(SettingsError::CommandLine)?;
    let port = lease.as_ref().map(|lease| lease.mac).or(port);
    let Some(image_pins) = image_pins else {
        let contradiction = None;
        return Ok(Settings { server, pins, contradiction, lease, port, network_storage, medium });
    };
    let image_pins: Vec<Pin> = image_pins
        .split(|character: char| character == ',' || character.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(SettingsError::ImagePins)?;
    let contradiction = pins.into_iter().find(|pin| !image_pins.contains(pin)).map(Contradiction);
    Ok(Settings { server, pins: image_pins, contradiction, lease, port, network_storage, medium })
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
    fn storage_on_a_network_is_driven_where_it_was_said() {
        for (line, expected) in [("quiet", false), ("drydock.network-storage=1", true)] {
            assert_eq!(read(line, None).unwrap().network_storage, expected, "{line}");
            assert_eq!(read(line, Some("")).unwrap().network_storage, expected, "{line}");
        }
    }

    #[test]
    fn a_pin_in_the_image_beats_the_command_line() {
        let image = format!("{ONE}\n{TWO}\n");
        for line in ["quiet".to_owned(), format!("drydock.pin={TWO}")] {
            let settings = read(&line, Some(&image)).unwrap();
            assert_eq!((settings.pins, settings.contradiction), (vec![ONE, TWO], None));
        }
    }

    #[test]
    fn a_different_pin_on_the_command_line_stops_the_boot() {
        let line = format!("drydock.pin={ONE},{TWO}");
        let settings = read(&line, Some(&ONE.to_string())).unwrap();
        assert_eq!(settings.contradiction, Some(Contradiction(TWO)));
        assert_eq!(settings.pins, [ONE], "nobody else hears of it");
    }

    #[test]
    fn the_port_is_that_of_the_lease_or_the_one_that_is_said() {
        let port = |line: &str| read(line, None).unwrap().port.map(|port| port.to_string());
        let (said, leased) = ("drydock.port=02:00:00:00:00:01", "02:00:00:00:00:02");
        assert_eq!(port("quiet"), None);
        assert_eq!(port(said).as_deref(), Some("02:00:00:00:00:01"));
        let both = format!("{said} drydock.lease={leased},10.0.0.7/255.255.255.0,,");
        assert_eq!(port(&both).as_deref(), Some(leased));
    }

    #[test]
    fn an_empty_or_broken_pin_file_never_lets_the_command_line_in() {
        let line = format!("drydock.pin={ONE}");
        let settings = read(&line, Some("")).unwrap();
        assert_eq!((settings.pins, settings.contradiction), (vec![], Some(Contradiction(ONE))));
        assert!(read(&line, Some("sha256:12")).is_err());
        assert_eq!(read("", Some("")).unwrap().pins, []);
    }
}
