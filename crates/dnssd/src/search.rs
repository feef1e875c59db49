//! A search for servers: what was heard so far, what is to be asked next, who was found.

use std::net::{IpAddr, SocketAddr};

use crate::{Kind, Message, Name, Question, Record, SERVICE, Value};

/// As much of each kind is remembered: whoever invents servers does not fill the memory.
const MOST: usize = 32;

/// A search in one domain, through one port of this machine or at one name server.
#[derive(Debug, Clone)]
pub struct Search {
    service: Name,
    /// By multicast a record that holds no time is taken back (RFC 6762 §10.1); of a name server it is one not to be kept.
    hears_farewells: bool,
    instances: Vec<Name>,
    places: Vec<Place>,
    addresses: Vec<(Name, IpAddr)>,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    instance: Name,
    priority: u16,
    port: u16,
    host: Name,
}

/// Reads a domain such as `example.com`, with or without a dot at its end; nothing where it is none.
pub fn domain(text: &str) -> Option<Name> {
    let text = text.trim_end_matches('\0').trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    Name::of(text.split('.'))
}

impl Search {
    /// Begins in a domain: `local` for multicast.
    pub fn new(domain: &Name) -> Self {
        let service = Name::default().below(&SERVICE, domain).unwrap_or_default();
        let hears_farewells = Name::of(["local"]).is_some_and(|local| local == *domain);
        let (instances, places, addresses) = (Vec::new(), Vec::new(), Vec::new());
        Self { service, hears_farewells, instances, places, addresses }
    }

    /// Returns what is to be asked next. When all is known, from the beginning: other servers may have come.
    pub fn questions(&self) -> Vec<Question> {
        let ask = |name: &Name, kind| Question { name: name.clone(), kind, by_unicast: true };
        let is_placed = |instance: &&Name| self.places.iter().any(|it| it.instance == **instance);
        let lost = self.instances.iter().filter(|instance| !is_placed(instance));
        let mut questions: Vec<Question> = lost.map(|instance| ask(instance, Kind::Srv)).collect();
        for place in &self.places {
            if !self.addresses.iter().any(|(host, _)| *host == place.host) {
                questions.extend([Kind::A, Kind::Aaaa].map(|kind| ask(&place.host, kind)));
            }
        }
        if questions.is_empty() {
            questions.push(ask(&self.service, Kind::Ptr));
        }
        questions
    }

    /// Takes what an answer says. What nobody asked for is of no use, and is not kept.
    pub fn hear(&mut self, answer: &Message) {
        if !answer.is_answer {
            return;
        }
        let hears_farewells = self.hears_farewells;
        // In the order in which one leads to the next, however the answer has them.
        for step in [Kind::Ptr, Kind::Srv, Kind::A] {
            let holds = |record: &&Record| record.seconds > 0 || !hears_farewells;
            for record in answer.records.iter().filter(holds) {
                let name = &record.name;
                match (step, &record.value) {
                    (Kind::Ptr, Value::Ptr(instance)) if *name == self.service => {
                        put(&mut self.instances, instance.clone());
                    }
                    (Kind::Srv, Value::Srv { priority, port, host })
                        if *port != 0 && self.instances.contains(name) =>
                    {
                        let (instance, host) = (name.clone(), host.clone());
                        let place = Place { instance, priority: *priority, port: *port, host };
                        put(&mut self.places, place);
                    }
                    (Kind::A, Value::A(address)) => self.locate(name, (*address).into()),
                    (Kind::A, Value::Aaaa(address)) => self.locate(name, (*address).into()),
                    _ => {}
                }
            }
        }
    }

    fn locate(&mut self, name: &Name, address: IpAddr) {
        if is_usable(address) && self.places.iter().any(|place| place.host == *name) {
            put(&mut self.addresses, (name.clone(), address));
        }
    }

    /// Returns who was found: the lowest priority first, of one host IPv4 first.
    pub fn servers(&self) -> Vec<SocketAddr> {
        let mut places: Vec<&Place> = self.places.iter().collect();
        places.sort_by_key(|place| place.priority);
        let mut servers = Vec::new();
        for place in places {
            let of_host = self.addresses.iter().filter(|(host, _)| *host == place.host);
            let mut addresses: Vec<IpAddr> = of_host.map(|(_, address)| *address).collect();
            addresses.sort();
            for address in addresses {
                put(&mut servers, SocketAddr::new(address, place.port));
            }
        }
        servers
    }
}

