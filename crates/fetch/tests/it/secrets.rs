//! Whom a token is shown.

use fetch::{FetchError, Image, Token};

use crate::{
    bytes, client, read,
    server::{Server, Step, answer, sound},
    tls::Authority,
};

const WORD: &str = "secret-word";

fn token() -> Token {
    Token::new(WORD).expect("it is one word")
}

#[test]
fn a_token_goes_to_the_first_urls_server_only() {
    let authority = Authority::new();
    let tls = || Some(authority.server("127.0.0.1", (2020, 2090)));
    let storage = Server::start(tls(), |request, _| {
        vec![Step::Send(sound(&bytes(5000), "ETag: \"a\"", request))]
    });
    let location = storage.url("/blob");
    let front = Server::start(tls(), move |_, _| {
        let head = format!("307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0");
        vec![Step::Send(answer(&head, b""))]
    });
    let mirror = Server::start(tls(), |request, _| {
        vec![Step::Send(sound(&bytes(5000), "ETag: \"a\"", request))]
    });
    let urls = [front.url("/image"), mirror.url("/image")];
    let image = Image::open(&authority.client(), &urls, None, Some(token())).unwrap();
    for mirror in image.mirrors() {
        assert_eq!(read(mirror, 1000, 5000).unwrap(), bytes(5000)[1000..]);
    }
    let bearer = format!("Bearer {WORD}");
    let shown = |server: &Server| -> Vec<Option<String>> {
        server.asked().iter().map(|r| r.field("authorization").map(str::to_owned)).collect()
    };
    assert_eq!(shown(&front), [Some(bearer)]);
    for server in [&storage, &mirror] {
        let shown = shown(server);
        assert!(!shown.is_empty() && shown.iter().all(Option::is_none), "{shown:?}");
    }
    assert!(!format!("{image:?}").contains(WORD));
}

#[test]
fn a_token_does_not_go_over_an_open_line() {
    let server = Server::start(None, |request, _| {
        vec![Step::Send(sound(&bytes(10), "ETag: \"a\"", request))]
    });
    let error = Image::open(&client(), &[server.url("/")], None, Some(token())).unwrap_err();
    assert!(matches!(error, FetchError::OpenLine(_)), "{error}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_server_that_repeats_the_token_does_not_get_it_into_a_message() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.server("127.0.0.1", (2020, 2090))), |request, _| {
        let said = format!("you are {}", request.field("authorization").unwrap_or("nobody"));
        let head = format!("403 Forbidden\r\nContent-Length: {}", said.len());
        vec![Step::Send(answer(&head, said.as_bytes()))]
    });
    let error =
        Image::open(&authority.client(), &[server.url("/")], None, Some(token())).unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 403, .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains(WORD), "{error:?}");
}
