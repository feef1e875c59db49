//! Announce, wait, obey, refuse, and come back after every failure.

use std::time::Duration;

use agent::{
    session::{BulkError, End, Said, Session, key_of},
    work::{After, Clock, Job, Worker},
};
use protocol::{
    Announce, BootReport, EventKind, Inventory, Level, OrderId, Pin, Verb, install::Progress,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::harbour::{Answer, Harbour};

const WELCOME: &str = r#"{"machine": "m-1", "sequence": 0, "verb": {"kind": "wait"}}"#;

/// A session in progress.
struct Voyage {
    session: Session,
    picture: watch::Sender<Option<Announce>>,
    said: mpsc::UnboundedReceiver<Said>,
    _online: watch::Sender<u64>,
    running: JoinHandle<End>,
}

impl Voyage {
    fn begin(url: &str, pin: Pin) -> Self {
        Self::manned(url, pin, None)
    }

    fn manned(url: &str, pin: Pin, worker: Option<Worker>) -> Self {
        let session = Session::new(url, vec![pin]).expect("a session begins").with_worker(worker);
        let (picture, latest) = watch::channel(None);
        let (online, online_changes) = watch::channel(0);
        let (say, said) = mpsc::unbounded_channel();
        let talker = session.clone();
        let running = async move { talker.run(latest, online_changes, say).await };
        Self { session, picture, said, _online: online, running: tokio::spawn(running) }
    }

    /// Shows the machine with this serial number.
    fn shows(&self, serial: &str) {
        let mut inventory = Inventory::default();
        inventory.system.serial = Some(serial.to_owned());
        let announce = Announce {
            system: None,
            agent_version: "1".to_owned(),
            kernel_release: None,
            boot: BootReport::default(),
            inventory,
            complete: true,
        };
        self.picture.send(Some(announce)).expect("the session listens");
    }

    async fn hears(&mut self) -> Option<Said> {
        timeout(Duration::from_secs(20), self.said.recv())
            .await
            .expect("the session says something")
    }

    async fn ends(self) -> End {
        timeout(Duration::from_secs(20), self.running).await.expect("it ends").expect("no panic")
    }
}

/// Has a machine announced to a harbour that lets it wait.
async fn moored() -> (Harbour, Voyage) {
    let harbour = Harbour::open().await;
    harbour.welcomes(Answer::json(WELCOME));
    let voyage = Voyage::begin(&harbour.url(), harbour.pin);
    voyage.shows("1");
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 1).await;
    (harbour, voyage)
}

