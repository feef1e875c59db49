//! The other side: a server that says where it is.

use std::net::IpAddr;

use crate::{Kind, Message, Name, Question, Record, SERVICE, SERVICES, Value};

/// How long what is said holds: names of hosts two minutes, the rest longer. RFC 6762 §10.
const HOST_SECONDS: u32 = 120;
const SERVICE_SECONDS: u32 = 4500;
/// How long a resolver that knows nothing of multicast DNS may keep it. RFC 6762 §6.7.
const LEGACY_SECONDS: u32 = 10;

/// What a server says of itself in multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// One label: the host's name, and that of the instance.
    pub host: String,
    /// Of the agents' door.
    pub port: u16,
    /// `key=value`. Nobody vouches for any of it.
    pub texts: Vec<String>,
}

impl Announcement {
    /// Says everything without having been asked, as the answer to everybody (RFC 6762 §8.3); nothing where the name is
    /// none.
    pub fn whole(&self, addresses: &[IpAddr]) -> Option<Message> {
        let records = self.records(addresses)?;
        Some(Message { is_answer: true, records, ..Message::default() })
    }

    /// Takes back what was said: whoever remembers it forgets it at once (RFC 6762 §10.1). Not that there are such services:
    /// another Drydock may say so too.
    pub fn farewell(&self, addresses: &[IpAddr]) -> Option<Message> {
        let mut whole = self.whole(addresses)?;
        let services = Name::default().below(&SERVICES, &Name::of(["local"])?)?;
        let is_ours =
            |record: &Record| !matches!(record.value, Value::Nsec(_)) && record.name != services;
        whole.records.retain(is_ours);
        whole.records.iter_mut().for_each(|record| record.seconds = 0);
        Some(whole)
    }

    /// Answers a question that came by multicast, with the addresses of the port that it came to; nothing where it is
    /// about somebody else.
    ///
    /// To a question from another port than 5353 the answer goes back by unicast, with the question and short times
    /// ([`Announcement::answer_legacy`]).
    pub fn answer(&self, query: &Message, addresses: &[IpAddr]) -> Option<Message> {
        if query.is_answer {
            return None;
        }
        let all = self.records(addresses)?;
        let mut answer = Message { is_answer: true, ..Message::default() };
        for question in &query.questions {
            for record in &all {
                if asks_for(question, record, &all) && !knows(query, record) {
                    put(&mut answer.records, record);
                }
            }
        }
        if answer.records.is_empty() {
            return None;
        }
        // Whoever asks for one of them asks for the others next. Pointers are what they begin with.
        for record in all.iter().filter(|record| !matches!(record.value, Value::Ptr(_))) {
            if !answer.records.contains(record) {
                put(&mut answer.beside, record);
            }
        }
        Some(answer)
    }

    /// Answers the same to who does not speak multicast DNS (RFC 6762 §6.7).
    pub fn answer_legacy(&self, query: &Message, addresses: &[IpAddr]) -> Option<Message> {
        let mut answer = self.answer(query, addresses)?;
        answer.id = query.id;
        answer.questions.clone_from(&query.questions);
        answer.questions.iter_mut().for_each(|question| question.by_unicast = false);
        for record in answer.records.iter_mut().chain(&mut answer.beside) {
            record.seconds = record.seconds.min(LEGACY_SECONDS);
            record.is_unique = false;
        }
        Some(answer)
    }

    /// That there is such a service at all, the service, where it is, what is said of it, the host; nothing where the name
    /// is none.
    fn records(&self, addresses: &[IpAddr]) -> Option<Vec<Record>> {
        let local = Name::of(["local"])?;
        let services = Name::default().below(&SERVICES, &local)?;
        let service = Name::default().below(&SERVICE, &local)?;
        let instance = Name::of([&self.host])?.below(&[], &service)?;
        let host = Name::of([&self.host])?.below(&[], &local)?;
        let record = |name: &Name, seconds, is_unique, value| Record {
            name: name.clone(),
            seconds,
            is_unique,
            value,
        };
        let place = Value::Srv { priority: 0, port: self.port, host: host.clone() };
        let texts = Value::Txt(self.texts.iter().map(|text| text.clone().into_bytes()).collect());
        let mut kinds: Vec<Kind> = Vec::new();
        let mut records = vec![
            record(&services, SERVICE_SECONDS, false, Value::Ptr(service.clone())),
            record(&service, SERVICE_SECONDS, false, Value::Ptr(instance.clone())),
            record(&instance, HOST_SECONDS, true, place),
            record(&instance, SERVICE_SECONDS, true, texts),
        ];
        for address in addresses {
            let value = match address {
                IpAddr::V4(address) => Value::A(*address),
                IpAddr::V6(address) => Value::Aaaa(*address),
            };
            if !kinds.contains(&value.kind()) {
                kinds.push(value.kind());
            }
            records.push(record(&host, HOST_SECONDS, true, value));
        }
        let of_instance = Value::Nsec(vec![Kind::Txt, Kind::Srv]);
        records.push(record(&instance, HOST_SECONDS, true, of_instance));
        records.push(record(&host, HOST_SECONDS, true, Value::Nsec(kinds)));
        Some(records)
    }
}

/// Holds for what is asked for; of a name of ours also for the word that it has nothing of that kind (RFC 6762 §6.1).
fn asks_for(question: &Question, record: &Record, all: &[Record]) -> bool {
    let is_of_kind = |record: &Record| {
        question.name == record.name
            && (question.kind == record.value.kind() || question.kind == Kind::Any)
    };
    let is_nothing = matches!(record.value, Value::Nsec(_)) && question.name == record.name;
    if is_nothing { !all.iter().any(is_of_kind) } else { is_of_kind(record) }
}

