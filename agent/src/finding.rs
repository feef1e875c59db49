//! Finding the server: who is spoken to, by what was said and heard. Pure; who asks the network is `dns` and the ports.
//!
//! ```text
//! said (command line, image) > DHCP option 224 > DNS-SD in the lease's domain > multicast DNS > a person's word
//! ```
//!
//! Where a server is says nobody who can be believed: what counts is its key. With a pin every address that is offered is
//! tried, and the first server that has the key is spoken to. Without one nobody is, until a person at the console has
//! compared the key: what the network says of it is no protection from who answers on the network.

pub mod dns;

use protocol::Pin;

/// As many addresses are remembered of each source: whoever invents servers pushes out no other source's.
const MOST: usize = 8;

/// The agents' door's port, where nobody says another.
const PORT: u16 = 7443;

/// How much of a key a person has to type: no one types it without having looked at it.
pub const TYPED_DIGITS: usize = 16;

/// Who says that a server is there. The best comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The command line, or the image.
    Said,
    /// DHCP option 224.
    Dhcp,
    /// DNS-SD in the network's domain.
    Dns,
    /// Multicast DNS.
    Multicast,
}

impl Source {
    /// Names it for a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Said => "the command line",
            Self::Dhcp => "DHCP",
            Self::Dns => "DNS",
            Self::Multicast => "multicast DNS",
        }
    }
}

/// Where a server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The agents' door, for example `https://10.0.0.1:7443`.
    pub server: String,
    /// Who says so.
    pub source: Source,
}

/// What was heard of servers: each address once, the best source first, in the order in which it was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers(Vec<Offer>);

impl Offers {
    /// Takes an offer; says whether it is news.
    pub fn hear(&mut self, offer: Offer) -> bool {
        let of_source = self.0.iter().filter(|known| known.source == offer.source).count();
        if of_source >= MOST || self.0.iter().any(|known| known.server == offer.server) {
            return false;
        }
        let at = self.0.partition_point(|known| known.source <= offer.source);
        self.0.insert(at, offer);
        true
    }

    /// Returns all of them.
    pub fn all(&self) -> &[Offer] {
        &self.0
    }
}

/// What is done about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It is spoken to: where it is and which key it has was said.
    Speak {
        /// The agents' door.
        server: String,
        /// Its keys.
        pins: Vec<Pin>,
    },
    /// Its key is known: it is looked for, and nobody is asked.
    Search(Vec<Pin>),
    /// Its key is not known: it is looked for, and a person at the console decides.
    Ask,
    /// Nobody is spoken to, and nobody is there who could be asked.
    Nobody,
}

/// Decides that from what was said before the start. `medium`: the machine started from a CD or a stick, so that a person
/// may be at its console.
pub fn way(server: Option<&str>, pins: &[Pin], medium: bool) -> Way {
    match (server, pins) {
        (_, []) if medium => Way::Ask,
        (_, []) => Way::Nobody,
        (Some(server), pins) => Way::Speak { server: server.to_owned(), pins: pins.to_vec() },
        (None, pins) => Way::Search(pins.to_vec()),
    }
}

/// Reads where a server is as a person types it: a name or an address, with or without `https://` and a port. Nothing where
/// it is none.
pub fn door(typed: &str) -> Option<String> {
    let typed = typed.trim().trim_end_matches('/');
    let rest = typed.strip_prefix("https://").unwrap_or(typed);
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
        let (host, port) = inner.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (format!("[{host}]"), port.strip_prefix(':').or(port.is_empty().then_some(""))?)
    } else if rest.parse::<std::net::Ipv6Addr>().is_ok() {
        (format!("[{rest}]"), "")
    } else {
        let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
        if host.is_empty() || host.starts_with(['-', '.']) || !host.bytes().all(is_part) {
            return None;
        }
        (host.to_owned(), port)
    };
    let port = match port {
        "" if rest.ends_with(':') => return None,
        "" => PORT,
        port => port.parse().ok().filter(|port| *port != 0)?,
    };
    Some(format!("https://{host}:{port}"))
}

