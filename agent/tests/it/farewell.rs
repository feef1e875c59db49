//! The end that nobody wanted.

use std::thread;

use agent::{farewell, session::Session};

use crate::harbour::Harbour;

#[tokio::test]
async fn a_failure_is_told_to_the_server_before_the_machine_restarts_and_not_at_once() {
    let harbour = Harbour::open().await;
    let session = Session::new(&harbour.url(), vec![harbour.pin]).expect("a session begins");
    let reason = "panic in thread victim: it lost its mind";
    let farewell = thread::spawn(move || farewell::perform(Some(&session), reason));
    let told = harbour.waits_for("POST /v1/events", 1).await;
    assert!(told.body.contains(reason) && told.body.contains("kernelLog"), "{}", told.body);
    // A person at the console has time to read; the thread ends with the test.
    assert!(!farewell.is_finished());
}
