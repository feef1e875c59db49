//! Every fault, and the cause that is named.

use std::time::Duration;

use fetch::{FetchError, Image, Lasting, Trust};

use crate::{
    bytes, client, client_of, limits, open, open_soon, read,
    server::{Server, Step, answer, rangeless, sound},
    whole,
};

const TAG: &str = "ETag: \"a\"";

/// A server that gives always the same answer.
fn always(bytes: Vec<u8>) -> Server {
    Server::start(None, move |_, _| vec![Step::Send(bytes.clone())])
}

/// A server that is sound at first, and from the second request on answers with this.
fn then(
    length: usize,
    later: impl Fn(&crate::server::Request) -> Vec<Step> + Send + Sync + 'static,
) -> Server {
    Server::start(None, move |request, before| match before {
        0 => vec![Step::Send(sound(&bytes(length), TAG, request))],
        _ => later(request),
    })
}

/// What comes of reading all of it, or its second half.
fn outcome(server: &Server, start: u64) -> FetchError {
    let image = open(&server.url("/image")).expect("it is sound at first");
    read(&image.mirrors()[0], start, image.length()).expect_err("it is not sound later")
}

#[test]
fn a_body_that_is_cut_short_is_never_a_whole_one() {
    for kept in [0, 1, 1023, 1024, 5000, 9999] {
        let server = then(10_000, move |request| {
            let whole = sound(&bytes(10_000), TAG, request);
            vec![Step::Send(whole[..whole.len() - 10_000 + kept].to_vec())]
        });
        let error = outcome(&server, 0);
        let missing = 10_000 - u64::try_from(kept).unwrap();
        assert!(
            matches!(&error, FetchError::Cut { missing: found, .. } if *found == missing),
            "{error}"
        );
        assert_eq!(error.lasting(), Lasting::Passing);
    }
}

#[test]
fn chunks_that_are_cut_or_do_not_fit_are_no_answer() {
    let chunked = |body: &'static str| {
        then(10, move |_| {
            let head = format!(
                "206 Partial\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-9/10\r\n{TAG}"
            );
            vec![Step::Send(answer(&head, body.as_bytes()))]
        })
    };
    let cut = outcome(&chunked("5\r\n01234\r\n5\r\n012"), 0);
    assert!(matches!(cut, FetchError::Cut { .. }), "{cut}");
    let early = outcome(&chunked("5\r\n01234\r\n0\r\n\r\n"), 0);
    assert!(matches!(early, FetchError::Cut { missing: 5, .. }), "{early}");
    for nonsense in ["x\r\n01234", "5\r\n0123456789\r\n", "-5\r\n", "ffffffffffffffffff\r\n"] {
        let error = outcome(&chunked(nonsense), 0);
        assert!(matches!(error, FetchError::NotHttp { .. }), "{nonsense:?}: {error}");
    }
    let longer = outcome(&chunked("b\r\n0123456789a\r\n0\r\n\r\n"), 0);
    assert!(matches!(longer, FetchError::Longer { .. }), "{longer}");
}

#[test]
fn a_length_that_is_too_small_is_seen() {
    let server = then(10_000, |request| {
        let mut more = sound(&bytes(10_000), TAG, request);
        more.extend(b"more");
        vec![Step::Send(more)]
    });
    let error = outcome(&server, 0);
    assert!(matches!(error, FetchError::Longer { .. }), "{error}");
    // A server that only forgets to hang up is no liar.
    let idle =
        then(10_000, |request| vec![Step::Send(sound(&bytes(10_000), TAG, request)), Step::Hang]);
    let image = open(&idle.url("/")).unwrap();
    assert_eq!(read(&image.mirrors()[0], 0, 10_000).unwrap(), bytes(10_000));
}

#[test]
fn a_length_that_nobody_says_or_that_contradicts_itself_is_refused() {
    let none = whole(&always(answer("200 OK", &bytes(2000))).url("/")).unwrap_err();
    assert!(matches!(none, FetchError::NoLength { .. }), "{none}");
    let star = "206 Partial\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/*";
    let star = whole(&always(answer(star, &bytes(10))).url("/")).unwrap_err();
    assert!(matches!(star, FetchError::NoLength { .. }), "{star}");
    let two = "200 OK\r\nContent-Length: 10\r\nContent-Length: 11";
    let two = whole(&always(answer(two, &bytes(10))).url("/")).unwrap_err();
    assert!(matches!(two, FetchError::NotHttp { .. }), "{two}");
}

#[test]
fn an_error_page_is_no_image_whatever_it_is_called() {
    let page = "<!DOCTYPE html><html><title>Sign in</title>".to_owned() + &" ".repeat(2000);
    for kind in ["text/html", "application/octet-stream"] {
        let head = format!("200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}", page.len());
        let error =
            whole(&always(answer(&head, page.as_bytes())).url("/i.raw?key=secret")).unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("/i.raw is a page, not an image: \"Sign in\""), "{text}");
        assert_eq!(error.lasting(), Lasting::Lasting);
    }
    // A disk that is called a page is a disk.
    let head = "200 OK\r\nContent-Type: text/html\r\nContent-Length: 2000";
    assert_eq!(whole(&always(answer(head, &bytes(2000))).url("/")).unwrap(), bytes(2000));
}