fn put<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if list.len() < MOST && !list.contains(&value) {
        list.push(value);
    }
}

/// Holds for addresses that one machine can have and that say where they are: link-local ones say it with a port only.
fn is_usable(address: IpAddr) -> bool {
    let is_vague = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_vague || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Announcement;

    fn announcement() -> Announcement {
        Announcement { host: "harbour".to_owned(), port: 7443, texts: Vec::new() }
    }

    fn answered(search: &Search) -> Message {
        let query = Message { questions: search.questions(), ..Message::default() };
        let address = "10.0.0.1".parse().unwrap();
        announcement().answer(&query, &[address]).unwrap_or_default()
    }

    fn found(search: &Search) -> Vec<String> {
        search.servers().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_answer_with_everything_beside_it_is_enough() {
        let mut search = Search::new(&domain("local").unwrap());
        let answer = Message::parse(&answered(&search).encode()).unwrap();
        search.hear(&answer);
        assert_eq!(found(&search), ["10.0.0.1:7443"]);
        assert_eq!(search.questions()[0].kind, Kind::Ptr);
    }

    #[test]
    fn each_step_is_asked_for_where_answers_say_no_more_than_that() {
        let mut search = Search::new(&domain("local.").unwrap());
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut answer = answered(&search);
            answer.beside.clear();
            kinds.push(search.questions()[0].kind);
            search.hear(&answer);
        }
        assert_eq!(kinds, [Kind::Ptr, Kind::Srv, Kind::A]);
        assert_eq!(found(&search), ["10.0.0.1:7443"]);
    }

    #[test]
    fn what_nobody_asked_for_leads_nowhere() {
        let mut search = Search::new(&domain("local").unwrap());
        let mut answer = answered(&search);
        let all: Vec<Record> = answer.records.drain(..).chain(answer.beside.drain(..)).collect();
        // Without the pointer nothing else is of the service.
        answer.records = all.iter().filter(|it| it.value.kind() != Kind::Ptr).cloned().collect();
        search.hear(&answer);
        assert!(search.servers().is_empty());
        answer.records = all.clone();
        answer.is_answer = false;
        search.hear(&answer);
        assert!(search.servers().is_empty(), "a question is no answer");
        answer.is_answer = true;
        answer.records.iter_mut().for_each(|record| record.seconds = 0);
        search.hear(&answer);
        assert!(search.servers().is_empty(), "that is a farewell");
    }

    /// As dnsmasq gives all that stands in its configuration.
    #[test]
    fn what_a_name_server_says_may_hold_no_time() {
        let mut search = Search::new(&domain("lab.example").unwrap());
        let service = search.service.clone();
        let instance = Name::of(["harbour"]).unwrap().below(&[], &service).unwrap();
        let host = domain("harbour.lab.example").unwrap();
        let record =
            |name: &Name, value| Record { name: name.clone(), seconds: 0, is_unique: false, value };
        let records = vec![
            record(&service, Value::Ptr(instance.clone())),
            record(&instance, Value::Srv { priority: 0, port: 7443, host: host.clone() }),
            record(&host, Value::A([10, 0, 0, 1].into())),
        ];
        search.hear(&Message { is_answer: true, records, ..Message::default() });
        assert_eq!(found(&search), ["10.0.0.1:7443"]);
    }

    #[test]
    fn addresses_that_lead_back_or_to_everybody_are_none() {
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "ff02::fb",
        ] {
            assert!(!is_usable(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "2001:db8::1", "fd00::1"] {
            assert!(is_usable(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_domain_is_what_a_lease_says() {
        for text in ["example.com", "example.com.", "example.com\0", " example.com"] {
            assert_eq!(domain(text), Name::of(["example", "com"]), "{text}");
        }
        for text in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(200)] {
            assert_eq!(domain(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_answers_make_a_search_grow_for_ever(
            instances in proptest::collection::vec("[a-z]{1,9}", 0..200),
        ) {
            let mut search = Search::new(&domain("local").unwrap());
            let service = search.service.clone();
            for instance in &instances {
                let value = Value::Ptr(Name::of([instance]).unwrap());
                let record = Record { name: service.clone(), seconds: 9, is_unique: false, value };
                let records = vec![record];
                search.hear(&Message { is_answer: true, records, ..Message::default() });
            }
            prop_assert!(search.questions().len() <= MOST.max(1));
        }
    }
}
