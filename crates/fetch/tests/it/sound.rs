//! What works.

use fetch::{FetchError, Image};

use crate::{
    bytes, client, open, read,
    server::{Server, Step, answer, rangeless, sound},
    whole,
};

#[test]
fn a_file_comes_whole_and_in_parts() {
    let file = bytes(300_000);
    let there = file.clone();
    let server = Server::start(None, move |request, _| {
        vec![Step::Send(sound(&there, "ETag: \"a\"", request))]
    });
    let image = open(&server.url("/debian.raw?signature=1")).unwrap();
    assert_eq!((image.length(), image.sha256()), (300_000, None));
    let mirror = &image.mirrors()[0];
    assert_eq!(read(mirror, 0, 300_000).unwrap(), file);
    for (start, end) in [(0, 1), (1, 2), (1000, 200_000), (299_999, 300_000), (7, 7)] {
        let (from, to) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
        assert_eq!(read(mirror, start, end).unwrap(), file[from..to], "{start}");
    }
    let asked = server.asked();
    assert!(asked.iter().all(|request| request.path == "/debian.raw?signature=1"));
    assert_eq!(asked[2].field("if-range"), Some("\"a\""));
    assert_eq!(asked[0].field("host"), Some(server.address.to_string().as_str()));
    assert!(asked.iter().all(|request| request.field("authorization").is_none()));
}

#[test]
fn a_server_without_ranges_sends_it_whole_and_what_is_there_is_skipped() {
    let file = bytes(200_000);
    let there = file.clone();
    let server =
        Server::start(None, move |_, _| vec![Step::Send(rangeless(&there, "ETag: \"a\""))]);
    let image = open(&server.url("/")).unwrap();
    assert_eq!(read(&image.mirrors()[0], 0, 200_000).unwrap(), file);
    assert_eq!(read(&image.mirrors()[0], 150_000, 200_000).unwrap(), file[150_000..]);
}

#[test]
fn a_range_in_chunks_is_a_range() {
    let server = Server::start(None, |request, _| {
        let (start, end) = request.range().unwrap();
        let end = end.min(20);
        let head = format!(
            "206 Partial Content\r\nTransfer-Encoding: chunked\r\nETag: \"a\"\r\nContent-Range: bytes {start}-{}/20",
            end - 1
        );
        let mut body = Vec::new();
        for chunk in bytes(20)[start..end].chunks(7) {
            body.extend(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\nTrailer: x\r\n\r\n");
        vec![Step::Send(answer(&head, &body))]
    });
    assert_eq!(whole(&server.url("/")).unwrap(), bytes(20));
}

#[test]
fn an_answer_may_be_announced_and_be_empty() {
    let server = Server::start(None, |request, _| {
        let early = answer("103 Early Hints\r\nLink: x", b"");
        vec![Step::Send([early, sound(b"", "ETag: \"a\"", request)].concat())]
    });
    assert_eq!(whole(&server.url("/")).unwrap(), b"");
}

#[test]
fn redirects_are_followed_and_asked_again_when_their_end_is_over() {
    let file = bytes(5000);
    let there = file.clone();
    let server = Server::start(None, move |request, before| {
        vec![Step::Send(match request.path.as_str() {
            "/a" => answer(
                &format!("302 Found\r\nLocation: b/c?key={before}\r\nContent-Length: 0"),
                b"",
            ),
            // A key is good for two requests.
            "/b/c?key=0" if before > 2 => answer("403 Forbidden\r\nContent-Length: 7", b"expired"),
            _ => sound(&there, "ETag: \"a\"", request),
        })]
    });
    let image = open(&server.url("/a")).unwrap();
    let mirror = &image.mirrors()[0];
    assert_eq!(read(mirror, 0, 5000).unwrap(), file);
    assert_eq!(read(mirror, 4000, 5000).unwrap(), file[4000..]);
    let paths: Vec<String> = server.asked().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[..4], ["/a", "/b/c?key=0", "/b/c?key=0", "/b/c?key=0"]);
    assert_eq!(paths[4], "/a");
}

#[test]
fn mirrors_are_tried_in_order_and_those_of_no_use_are_named() {
    let gone = Server::start(None, |_, _| {
        vec![Step::Send(answer("404 Not Found\r\nContent-Length: 0", b""))]
    });
    let busy = Server::start(None, |_, _| {
        vec![Step::Send(answer("503 Service Unavailable\r\nContent-Length: 0", b""))]
    });
    let good =
        Server::start(None, |request, _| vec![Step::Send(sound(&bytes(99), "A: b", request))]);
    let last =
        Server::start(None, |request, _| vec![Step::Send(sound(&bytes(98), "A: b", request))]);
    let urls = [&gone, &busy, &good, &last].map(|server| server.url("/x?key=secret"));
    let image = Image::open(&client(), &urls, None, None).unwrap();
    let order: Vec<String> = image.mirrors().iter().map(ToString::to_string).collect();
    assert_eq!(order, [&good, &busy, &last].map(|server| server.url("/x")));
    assert_eq!(read(&image.mirrors()[0], 0, 99).unwrap(), bytes(99));
    let (url, error) = &image.refused()[0];
    assert!(matches!(error, FetchError::Status { status: 404, .. }), "{error} {url}");
    assert!(!format!("{:?}", image.refused()).contains("secret"));
    assert!(last.asked().is_empty(), "nobody needed it");
    let other = read(&image.mirrors()[2], 0, 99).unwrap_err();
    assert!(matches!(other, FetchError::OtherLength { found: 98, expected: 99, .. }), "{other}");
}

#[test]
fn an_image_is_waited_for_while_its_server_restarts() {
    let server = Server::start(None, |request, before| {
        vec![Step::Send(match before {
            0 | 1 => answer("502 Bad Gateway\r\nContent-Length: 0", b""),
            _ => sound(&bytes(99), "A: b", request),
        })]
    });
    let limits = fetch::Limits { patience: std::time::Duration::from_secs(20), ..crate::limits() };
    let client = crate::client_of(&fetch::Trust::Only(Vec::new()), limits);
    let image = Image::open(&client, &[server.url("/")], None, None).unwrap();
    assert_eq!(image.length(), 99);
    assert_eq!(server.asked().len(), 3);
}
