//! Any kernel command line, with or without pins in the image.

use agent::settings;
use drydock::{boot::Architecture, decision::System};
use protocol::CommandLine;

/// What is read can be written and is then read alike, and a pin in the image is never overruled.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (line, image_pins) = match text.split_once('\n') {
        Some((line, pins)) => (line, Some(pins)),
        None => (&*text, None),
    };
    if let Ok(read) = CommandLine::parse(line) {
        let again = CommandLine::parse(&read.to_string()).expect("what we write can be read");
        assert_eq!(again, read);
    }
    if let Ok(read) = settings::read(line, image_pins)
        && let Some(pins) = image_pins
    {
        let alone = settings::read("", Some(pins)).expect("the same pins were just read");
        assert_eq!(read.pins, alone.pins);
    }
}

/// As the server's scripts write it; with a pin in the image behind the line's end.
pub fn seeds() -> Vec<Vec<u8>> {
    let settings = crate::scene::settings();
    let line = format!(
        "initrd=sunshineos-x86_64.initrd {} drydock.lease=52:54:00:12:34:56,10.0.0.77/255.255.255.0,10.0.0.1,",
        settings.kernel_arguments(System::Sunshine, Architecture::X86_64, true)
    );
    let with_pin = format!("{line}\n{}\n", protocol::Pin([1; 32]));
    vec![line.into_bytes(), with_pin.into_bytes()]
}
