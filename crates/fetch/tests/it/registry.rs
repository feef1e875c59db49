//! Images in registries.

use std::time::Duration;

use fetch::{Client, FetchError, Image};
use sha2::{Digest, Sha256};

use crate::{
    bytes, client, read,
    server::{Request, Server, Step, answer, rangeless, sound},
    tls::Authority,
};

fn digits(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn manifest(blob: &[u8]) -> String {
    let empty = digits(b"{}");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:{empty}","size":2}},"layers":[{{"mediaType":"application/octet-stream","digest":"sha256:{}","size":{}}}]}}"#,
        digits(blob),
        blob.len()
    )
}

/// What a registry answers that wants no token.
fn registry(request: &Request, manifest: &str, blob: &[u8]) -> Vec<u8> {
    if request.path == format!("/v2/os/debian/manifests/sha256:{}", digits(manifest.as_bytes())) {
        assert!(
            request
                .field("accept")
                .expect("it says what it understands")
                .contains("application/vnd.oci.image.manifest.v1+json")
        );
        rangeless(manifest.as_bytes(), "Content-Type: application/vnd.oci.image.manifest.v1+json")
    } else if request.path == format!("/v2/os/debian/blobs/sha256:{}", digits(blob)) {
        sound(blob, "A: b", request)
    } else {
        let text = br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
        answer(&format!("404 Not Found\r\nContent-Length: {}", text.len()), text)
    }
}

fn open(client: &Client, server: &Server, scheme: &str, digest: &str) -> Result<Image, FetchError> {
    let url = format!("{scheme}://{}/os/debian:13@sha256:{digest}", server.address);
    Image::open(client, &[url], None, None)
}

#[test]
fn a_layer_is_found_by_its_manifest_and_read_by_ranges() {
    let blob = bytes(50_000);
    let there = blob.clone();
    let text = manifest(&blob);
    let digest = digits(text.as_bytes());
    let server =
        Server::start(None, move |request, _| vec![Step::Send(registry(request, &text, &there))]);
    let image = open(&client(), &server, "oci+http", &digest).unwrap();
    assert_eq!(image.sha256_digits(), Some(digits(&blob)));
    // By its digest it is what it is: no validator is needed to go on.
    assert_eq!(read(&image.mirrors()[0], 30_000, 50_000).unwrap(), blob[30_000..]);
    let error = open(&client(), &server, "oci+http", &"a5".repeat(32)).unwrap_err();
    assert!(error.to_string().contains("404: {\"errors\""), "{error}");
}

#[test]
fn a_registry_that_gives_tokens_to_everybody_is_asked_for_one() {
    let authority = Authority::new();
    let tls = || Some(authority.server("127.0.0.1", (2020, 2090)));
    let blob = bytes(5000);
    let text = manifest(&blob);
    let digest = digits(text.as_bytes());
    let tokens = Server::start(tls(), |request, before| {
        assert_eq!(
            request.path,
            "/token?service=a%20registry&scope=repository%3Aos%2Fdebian%3Apull"
        );
        assert!(request.field("authorization").is_none());
        let text = format!(r#"{{"token":"given-{before}","expires_in":60}}"#);
        vec![Step::Send(rangeless(text.as_bytes(), "A: b"))]
    });
    let storage = {
        let blob = blob.clone();
        Server::start(tls(), move |request, _| {
            assert!(request.field("authorization").is_none(), "a stranger was told");
            vec![Step::Send(sound(&blob, "A: b", request))]
        })
    };
    let (realm, location) = (tokens.url("/token"), storage.url("/blob"));
    let server = Server::start(tls(), move |request, _| {
        // The first token is soon over.
        let is_known =
            request.field("authorization").is_some_and(|said| said.starts_with("Bearer given-"));
        vec![Step::Send(if !is_known {
            let head = format!(
                "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"a registry\"\r\nContent-Length: 0"
            );
            answer(&head, b"")
        } else if request.path.contains("/blobs/") {
            answer(
                &format!("307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0"),
                b"",
            )
        } else {
            rangeless(text.as_bytes(), "A: b")
        })]
    });
    let image = open(&authority.client(), &server, "oci", &digest).unwrap();
    assert_eq!(read(&image.mirrors()[0], 0, 5000).unwrap(), blob);
    assert_eq!(read(&image.mirrors()[0], 4000, 5000).unwrap(), blob[4000..]);
    assert_eq!(tokens.asked().len(), 1);
}

#[test]
fn what_is_not_the_artefact_that_was_named_is_refused() {
    let blob = bytes(5000);
    let text = manifest(&blob);
    let digest = digits(text.as_bytes());
    // Another manifest than its name says.
    let path = format!("/v2/os/debian/manifests/sha256:{digest}");
    let forged = manifest(&bytes(4999));
    let server = Server::start(None, move |request, _| {
        assert_eq!(request.path, path);
        vec![Step::Send(rangeless(forged.as_bytes(), "A: b"))]
    });
    let error = open(&client(), &server, "oci+http", &digest).unwrap_err();
    assert!(
        matches!(&error, FetchError::Manifest { reason, .. } if reason.contains("SHA-256")),
        "{error}"
    );
    // A layer of another length than the manifest says.
    let there = text.clone();
    let server = Server::start(None, move |request, _| {
        vec![Step::Send(if request.path.contains("/blobs/") {
            sound(&bytes(4999), "A: b", request)
        } else {
            rangeless(there.as_bytes(), "A: b")
        })]
    });
    let error = open(&client(), &server, "oci+http", &digest).unwrap_err();
    assert!(
        matches!(error, FetchError::OtherLength { found: 4999, expected: 5000, .. }),
        "{error}"
    );
    // Another one than was ordered.
    let there = text.clone();
    let server =
        Server::start(None, move |request, _| vec![Step::Send(registry(request, &there, &blob))]);
    let url = format!("oci+http://{}/os/debian@sha256:{digest}", server.address);
    let error = Image::open(&client(), &[url], Some([7; 32]), None).unwrap_err();
    assert!(matches!(error, FetchError::OtherDigest { .. }), "{error}");
    // A manifest without an end.
    let endless = Server::start(None, |_, _| {
        vec![Step::Send(rangeless(&b" ".repeat((4 << 20) + 1), "A: b"))]
    });
    let error = open(&client(), &endless, "oci+http", &digest).unwrap_err();
    assert!(
        matches!(&error, FetchError::Manifest { reason, .. } if reason.contains("more than")),
        "{error}"
    );
}

#[test]
fn a_registry_under_tls_cannot_send_anybody_into_the_open_for_a_token() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.server("127.0.0.1", (2020, 2090))), |_, _| {
        let head = "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:9/token\"\r\nContent-Length: 0";
        vec![Step::Send(answer(head, b""))]
    });
    let error = open(&authority.client(), &server, "oci", &"a5".repeat(32)).unwrap_err();
    assert!(matches!(error, FetchError::Downgrade { .. }), "{error}");
    let basic = Server::start(Some(authority.server("127.0.0.1", (2020, 2090))), |_, _| {
        let head = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0";
        vec![Step::Send(answer(head, b"")), Step::Trickle(Vec::new(), Duration::ZERO)]
    });
    let error = open(&authority.client(), &basic, "oci", &"a5".repeat(32)).unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 401, .. }), "{error}");
}
