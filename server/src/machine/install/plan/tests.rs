use super::*;

fn request(image: &str) -> InstallRequest {
    InstallRequest {
        image: image.to_owned(),
        mirrors: vec![],
        sha256: None,
        token: None,
        disk: "only".parse().unwrap(),
        overwrite: false,
        within_seconds: 3600,
        steps: vec![],
        seed: Seed::default(),
        finish: Finish::Reboot,
        dry_run: false,
    }
}

#[test]
fn no_secret_of_a_url_is_shown() {
    let facts = request("https://images.example/a.qcow2?signature=secret").foreign().unwrap();
    assert_eq!(facts.shown.name, "https://images.example/a.qcow2");
    let error = request("https://user:secret@images.example/a").foreign().unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn only_urls_that_an_agent_can_fetch_are_taken() {
    for url in
        ["file:///etc/shadow", "ftp://a/b", "https://", "https://a b/c", "://a", "oci://a/b:c"]
    {
        assert!(request(url).foreign().is_err(), "{url}");
    }
    let mirrored = InstallRequest { mirrors: vec!["x".to_owned()], ..request("http://a/b") };
    assert!(matches!(mirrored.foreign(), Err(InstallRefusal::Url { .. })));
    let pinned = format!("oci://a/b:c@sha256:{}", "5a".repeat(32));
    let digest = InstallRequest { sha256: Some("A5".repeat(32)), ..request(&pinned) };
    let ImageSource::Foreign { sha256, .. } = digest.foreign().unwrap().source else {
        panic!("not foreign")
    };
    assert_eq!(sha256, Some("a5".repeat(32)));
    let wrong = InstallRequest { sha256: Some("a5".to_owned()), ..request("http://a/b") };
    assert!(matches!(wrong.foreign(), Err(InstallRefusal::Digest(_))));
}

#[test]
fn a_token_goes_over_tls_or_nowhere_and_is_never_shown() {
    let with = |image: &str, token: &str| {
        let token = Some(Secret(token.to_owned()));
        InstallRequest { token, ..request(image) }.foreign()
    };
    let facts = with("https://images.example/a", "secret-word").unwrap();
    assert!(!format!("{facts:?}").contains("secret-word"));
    let open = with("http://images.example/a?secret-key", "secret-word").unwrap_err();
    assert_eq!(open.to_string(), "a token is sent over https only: http://images.example/a");
    let lines = with("https://images.example/a", "secret-word\r\nHost: b").unwrap_err();
    assert!(!lines.to_string().contains("secret-word"), "{lines}");
}

#[test]
fn what_goes_with_a_url_goes_with_no_name() {
    assert_eq!(request("debian").check_named(), Ok(()));
    let with = InstallRequest { token: Some(Secret("s".to_owned())), ..request("debian") };
    assert!(with.check_named().is_err());
}
