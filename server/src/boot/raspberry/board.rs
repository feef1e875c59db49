//! Which board it is, by what its boot loader says in DHCP's option 97.
//!
//! ```text
//!  00  52 50 69 34  11 31 c0 00  …  c2 b1 a0 26     "RPi4", the board's revision, four bytes of its MAC address, its serial number
//!  00  c2 b1 a0 26  c2 b1 a0 26  c2 b1 a0 26  …     boot loaders before 2020: the serial number four times
//! ```
//!
//! The numbers are little-endian. Raspberry Pi documentation, "Raspberry Pi bootloader configuration", `DHCP_OPTION97`.

use std::fmt;

use protocol::MacAddress;

/// `RPi4`, `RPi5`, as little-endian numbers. The digit behind the three letters is the model.
const LETTERS: u32 = 0x0069_5052;
const FOUR: u32 = LETTERS | (b'4' as u32) << 24;
const FIVE: u32 = LETTERS | (b'5' as u32) << 24;
/// What a revision calls a 5, and memory.
const FIVE_B: u32 = 0x17;
const FOUR_GIB: u32 = 4;
const EIGHT_GIB: u32 = 5;
/// The maker's prefix of boards before the Pi 4, whose MAC address was made of the serial number.
const BEFORE_FOUR: [u8; 3] = [0xb8, 0x27, 0xeb];

/// The last eight digits of a board's serial number, which name its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u32);

/// What is known of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Absent where it did not say.
    pub serial: Option<Serial>,
    /// Which one it is.
    pub model: Model,
}

/// Boards that load different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Model {
    /// With BCM2711: 4B, 400, Compute Module 4.
    Four,
    /// A 5 with the first BCM2712, stepping C0, or one that does not say which.
    Five,
    /// A 5 with BCM2712 D0, whose pins are elsewhere: by the device tree of a C0, Linux reaches for what is not there, and stops.
    FiveD,
    /// With BCM2712, and no 5: 500, Compute Module 5.
    LikeFive,
    /// Before the Pi 4: other firmware, without a boot loader of its own.
    Older,
    /// It does not say; it is served as a Pi 4.
    #[default]
    Unknown,
}

impl Serial {
    /// Reads eight hexadecimal digits; nothing where it is anything else.
    pub fn read(text: &str) -> Option<Self> {
        let is_serial = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_serial.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl Board {
    /// Reads what a boot loader says of itself: its MAC address and the value of option 97.
    pub fn of(mac: MacAddress, identifier: Option<&[u8]>) -> Self {
        let MacAddress([a, b, c, ..]) = mac;
        let guess = if [a, b, c] == BEFORE_FOUR { Model::Older } else { Model::Unknown };
        let serial = |number: u32| Some(Serial(number)).filter(|_| number != 0);
        match identifier.and_then(words) {
            Some([first, second, third, fourth])
                if [second, third, fourth].iter().all(|word| *word == first) =>
            {
                Self { serial: serial(first), model: guess }
            }
            Some([letters, revision, _, number]) => {
                let model = match (letters, of_revision(revision)) {
                    (FOUR, _) => Some(Model::Four),
                    (FIVE, Some(model @ (Model::FiveD | Model::LikeFive))) => Some(model),
                    (FIVE, _) => Some(Model::Five),
                    (_, model) => model,
                };
                Self { serial: serial(number), model: model.unwrap_or(guess) }
            }
            None => Self { serial: None, model: guess },
        }
    }

    /// Holds where option 97 says that it is a Raspberry Pi, whoever made its port.
    pub fn is_named(identifier: &[u8]) -> bool {
        words(identifier).is_some_and(|[letters, ..]| letters & 0x00ff_ffff == LETTERS)
    }
}

impl Model {
    /// Returns what people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Four => "Raspberry Pi 4",
            Self::Five => "Raspberry Pi 5",
            Self::FiveD => "Raspberry Pi 5 (D0)",
            Self::LikeFive => "Raspberry Pi 500 or Compute Module 5",
            Self::Older => "Raspberry Pi before the 4",
            Self::Unknown => "Raspberry Pi",
        }
    }

    /// Returns what Linux calls the serial port that people can reach: on the pins of a Pi 4, on the plug of a Pi 5.
    pub(super) fn serial_ports(self) -> &'static [&'static str] {
        match self {
            Self::Four | Self::Older => &["ttyS1"],
            Self::Five | Self::FiveD | Self::LikeFive => &["ttyAMA10"],
            Self::Unknown => &["ttyS1", "ttyAMA10"],
        }
    }
}

fn words(identifier: &[u8]) -> Option<[u32; 4]> {
    let (kind, identifier) = identifier.split_first()?;
    let identifier: &[u8; 16] = identifier.try_into().ok().filter(|_| *kind == 0)?;
    let (words, _) = identifier.as_chunks::<4>();
    <[[u8; 4]; 4]>::try_from(words).ok().map(|words| words.map(u32::from_le_bytes))
}