/// Holds where a person typed the beginning of a server's key: at least its first sixteen digits, and no digit that it has
/// not. With or without `sha256:`.
pub fn confirms(typed: &str, pin: &Pin) -> bool {
    let whole = pin.to_string();
    let digits = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    let (typed, whole) = (digits(typed.trim()), digits(&whole));
    typed.len() >= TYPED_DIGITS && whole.starts_with(&typed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIN: Pin = Pin([0xab; 32]);

    fn offer(server: &str, source: Source) -> Offer {
        Offer { server: server.to_owned(), source }
    }

    #[test]
    fn without_a_pin_nobody_is_spoken_to_wherever_the_server_is_said_to_be() {
        for server in [None, Some("https://10.0.0.1:7443")] {
            assert_eq!(way(server, &[], true), Way::Ask);
            assert_eq!(way(server, &[], false), Way::Nobody);
        }
    }

    #[test]
    fn with_a_pin_nobody_is_asked() {
        for medium in [true, false] {
            assert_eq!(way(None, &[PIN], medium), Way::Search(vec![PIN]));
            let server = "https://10.0.0.1:7443".to_owned();
            let spoken = Way::Speak { server: server.clone(), pins: vec![PIN] };
            assert_eq!(way(Some(&server), &[PIN], medium), spoken);
        }
    }

    #[test]
    fn offers_stand_in_the_order_of_who_makes_them() {
        let mut offers = Offers::default();
        assert!(offers.hear(offer("m", Source::Multicast)));
        assert!(offers.hear(offer("d1", Source::Dhcp)));
        assert!(offers.hear(offer("n", Source::Dns)));
        assert!(offers.hear(offer("d2", Source::Dhcp)));
        assert!(!offers.hear(offer("d1", Source::Multicast)), "known already");
        let servers: Vec<&str> = offers.all().iter().map(|offer| offer.server.as_str()).collect();
        assert_eq!(servers, ["d1", "d2", "n", "m"]);
    }

    #[test]
    fn who_invents_servers_pushes_nobody_out() {
        let mut offers = Offers::default();
        for number in 0..1000 {
            offers.hear(offer(&number.to_string(), Source::Multicast));
        }
        assert_eq!(offers.all().len(), MOST);
        assert!(offers.hear(offer("real", Source::Dhcp)));
        assert_eq!(offers.all()[0].server, "real");
    }

    #[test]
    fn an_address_is_read_as_people_type_it() {
        for (typed, expected) in [
            ("10.0.0.1", "https://10.0.0.1:7443"),
            (" 10.0.0.1:8443 ", "https://10.0.0.1:8443"),
            ("https://harbour.example.com/", "https://harbour.example.com:7443"),
            ("harbour", "https://harbour:7443"),
            ("fd00::1", "https://[fd00::1]:7443"),
            ("[fd00::1]:9", "https://[fd00::1]:9"),
        ] {
            assert_eq!(door(typed).as_deref(), Some(expected), "{typed}");
        }
        for typed in [
            "",
            " ",
            "http://10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:99999",
            "a b",
            "a/b",
            "[x]:1",
            "[fd00::1]x",
            "-a",
            "a@b",
            "\x1b[A",
            "https://",
            ":7443",
        ] {
            assert_eq!(door(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn sixteen_digits_of_the_key_confirm_and_nothing_less_or_else() {
        for typed in ["abababababababab", "sha256:abababababababab", " ABABABABABABABAB "] {
            assert!(confirms(typed, &PIN), "{typed}");
        }
        assert!(confirms(&PIN.to_string(), &PIN));
        for typed in [
            "",
            "yes",
            "sha256:",
            "ababababababab",
            "abababababababac",
            "bababababababababa",
            "sha256:abab",
        ] {
            assert!(!confirms(typed, &PIN), "{typed}");
        }
    }

    proptest! {
        #[test]
        fn no_line_that_is_not_the_keys_beginning_confirms(line in "\\PC{0,80}", pin in any::<[u8; 32]>()) {
            let pin = Pin(pin);
            let digits = line.trim().to_ascii_lowercase();
            let digits = digits.strip_prefix("sha256:").unwrap_or(&digits);
            let is_beginning = digits.len() >= TYPED_DIGITS && pin.to_string()["sha256:".len()..].starts_with(digits);
            prop_assert_eq!(confirms(&line, &pin), is_beginning);
        }

        #[test]
        fn no_typed_address_panics(line in "\\PC{0,60}") {
            if let Some(door) = door(&line) {
                prop_assert!(door.starts_with("https://"));
            }
        }
    }
}
