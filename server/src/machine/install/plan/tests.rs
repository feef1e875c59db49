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
    for url in ["file:///etc/shadow", "ftp://a/b", "https://", "https://a b/c", "://a"] {
        assert!(request(url).foreign().is_err(), "{url}");
    }
    let mirrored = InstallRequest { mirrors: vec!["x".to_owned()], ..request("http://a/b") };
    assert!(matches!(mirrored.foreign(), Err(InstallRefusal::Url { .. })));
    let digest = InstallRequest { sha256: Some("A5".repeat(32)), ..request("oci://a/b:c") };
    let ImageSource::Foreign { sha256, .. } = digest.foreign().unwrap().source else {
        panic!("not foreign")
    };
    assert_eq!(sha256, Some("a5".repeat(32)));
    let wrong = InstallRequest { sha256: Some("a5".to_owned()), ..request("http://a/b") };
    assert!(matches!(wrong.foreign(), Err(InstallRefusal::Digest(_))));
}

#[test]
fn what_goes_with_a_url_goes_with_no_name() {
    assert_eq!(request("debian").check_named(), Ok(()));
    let with = InstallRequest { token: Some(Secret("s".to_owned())), ..request("debian") };
    assert!(with.check_named().is_err());
}