/// Reads the processor out of a revision. Raspberry Pi documentation, "New-style revision codes".
///
/// The processor's stepping is not in it. Boards with 4 and 8 GB began with C0 (`c04170`, `d04170`), and have D0 since revision
/// 1.1 (`d04171`: meta-raspberrypi, issue 1410); all that came later have D0 (2 GB: meta-mender-community, pull request 413;
/// 16 GB, `e04171`: talos, issue 12748).
fn of_revision(revision: u32) -> Option<Model> {
    let is_new = revision & 1 << 23 != 0;
    match (revision >> 12) & 0xf {
        3 if is_new => Some(Model::Four),
        4 if is_new => Some(match ((revision >> 4) & 0xff, (revision >> 20) & 7, revision & 0xf) {
            (FIVE_B, FOUR_GIB | EIGHT_GIB, 0) => Model::Five,
            (FIVE_B, _, _) => Model::FiveD,
            _ => Model::LikeFive,
        }),
        0..=2 if is_new => Some(Model::Older),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([0xdc, 0xa6, 0x32, 1, 2, 3]);
    const OLD_MAC: MacAddress = MacAddress([0xb8, 0x27, 0xeb, 1, 2, 3]);

    fn identifier(words: [u32; 4]) -> Vec<u8> {
        [0].into_iter().chain(words.into_iter().flat_map(u32::to_le_bytes)).collect()
    }

    #[track_caller]
    fn check(mac: MacAddress, words: [u32; 4], serial: Option<&str>, model: Model) {
        let board = Board::of(mac, Some(&identifier(words)));
        let shown = board.serial.map(|serial| serial.to_string());
        assert_eq!((shown.as_deref(), board.model), (serial, model));
    }

    #[test]
    fn a_board_says_its_model_and_its_serial_number() {
        let four = u32::from_le_bytes(*b"RPi4");
        let five = u32::from_le_bytes(*b"RPi5");
        check(MAC, [four, 0x00c0_3111, 0x3201_0203, 0xb7f4_4626], Some("b7f44626"), Model::Four);
        check(MAC, [five, 0x00d0_4170, 0, 0x64b5_9de4], Some("64b59de4"), Model::Five);
        check(MAC, [0x1234, 0x00d0_4170, 0, 1], Some("00000001"), Model::Five);
        for (revision, model) in [
            (0x00c0_4170, Model::Five),
            (0x00c0_4171, Model::FiveD),
            (0x00d0_4171, Model::FiveD),
            (0x00b0_4170, Model::FiveD),
            (0x00e0_4171, Model::FiveD),
            (0x00c0_4180, Model::LikeFive),
            (0x00d0_4190, Model::LikeFive),
            (0, Model::Five),
        ] {
            check(MAC, [five, revision, 0, 1], Some("00000001"), model);
        }
        check(MAC, [0x1234, 0x00c0_3111, 0, 1], Some("00000001"), Model::Four);
        check(MAC, [0x1234, 0x0000_000e, 0, 1], Some("00000001"), Model::Unknown);
        check(MAC, [0xb66c_4c16; 4], Some("b66c4c16"), Model::Unknown);
        check(OLD_MAC, [0xb66c_4c16; 4], Some("b66c4c16"), Model::Older);
        check(MAC, [0; 4], None, Model::Unknown);
    }

    /// As dnsmasq's log shows it of a Pi whose directory was `b66c4c16` (raspberrypi/firmware, issue 1605).
    #[test]
    fn the_numbers_are_little_endian() {
        let seen = [[0].as_slice(), &[0x16, 0x4c, 0x6c, 0xb6].repeat(4)].concat();
        assert_eq!(Board::of(MAC, Some(&seen)).serial, Serial::read("b66c4c16"));
        let seen = b"\0\x52\x50\x69\x34\0\0\0\0\0\0\0\0\0\0\0\x01";
        assert!(Board::is_named(seen));
        assert_eq!(Board::of(MAC, Some(seen)).model, Model::Four);
    }

    #[test]
    fn what_has_another_form_says_nothing() {
        let whole = identifier([FOUR, 0x00c0_3111, 0, 1]);
        for length in 0..whole.len() {
            assert_eq!(Board::of(MAC, Some(&whole[..length])).serial, None);
            assert!(!Board::is_named(&whole[..length]));
        }
        let mut other = whole;
        other[0] = 1;
        assert_eq!(Board::of(MAC, Some(&other)), Board { serial: None, model: Model::Unknown });
        assert_eq!(Board::of(OLD_MAC, None), Board { serial: None, model: Model::Older });
    }

    #[test]
    fn only_eight_digits_are_a_serial_number() {
        assert_eq!(Serial::read("0A0b0c0d").unwrap().to_string(), "0a0b0c0d");
        for text in ["", "0a0b0c0", "0a0b0c0d0", "0a0b0c0g", "+a0b0c0d", "10000000b7f44626"] {
            assert_eq!(Serial::read(text), None, "{text}");
        }
    }
}