/// Holds for what the asker knows already, and for long enough yet. RFC 6762 §7.1.
fn knows(query: &Message, record: &Record) -> bool {
    query.records.iter().any(|known| {
        known.name == record.name
            && known.value == record.value
            && known.seconds >= record.seconds / 2
    })
}

fn put(records: &mut Vec<Record>, record: &Record) {
    if !records.contains(record) {
        records.push(record.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Search, domain};

    fn announcement() -> Announcement {
        Announcement { host: "harbour".to_owned(), port: 7443, texts: vec!["v=1".to_owned()] }
    }

    fn ask(name: &[&str], kind: Kind) -> Message {
        let name = Name::of(name).unwrap();
        let questions = vec![Question { name, kind, by_unicast: false }];
        Message { questions, ..Message::default() }
    }

    fn answer(query: &Message) -> Option<Message> {
        announcement().answer(query, &["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()])
    }

    #[test]
    fn who_asks_for_the_service_hears_where_it_is() {
        let answer = answer(&ask(&["_DRYDOCK", "_tcp", "local"], Kind::Ptr)).unwrap();
        let kinds = |records: &[Record]| -> Vec<Kind> {
            records.iter().map(|record| record.value.kind()).collect()
        };
        assert_eq!(kinds(&answer.records), [Kind::Ptr]);
        let nsec = Kind::Other(47);
        assert_eq!(kinds(&answer.beside), [Kind::Srv, Kind::Txt, Kind::A, Kind::Aaaa, nsec, nsec]);
    }

    #[test]
    fn who_asks_for_something_else_hears_nothing() {
        for name in [["_http", "_tcp", "local"], ["_drydock", "_udp", "local"]] {
            assert_eq!(answer(&ask(&name, Kind::Ptr)), None);
        }
        assert_eq!(answer(&ask(&["_drydock", "_tcp", "local"], Kind::A)), None);
        let mut reply = ask(&["_drydock", "_tcp", "local"], Kind::Ptr);
        reply.is_answer = true;
        assert_eq!(answer(&reply), None, "an answer to an answer would never end");
    }

    #[test]
    fn what_the_asker_knows_is_not_said_again() {
        let mut query = ask(&["_drydock", "_tcp", "local"], Kind::Ptr);
        query.records = answer(&query).unwrap().records;
        assert_eq!(answer(&query), None);
        query.records[0].seconds = 9;
        assert!(answer(&query).is_some(), "it would forget it soon");
    }

    #[test]
    fn a_plain_resolver_gets_its_question_back_and_short_times() {
        let mut query = ask(&["harbour", "local"], Kind::A);
        query.id = 7;
        let addresses = ["10.0.0.1".parse().unwrap()];
        let answer = announcement().answer_legacy(&query, &addresses).unwrap();
        assert_eq!((answer.id, &answer.questions), (7, &query.questions));
        let all = answer.records.iter().chain(&answer.beside);
        assert!(all.clone().all(|record| record.seconds <= 10 && !record.is_unique));
    }

    #[test]
    fn who_asks_which_services_there_are_hears_of_ours() {
        let answer = answer(&ask(&["_services", "_dns-sd", "_udp", "local"], Kind::Ptr)).unwrap();
        let service = Name::of(["_drydock", "_tcp", "local"]).unwrap();
        assert_eq!(answer.records[0].value, Value::Ptr(service));
    }

    #[test]
    fn who_asks_for_what_a_name_of_ours_does_not_have_hears_that_it_has_none() {
        let ask = |name: &[&str], kind| {
            announcement().answer(&ask(name, kind), &["10.0.0.1".parse().unwrap()])
        };
        let answer = ask(&["harbour", "local"], Kind::Aaaa).unwrap();
        assert_eq!(answer.records[0].value, Value::Nsec(vec![Kind::A]));
        let answer = ask(&["harbour", "_drydock", "_tcp", "local"], Kind::A).unwrap();
        assert_eq!(answer.records[0].value, Value::Nsec(vec![Kind::Txt, Kind::Srv]));
        let answer = ask(&["harbour", "local"], Kind::Any).unwrap();
        assert_eq!(answer.records.len(), 1, "there is something: {answer:?}");
    }

    #[test]
    fn a_farewell_takes_back_all_that_was_said() {
        let addresses = ["10.0.0.1".parse().unwrap()];
        let said = announcement().whole(&addresses).unwrap().records;
        let farewell = announcement().farewell(&addresses).unwrap();
        assert!(farewell.is_answer && farewell.records.iter().all(|it| it.seconds == 0));
        let services = Name::default().below(&SERVICES, &domain("local").unwrap()).unwrap();
        assert!(farewell.records.iter().all(|it| it.name != services), "others have such too");
        let ours = |it: &&Record| !matches!(it.value, Value::Nsec(_)) && it.name != services;
        for record in said.iter().filter(ours) {
            assert!(farewell.records.contains(&Record { seconds: 0, ..record.clone() }));
        }
    }

    #[test]
    fn a_host_without_a_name_that_dns_can_say_says_nothing() {
        let nameless = Announcement { host: String::new(), ..announcement() };
        let query = Message {
            questions: Search::new(&domain("local").unwrap()).questions(),
            ..Message::default()
        };
        assert_eq!(nameless.answer(&query, &[]), None);
    }
}