#[test]
fn a_refusal_says_its_status_and_its_words() {
    for (status, lasting) in [
        ("401 Unauthorized", Lasting::Lasting),
        ("403 Forbidden", Lasting::Lasting),
        ("404 Not Found", Lasting::Lasting),
        ("410 Gone", Lasting::Lasting),
        ("408 Request Timeout", Lasting::Passing),
        ("429 Too Many Requests", Lasting::Passing),
        ("500 Internal Server FetchError", Lasting::Passing),
        ("501 Not Implemented", Lasting::Lasting),
        ("503 Service Unavailable", Lasting::Passing),
        ("204 No Content", Lasting::Lasting),
    ] {
        let server = always(answer(&format!("{status}\r\nContent-Length: 10"), b"no, \x1b[31m"));
        let error = whole(&server.url("/x?key=secret")).unwrap_err();
        assert_eq!(error.lasting(), lasting, "{status}");
        let text = error.to_string();
        assert!(text.contains(&status[..3]) && !text.contains("secret"), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(status.starts_with("204") || text.ends_with(": no, [31m"), "{text}");
    }
}

#[test]
fn an_image_that_is_replaced_is_noticed_and_never_mixed() {
    // Another version, with ranges; the server minds If-Range.
    let minds =
        then(10_000, |request| vec![Step::Send(sound(&bytes(10_000), "ETag: \"b\"", request))]);
    // The same, of a server that does not.
    let ignores = then(10_000, |request| {
        let (start, end) = request.range().unwrap();
        let head = format!(
            "206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/10000\r\nETag: \"b\"",
            end - start,
            end - 1
        );
        vec![Step::Send(answer(&head, &bytes(10_000)[start..end]))]
    });
    // Of a server that names no version any more, but has another length.
    let grown = then(10_000, |request| {
        let (start, end) = request.range().unwrap();
        let head = format!(
            "206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/10001",
            end - start,
            end - 1
        );
        vec![Step::Send(answer(&head, &bytes(10_001)[start..end]))]
    });
    let shrunk = then(10_000, |request| vec![Step::Send(sound(&bytes(100), "X: \"a\"", request))]);
    let whole = then(10_000, |_| vec![Step::Send(rangeless(&bytes(10_000), "A: b"))]);
    for (name, server) in [
        ("minds", minds),
        ("ignores", ignores),
        ("grown", grown),
        ("shrunk", shrunk),
        ("whole", whole),
    ] {
        let error = outcome(&server, 5000);
        assert!(matches!(error, FetchError::Replaced { .. }), "{name}: {error}");
        assert_eq!(error.lasting(), Lasting::Replaced, "{name}");
    }
}

#[test]
fn without_a_version_or_a_digest_nothing_goes_on_in_the_middle() {
    for version in ["A: b", "ETag: W/\"a\"", "Last-Modified: Sat, 21 Nov 2026 09:00:00 GMT"] {
        let server = Server::start(None, move |request, _| {
            vec![Step::Send(sound(&bytes(10_000), version, request))]
        });
        let error = outcome(&server, 5000);
        assert!(matches!(error, FetchError::Unvouched { .. }), "{version}: {error}");
        assert_eq!(error.lasting(), Lasting::Lasting);
        // With a digest of the whole, mixing would show.
        let urls = [server.url("/")];
        let image = Image::open(&client(), &urls, Some([7; 32]), None).unwrap();
        assert_eq!(read(&image.mirrors()[0], 5000, 10_000).unwrap(), bytes(10_000)[5000..]);
    }
    let dated =
        "Last-Modified: Sat, 21 Nov 2026 09:00:00 GMT\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT";
    let server = Server::start(None, move |request, _| {
        vec![Step::Send(sound(&bytes(10_000), dated, request))]
    });
    let image = open(&server.url("/")).unwrap();
    assert_eq!(read(&image.mirrors()[0], 5000, 10_000).unwrap(), bytes(10_000)[5000..]);
    let asked = server.asked();
    assert_eq!(asked[1].field("if-range"), Some("Sat, 21 Nov 2026 09:00:00 GMT"));
}

#[test]
fn another_range_than_was_asked_for_is_refused() {
    let server = then(10_000, |_| {
        let head = format!(
            "206 Partial\r\nContent-Length: 5000\r\nContent-Range: bytes 0-4999/10000\r\n{TAG}"
        );
        vec![Step::Send(answer(&head, &bytes(5000)))]
    });
    let error = outcome(&server, 5000);
    assert!(matches!(error, FetchError::OtherRange { .. }), "{error}");
    let server = then(10_000, |_| {
        vec![Step::Send(answer(
            &format!("206 Partial\r\nContent-Length: 5000\r\n{TAG}"),
            &bytes(5000),
        ))]
    });
    let error = outcome(&server, 5000);
    assert!(matches!(error, FetchError::OtherRange { .. }), "{error}");
}

#[test]
fn redirects_have_an_end() {
    let around =
        always(answer("302 Found\r\nLocation: /again?key=secret\r\nContent-Length: 0", b""));
    let error = whole(&around.url("/a")).unwrap_err();
    assert!(matches!(error, FetchError::Redirects { limit: 5, .. }), "{error}");
    assert_eq!(around.asked().len(), 6);
    assert!(!error.to_string().contains("secret"), "{error}");
    for location in ["", "\r\nLocation: file:///etc/shadow", "\r\nLocation: //["] {
        let server = always(answer(&format!("301 Moved{location}\r\nContent-Length: 0"), b""));
        let error = whole(&server.url("/")).unwrap_err();
        assert!(matches!(error, FetchError::Redirect { .. }), "{location}: {error}");
    }
}

#[test]
fn who_says_nothing_or_too_little_is_given_up() {
    let silent = Server::start(None, |_, _| vec![Step::Hang]);
    let error = open_soon(&silent.url("/")).unwrap_err();
    assert!(matches!(error, FetchError::Silent { .. }), "{error}");
    let head = Server::start(None, |_, _| {
        vec![
            Step::Trickle(b"HTTP/1.1 200 OK\r\nA: b".repeat(9), Duration::from_millis(20)),
            Step::Hang,
        ]
    });
    let error = open_soon(&head.url("/")).unwrap_err();
    assert!(matches!(error, FetchError::Silent { .. }), "{error}");
    // A byte now and then is no speed, and neither is silence in the middle.
    for steps in [
        vec![Step::Trickle(bytes(2000), Duration::from_millis(10))],
        vec![Step::Send(bytes(900)), Step::Hang],
    ] {
        let server = then(100_000, move |request| {
            let whole = sound(&bytes(100_000), TAG, request);
            let head = whole[..whole.len() - 100_000].to_vec();
            [vec![Step::Send(head)], steps.clone()].concat()
        });
        let image = open_soon(&server.url("/")).unwrap();
        let error = read(&image.mirrors()[0], 0, 100_000).unwrap_err();
        assert!(matches!(&error, FetchError::Slow { bytes, .. } if *bytes < 1000), "{error}");
        assert_eq!(error.lasting(), Lasting::Passing);
    }
}

#[test]
fn a_reader_that_takes_its_time_is_not_the_servers_fault() {
    use std::io::Read;

    let server =
        then(2_000_000, |request| vec![Step::Send(sound(&bytes(2_000_000), TAG, request))]);
    let image = open_soon(&server.url("/")).unwrap();
    let mut body = image.mirrors()[0].read(0..2_000_000).unwrap();
    let mut read = Vec::new();
    let mut piece = vec![0; 100_000];
    loop {
        let count = body.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        read.extend_from_slice(&piece[..count]);
        if read.len() < 300_000 {
            std::thread::park_timeout(Duration::from_millis(1100));
        }
    }
    assert_eq!(read, bytes(2_000_000));
}

#[test]
fn who_is_not_there_or_no_web_server_is_named() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = whole(&format!("http://{gone}/")).unwrap_err();
    assert!(
        matches!(&error, FetchError::Connect { host, .. } if *host == gone.to_string()),
        "{error}"
    );
    let error = whole("http://nowhere.invalid/").unwrap_err();
    assert!(
        matches!(&error, FetchError::Lookup { host, .. } if host == "nowhere.invalid"),
        "{error}"
    );
    let error = whole(&always(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).url("/")).unwrap_err();
    assert!(matches!(error, FetchError::NotHttp { .. }), "{error}");
    let error = whole(&always(Vec::new()).url("/")).unwrap_err();
    assert!(matches!(error, FetchError::Broken { .. }), "{error}");
    let error = whole(&always(b"HTTP/1.1 200 OK\r\nContent-".to_vec()).url("/")).unwrap_err();
    assert!(matches!(error, FetchError::Cut { .. }), "{error}");
    let endless = Server::start(None, |_, _| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Step::Send(b"A: b\r\n".repeat(20_000))]
    });
    let error = whole(&endless.url("/")).unwrap_err();
    assert!(matches!(error, FetchError::NotHttp { .. }), "{error}");
    let packed = always(answer("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9", &bytes(9)));
    let error = whole(&packed.url("/")).unwrap_err();
    assert!(matches!(error, FetchError::Encoded { .. }), "{error}");
}

#[test]
fn no_address_is_no_image() {
    let none = Image::open(&client(), &[], None, None).unwrap_err();
    assert!(matches!(none, FetchError::Nowhere), "{none}");
    let url = "ftp://user:word@a.example/x?key=secret".to_owned();
    let error = Image::open(&client(), &[url], None, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "images come over http, https, oci or oci+http: ftp://a.example/x"
    );
    let nobody = client_of(&Trust::Only(Vec::new()), limits());
    let error = Image::open(&nobody, &["https://127.0.0.1:1/".to_owned()], None, None).unwrap_err();
    assert!(matches!(error, FetchError::NoCertificates { .. }), "{error}");
}