#[tokio::test]
async fn a_machine_announces_waits_and_obeys_once() {
    let (harbour, mut voyage) = moored().await;
    let announce = harbour.waits_for("POST /v1/announce", 1).await;
    assert!(announce.body.contains(r#""serial":"1""#), "{}", announce.body);
    assert!(matches!(voyage.hears().await, Some(Said::Welcome(_))));
    harbour.instructs(Answer::json(r#"{"sequence": 3, "verb": {"kind": "reboot"}}"#));
    assert_eq!(voyage.ends().await, End::Restart);
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains(r#""kind":"obeys","sequence":3"#), "{}", event.body);
    let keys: Vec<_> = harbour.requests().into_iter().map(|one| one.certificate).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && !key.is_empty()));
}

#[tokio::test]
async fn what_a_session_signs_the_key_of_its_certificate_vouches_for() {
    let (harbour, voyage) = moored().await;
    let certificate = harbour.waits_for("POST /v1/announce", 1).await.certificate.into();
    let certificate = webpki::EndEntityCert::try_from(&certificate).expect("it is one");
    let signature = voyage.session.sign(b"a report").expect("the key signs");
    let vouches = |message: &[u8]| {
        certificate.verify_signature(webpki::ring::ECDSA_P256_SHA256, message, &signature)
    };
    vouches(b"a report").expect("it is what was signed");
    vouches(b"another report").expect_err("nothing else was signed");
}

#[tokio::test]
async fn power_off_is_power_off() {
    let (harbour, voyage) = moored().await;
    harbour.instructs(Answer::json(r#"{"sequence": 1, "verb": {"kind": "powerOff"}}"#));
    assert_eq!(voyage.ends().await, End::SwitchOff);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_and_asked_past() {
    let (harbour, voyage) = moored().await;
    harbour.instructs(Answer::json(r#"{"sequence": 5, "verb": {"kind": "wipe"}}"#));
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains(r#""kind":"refused","sequence":5"#), "{}", event.body);
    harbour.waits_for("GET /v1/instruction?after=5", 1).await;
    harbour.instructs(Answer::json(r#"{"sequence": 5, "verb": {"kind": "reboot"}}"#));
    harbour.waits_for("GET /v1/instruction?after=5", 2).await;
    assert!(!voyage.running.is_finished());
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again_and_told_again() {
    let (mut harbour, voyage) = moored().await;
    harbour.stop().await;
    sleep(Duration::from_millis(500)).await;
    harbour.instructs(Answer::empty(409));
    harbour.start().await;
    harbour.waits_for("POST /v1/announce", 2).await;
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 3).await;
    assert!(!voyage.running.is_finished());
}

#[tokio::test]
async fn a_machine_that_changed_says_so_at_once() {
    let (harbour, voyage) = moored().await;
    voyage.shows("2");
    let announce = harbour.waits_for("POST /v1/announce", 2).await;
    assert!(announce.body.contains(r#""serial":"2""#), "{}", announce.body);
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 2).await;
}

#[tokio::test]
async fn the_server_may_ask_for_a_fresh_look() {
    let (harbour, mut voyage) = moored().await;
    harbour.instructs(Answer::json(r#"{"sequence": 1, "verb": {"kind": "announce"}}"#));
    assert!(matches!(voyage.hears().await, Some(Said::Welcome(_))));
    assert_eq!(voyage.hears().await, Some(Said::LookAgain));
}

#[tokio::test]
async fn a_restart_that_was_put_off_happens_without_the_server() {
    let mut harbour = Harbour::open().await;
    let verb = r#"{"machine": "m", "sequence": 0, "verb": {"kind": "rebootAfter", "seconds": 1}}"#;
    harbour.welcomes(Answer::json(verb));
    let voyage = Voyage::begin(&harbour.url(), harbour.pin);
    voyage.shows("1");
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 1).await;
    harbour.stop().await;
    assert_eq!(voyage.ends().await, End::Restart);
}

#[tokio::test]
async fn nothing_is_said_to_a_server_with_another_key() {
    let harbour = Harbour::open().await;
    harbour.welcomes(Answer::json(WELCOME));
    let stranger = Voyage::begin(&harbour.url(), Pin([7; 32]));
    stranger.shows("1");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(harbour.requests().len(), 0);
    assert!(!stranger.running.is_finished());
}

#[tokio::test]
async fn events_that_the_server_will_never_take_hold_up_no_instruction() {
    for status in ["400 Bad Request", "410 Gone"] {
        let (harbour, voyage) = moored().await;
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        harbour.says("POST /v1/events", &answer);
        voyage.session.note(Level::Info, EventKind::Obeys { sequence: 1 });
        harbour.waits_for("POST /v1/events", 1).await;
        harbour.instructs(Answer::json(r#"{"sequence": 1, "verb": {"kind": "reboot"}}"#));
        assert_eq!(voyage.ends().await, End::Restart, "{status}");
    }
}

#[tokio::test]
async fn events_wait_for_a_server_that_is_away() {
    let (mut harbour, voyage) = moored().await;
    harbour.stop().await;
    voyage.session.note(Level::Info, EventKind::Link { port: "eth7".to_owned(), up: false });
    harbour.start().await;
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains("eth7"), "{}", event.body);
}

#[tokio::test]
async fn the_last_words_are_said_even_while_the_session_waits() {
    let (harbour, voyage) = moored().await;
    let kind =
        EventKind::Failed { reason: "a test".to_owned(), kernel_log: "[0.1] x\n".to_owned() };
    voyage.session.say_last(Level::Error, kind).await;
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains("a test") && event.body.contains("[0.1] x"), "{}", event.body);
}

const INSTALL: &str = r#"{"sequence": 2, "verb": {"kind": "install",
    "order": {"id": "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5", "by": "ann", "machine": {}, "disks": [],
              "deadlineUnixMilliseconds": 1,
              "inventory": "0000000000000000000000000000000000000000000000000000000000000000"},
    "image": {"kind": "store", "manifest": "00", "name": "debian"}, "finish": "reboot"}}"#;

fn install(verb: &Verb) -> Option<OrderId> {
    match verb {
        Verb::Install(install) => Some(install.order.id),
        _ => None,
    }
}

/// Works for a second, and has the machine restart where the clock is known.
fn works(job: &Job) -> After {
    std::thread::park_timeout(Duration::from_secs(1));
    match job.clock {
        Clock::Servers { .. } => After::End(End::Restart),
        Clock::Unknown => After::Stay,
    }
}

/// Works for longer than an instruction waits.
fn works_long(_: &Job) -> After {
    std::thread::park_timeout(Duration::from_secs(10));
    After::Stay
}

fn panics(_: &Job) -> After {
    panic!("the disk is made of cheese")
}

fn worker(run: fn(&Job) -> After) -> Worker {
    Worker { order: install, run, patience: Duration::from_secs(12) }
}

async fn manned(run: fn(&Job) -> After) -> (Harbour, Voyage) {
    let harbour = Harbour::open().await;
    harbour.welcomes(Answer::json(WELCOME));
    let worker = Some(worker(run));
    let voyage = Voyage::manned(&harbour.url(), harbour.pin, worker);
    voyage.shows("1");
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 1).await;
    (harbour, voyage)
}

#[tokio::test]
async fn a_program_that_cannot_install_refuses() {
    let (harbour, voyage) = moored().await;
    harbour.instructs(Answer::json(INSTALL));
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains(r#""kind":"refused","sequence":2"#), "{}", event.body);
    assert!(!voyage.running.is_finished());
}

#[tokio::test]
async fn an_order_with_the_longest_texts_arrives() {
    let (harbour, _voyage) = moored().await;
    // The server takes four texts of 256 KiB; a character of them takes up to six bytes.
    let text = r"\u0001".repeat(256 << 10);
    let names = ["metaData", "userData", "networkConfig", "vendorData"];
    let texts: Vec<String> = names.iter().map(|name| format!(r#""{name}": "{text}""#)).collect();
    let step = format!(r#""steps": [{{"kind": "seed", {}}}], "finish""#, texts.join(","));
    harbour.instructs(Answer::json(&INSTALL.replacen(r#""finish""#, &step, 1)));
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains(r#""kind":"refused","sequence":2"#), "{}", event.body);
}

#[tokio::test]
async fn nothing_disturbs_the_work_and_the_session_goes_on_after_it() {
    let (harbour, voyage) = manned(works_long).await;
    harbour.instructs(Answer::json(INSTALL));
    harbour.instructs(Answer::json(r#"{"sequence": 3, "verb": {"kind": "reboot"}}"#));
    let event = harbour.waits_for("POST /v1/events", 1).await;
    assert!(event.body.contains(r#""kind":"obeys","sequence":2"#), "{}", event.body);
    let event = harbour.waits_for("POST /v1/events", 2).await;
    assert!(event.body.contains("an order is being carried out"), "{}", event.body);
    sleep(Duration::from_secs(3)).await;
    assert!(!voyage.running.is_finished());
    harbour.instructs(Answer::json(r#"{"sequence": 4, "verb": {"kind": "powerOff"}}"#));
    assert_eq!(voyage.ends().await, End::SwitchOff);
}

/// Is over a moment after the server knows.
fn lingers(job: &Job) -> After {
    let order = OrderId([0xa5; 16]);
    let reason = "on purpose".to_owned();
    let outcome =
        job.session.note(Level::Error, EventKind::OrderFailed { order, reason, touched: false });
    assert!(job.session.is_told_within(outcome, Duration::from_secs(20)));
    std::thread::park_timeout(Duration::from_millis(100));
    After::Stay
}

#[tokio::test]
async fn who_knows_that_the_work_is_over_is_obeyed_at_once() {
    let (harbour, voyage) = manned(lingers).await;
    harbour.instructs(Answer::json(INSTALL));
    harbour.hears("on purpose").await;
    harbour.instructs(Answer::json(r#"{"sequence": 3, "verb": {"kind": "powerOff"}}"#));
    assert_eq!(voyage.ends().await, End::SwitchOff);
}

/// Tells how far it is, and waits for a disk that answers nothing.
fn hangs(job: &Job) -> After {
    let bulk = job.session.bulk().expect("a line is made");
    bulk.tell(EventKind::Progress(Box::new(Progress::beginning(OrderId([0xa5; 16])))));
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn a_cancelled_order_that_does_not_end_keeps_no_machine_from_restarting() {
    let (harbour, voyage) = manned(hangs).await;
    harbour.refuses("progress", 410);
    harbour.instructs(Answer::json(INSTALL));
    harbour.hears("progress").await;
    harbour.instructs(Answer::json(r#"{"sequence": 3, "verb": {"kind": "reboot"}}"#));
    assert_eq!(voyage.ends().await, End::Restart);
}

/// Ends when it hears that its order is over, once the server knows.
fn heeds(job: &Job) -> After {
    let bulk = job.session.bulk().expect("a line is made");
    bulk.tell(EventKind::Progress(Box::new(Progress::beginning(OrderId([0xa5; 16])))));
    while !bulk.cancelled().load(std::sync::atomic::Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let order = OrderId([0xa5; 16]);
    let reason = "it was cancelled".to_owned();
    let outcome =
        job.session.note(Level::Error, EventKind::OrderFailed { order, reason, touched: true });
    assert!(job.session.is_told_within(outcome, Duration::from_secs(20)));
    After::Stay
}

#[tokio::test]
async fn the_order_after_a_cancelled_one_waits_for_its_end() {
    let (harbour, voyage) = manned(heeds).await;
    harbour.instructs(Answer::json(INSTALL));
    harbour.waits_for("POST /v1/events", 1).await;
    // The agent has not heard yet that the first is over.
    harbour.instructs(Answer::json(&INSTALL.replace(r#""sequence": 2"#, r#""sequence": 3"#)));
    sleep(Duration::from_millis(500)).await;
    harbour.refuses("progress", 410);
    harbour.hears(r#""kind":"obeys","sequence":3"#).await;
    let refused = harbour.requests().iter().any(|request| request.body.contains("refused"));
    assert!(!refused && !voyage.running.is_finished(), "{:#?}", harbour.requests());
}

/// Ends soon, and has the machine restart.
fn restarts(_: &Job) -> After {
    std::thread::park_timeout(Duration::from_secs(1));
    After::End(End::Restart)
}

#[tokio::test]
async fn who_is_told_to_switch_off_does_not_restart_instead() {
    let (harbour, voyage) = manned(restarts).await;
    harbour.instructs(Answer::json(INSTALL));
    harbour.instructs(Answer::json(r#"{"sequence": 3, "verb": {"kind": "powerOff"}}"#));
    assert_eq!(voyage.ends().await, End::SwitchOff);
}

#[tokio::test]
async fn an_order_that_comes_as_the_machine_goes_down_is_refused() {
    let (harbour, voyage) = manned(restarts).await;
    harbour.instructs(Answer::json(INSTALL));
    harbour.instructs(Answer::json(&INSTALL.replace(r#""sequence": 2"#, r#""sequence": 3"#)));
    assert_eq!(voyage.ends().await, End::Restart);
    let refusal = r#""kind":"refused","sequence":3"#;
    assert!(harbour.requests().iter().any(|request| request.body.contains(refusal)));
}

#[tokio::test]
async fn the_machine_goes_on_as_the_work_says() {
    let harbour = Harbour::open().await;
    // This machine's own clock, so that nobody sets it.
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let welcome = format!(
        r#"{{"machine": "m", "sequence": 0, "clockUnixMilliseconds": {}, "verb": {{"kind": "wait"}}}}"#,
        now.as_millis()
    );
    harbour.welcomes(Answer::json(&welcome));
    let worker = Some(worker(works));
    let voyage = Voyage::manned(&harbour.url(), harbour.pin, worker);
    voyage.shows("1");
    harbour.instructs(Answer::json(INSTALL));
    assert_eq!(voyage.ends().await, End::Restart);
}

#[tokio::test]
async fn work_that_panics_is_a_failed_order() {
    let (harbour, voyage) = manned(panics).await;
    harbour.instructs(Answer::json(INSTALL));
    let told = harbour.hears("made of cheese").await;
    assert!(told.contains("orderFailed") && !voyage.running.is_finished(), "{told}");
}

/// Fetches an image through whatever happens to the server, says so, and switches off.
fn fetches(job: &Job) -> After {
    let bulk = job.session.bulk().expect("a line is made");
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    let image = loop {
        match bulk.get("/v1/images/1/manifest", 100) {
            Ok(image) => break String::from_utf8(image).expect("text"),
            Err(error) => {
                assert!(matches!(error, BulkError::Again(_)), "{error}");
                assert!(std::time::Instant::now() < limit, "{error}");
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    };
    let order = OrderId([0xa5; 16]);
    let outcome = job.session.note(
        Level::Info,
        EventKind::OrderFailed { order, reason: format!("got {image}"), touched: true },
    );
    assert!(job.session.is_told_within(outcome, Duration::from_secs(20)));
    After::End(End::SwitchOff)
}

#[tokio::test]
async fn an_install_goes_on_when_the_server_restarts_and_its_outcome_is_told() {
    let (mut harbour, voyage) = manned(fetches).await;
    harbour.says("GET /v1/images", "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    harbour.instructs(Answer::json(INSTALL));
    harbour.waits_for("GET /v1/images/1/manifest", 2).await;
    harbour.stop().await;
    sleep(Duration::from_millis(300)).await;
    // The server has forgotten the session until it announces itself again.
    harbour.instructs(Answer::empty(409));
    harbour.says("GET /v1/images", "HTTP/1.1 409 X\r\ncontent-length: 0\r\n\r\n");
    harbour.start().await;
    harbour.waits_for("POST /v1/announce", 2).await;
    harbour.says("GET /v1/images", "HTTP/1.1 200 X\r\ncontent-length: 4\r\n\r\nboot");
    assert_eq!(voyage.ends().await, End::SwitchOff);
    let told = |request: &crate::harbour::Request| {
        request.line.starts_with("POST /v1/events") && request.body.contains("got boot")
    };
    assert!(harbour.requests().iter().any(told), "{:#?}", harbour.requests());
}

#[tokio::test]
async fn neither_a_restart_that_falls_due_nor_a_changed_machine_ends_the_work() {
    let harbour = Harbour::open().await;
    harbour.welcomes(Answer::json(WELCOME));
    let restart =
        r#"{"machine": "m-1", "sequence": 0, "verb": {"kind": "rebootAfter", "seconds": 0}}"#;
    harbour.welcomes(Answer::json(restart));
    let worker = Some(worker(works));
    let voyage = Voyage::manned(&harbour.url(), harbour.pin, worker);
    voyage.shows("1");
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 1).await;
    harbour.instructs(Answer::json(INSTALL));
    harbour.waits_for("POST /v1/events", 1).await;
    // What an install does to a disk is seen, and announced.
    voyage.shows("2");
    harbour.waits_for("POST /v1/announce", 2).await;
    sleep(Duration::from_millis(400)).await;
    assert!(!voyage.running.is_finished());
    // The work is done, and the restart long due.
    assert_eq!(voyage.ends().await, End::Restart);
}

/// Says two things, and goes on only where the server has taken the second.
fn says_two_things(job: &Job) -> After {
    let order = OrderId([0xa5; 16]);
    let failed =
        |reason: &str| EventKind::OrderFailed { order, reason: reason.to_owned(), touched: true };
    let first = job.session.note(Level::Info, failed("what it likes"));
    let second = job.session.note(Level::Info, failed("what it does not like"));
    let told = [first, second].map(|one| job.session.is_told_within(one, Duration::from_secs(20)));
    let third = job.session.note(Level::Info, failed(&format!("told: {told:?}")));
    assert!(job.session.is_told_within(third, Duration::from_secs(20)));
    After::Stay
}

#[tokio::test]
async fn what_the_server_refuses_is_not_told_and_takes_nothing_else_along() {
    let (harbour, voyage) = manned(says_two_things).await;
    harbour.refuses("what it does not like", 400);
    harbour.instructs(Answer::json(INSTALL));
    let told = harbour.hears("told: [").await;
    assert!(told.contains("told: [true, false]"), "{told}");
    assert!(!voyage.running.is_finished());
}

#[tokio::test]
async fn who_is_told_nothing_after_a_while_asks_again_at_once() {
    let (harbour, voyage) = moored().await;
    // Within the first second the agent takes a breath, lest it asks without end.
    sleep(Duration::from_millis(1200)).await;
    // An order that comes answers only a question that is asked after it.
    harbour.instructs(Answer::empty(204));
    let answered = std::time::Instant::now();
    harbour.waits_for("GET /v1/instruction?after=0&wait=30", 2).await;
    let took = answered.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(!voyage.running.is_finished());
}

#[tokio::test]
async fn a_servers_key_is_seen_without_a_word_to_it() {
    let harbour = Harbour::open().await;
    assert_eq!(key_of(&harbour.url()).await, Ok(harbour.pin));
    let nobody = key_of("https://127.0.0.1:1").await.expect_err("nobody is there");
    assert!(nobody.contains("connecting to https://127.0.0.1:1"), "{nobody}");
    assert_eq!(harbour.requests().len(), 0, "nothing was asked, and no key shown");
    let trusting = Session::new(&harbour.url(), vec![harbour.pin]).expect("a session begins");
    assert!(trusting.is_answered().await);
    let other = Session::new(&harbour.url(), vec![Pin([1; 32])]).expect("a session begins");
    assert!(!other.is_answered().await, "that is another key");
}
