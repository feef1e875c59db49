//! What is large comes whole, or as an error.

use std::{
    io::{ErrorKind, Read as _},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use agent::session::{Bulk, BulkError, Session};
use protocol::{EventKind, OrderId, install::Progress};

use crate::harbour::Harbour;

/// Does blocking things beside the harbour.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

async fn line(harbour: &Harbour) -> Bulk {
    let (url, pin) = (harbour.url(), harbour.pin);
    let begin = move || {
        let session = Session::new(&url, vec![pin]).expect("a session begins");
        session.bulk().expect("a line is made")
    };
    beside(begin).await
}

/// Reads bytes 2 to 5 of a file about which the server says these words.
async fn reads(words: &str) -> Result<Result<Vec<u8>, (ErrorKind, String)>, BulkError> {
    let harbour = Harbour::open().await;
    harbour.says("GET /file", words);
    let line = line(&harbour).await;
    let read = beside(move || {
        let mut body = line.read("/file", 2..6)?;
        let mut bytes = Vec::new();
        Ok(body
            .read_to_end(&mut bytes)
            .map(|_| bytes)
            .map_err(|error| (error.kind(), error.to_string())))
    });
    let read = read.await;
    let request = harbour.waits_for("GET /file", 1).await;
    assert!(request.head.contains("range: bytes=2-5"), "{}", request.head);
    read
}

#[tokio::test]
async fn a_range_comes_as_it_was_asked_for() {
    let words = "HTTP/1.1 206 X\r\ncontent-length: 4\r\ncontent-range: bytes 2-5/9\r\n\r\ncdef";
    assert_eq!(reads(words).await.unwrap(), Ok(b"cdef".to_vec()));
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_body() {
    let words = "HTTP/1.1 206 X\r\ncontent-length: 4\r\ncontent-range: bytes 2-5/9\r\n\r\ncd";
    let early = (ErrorKind::UnexpectedEof, "the connection ended early".to_owned());
    assert_eq!(reads(words).await.unwrap(), Err(early));
}

#[tokio::test]
async fn another_range_another_length_and_the_whole_file_are_refused() {
    for words in [
        "HTTP/1.1 206 X\r\ncontent-length: 4\r\ncontent-range: bytes 3-6/9\r\n\r\ncdef",
        "HTTP/1.1 206 X\r\ncontent-length: 3\r\ncontent-range: bytes 2-5/9\r\n\r\ncde",
        "HTTP/1.1 206 X\r\ncontent-length: 4\r\n\r\ncdef",
        "HTTP/1.1 200 X\r\ncontent-length: 4\r\ncontent-range: bytes 2-5/9\r\n\r\ncdef",
        "HTTP/1.1 206 X\r\ncontent-range: bytes 2-5/9\r\n\r\ncdef",
        "HTTP/1.1 403 X\r\ncontent-length: 4\r\n\r\ncdef",
        "HTTP/1.1 302 X\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n",
    ] {
        let refused = reads(words).await;
        assert!(matches!(refused, Err(BulkError::Never(_))), "{words}: {refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_or_forgot_us_is_asked_again() {
    for words in [
        "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 409 X\r\ncontent-length: 0\r\n\r\n",
        "",
    ] {
        let refused = reads(words).await;
        assert!(matches!(refused, Err(BulkError::Again(_))), "{words}: {refused:?}");
    }
}

#[tokio::test]
async fn a_file_larger_than_it_may_be_is_not_kept() {
    let harbour = Harbour::open().await;
    harbour.says("GET /file", "HTTP/1.1 200 X\r\ncontent-length: 6\r\n\r\nabcdef");
    let line = line(&harbour).await;
    let (large, line) = beside(move || (line.get("/file", 5), line)).await;
    assert!(matches!(large, Err(BulkError::Never(_))), "{large:?}");
    let whole = beside(move || line.get("/file", 6)).await;
    assert_eq!(whole.unwrap(), b"abcdef");
}

#[tokio::test]
async fn who_opens_a_file_hears_that_there_is_none_and_how_long_it_is() {
    for status in [404, 410] {
        let harbour = Harbour::open().await;
        let words = format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\n\r\nnone");
        harbour.says("GET /v1/store/ab", &words);
        let line = line(&harbour).await;
        let (absent, line) = beside(move || (line.open("/v1/store/ab").map(drop), line)).await;
        assert!(matches!(absent, Err(BulkError::Absent(_))), "{absent:?}");
        // An order's image is asked for again.
        let again = beside(move || line.get("/v1/store/ab", 9)).await;
        assert!(matches!(again, Err(BulkError::Again(_))), "{again:?}");
    }
    let harbour = Harbour::open().await;
    harbour.says("GET /v1/store/ab", "HTTP/1.1 200 X\r\ncontent-length: 6\r\n\r\nabcdef");
    let line = line(&harbour).await;
    let (length, bytes) = beside(move || {
        let mut body = line.open("/v1/store/ab").expect("it is there");
        let (length, mut bytes) = (body.left(), Vec::new());
        body.read_to_end(&mut bytes).expect("it is whole");
        (length, bytes)
    })
    .await;
    assert_eq!((length, bytes.as_slice()), (6, b"abcdef".as_slice()));
}

/// Says whether an agent that tells of its progress is told that its order is over, by a server with these words.
async fn is_cancelled(words: Option<&str>) -> bool {
    let harbour = Harbour::open().await;
    if let Some(words) = words {
        harbour.says("POST /v1/events", words);
    }
    let line = line(&harbour).await;
    line.tell(EventKind::Progress(Box::new(Progress::beginning(OrderId([1; 16])))));
    // Said once, and heard twice: nothing moves, and the agent asks all the same.
    harbour.waits_for("POST /v1/events", 2).await;
    let until = Instant::now() + Duration::from_millis(500);
    beside(move || {
        while !line.cancelled().load(Ordering::Relaxed) && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        line.cancelled().load(Ordering::Relaxed)
    })
    .await
}

#[tokio::test]
async fn an_agent_hears_that_its_order_is_over_and_takes_no_other_answer_for_that() {
    let answer = |status: u16| format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
    let answers = [410, 404, 409, 503].map(answer);
    let (over, standing, unknown, forgot, busy) = tokio::join!(
        is_cancelled(Some(&answers[0])),
        is_cancelled(None),
        is_cancelled(Some(&answers[1])),
        is_cancelled(Some(&answers[2])),
        is_cancelled(Some(&answers[3])),
    );
    assert_eq!([over, standing, unknown, forgot, busy], [true, false, false, false, false]);
}
