use sha2::{Digest as _, Sha256};

use super::*;

fn request(image: &str) -> InstallRequest {
    InstallRequest {
        image: image.to_owned(),
        mirrors: vec![],
        sha256: None,
        token: None,
        map: None,
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

/// A map whose own checksum is right, of so many parts of one block each, every other block.
fn mapped(parts: u64) -> InstallRequest {
    let ranges: Vec<String> = (0..parts)
        .map(|part| format!("<Range chksum=\"{}\">{}</Range>", "a5".repeat(32), part * 2))
        .collect();
    let (size, ranges) = (parts * 8192 + 512, ranges.concat());
    let map = |checksum: &str| {
        format!(
            "<bmap version=\"2.0\"><ImageSize>{size}</ImageSize><BlockSize>4096</BlockSize>\
             <MappedBlocksCount>{parts}</MappedBlocksCount><ChecksumType>sha256</ChecksumType>\
             <BmapFileChecksum>{checksum}</BmapFileChecksum><BlockMap>{ranges}</BlockMap></bmap>"
        )
    };
    let checksum = hexadecimal(&Sha256::digest(map(&"0".repeat(64))));
    InstallRequest { map: Some(map(&checksum)), ..request("http://a/b") }
}

#[test]
fn a_map_says_how_large_the_disk_must_be_and_goes_to_the_agent() {
    let facts = mapped(2).foreign().unwrap();
    let size = Bytes(2 * 8192 + 512);
    assert_eq!((facts.sizing.smallest_disk, facts.shown.size_bytes), (Some(size), Some(size)));
    let ImageSource::Foreign { map: Some(map), .. } = facts.source else { panic!("no map") };
    let digest = "a5".repeat(32);
    assert_eq!(map, format!("16896\n0 4096 {digest}\n8192 4096 {digest}"));
}

#[test]
fn a_map_that_is_none_or_is_too_long_is_refused() {
    assert!(mapped(4096).foreign().is_ok());
    let long = mapped(4097).foreign().unwrap_err();
    assert!(matches!(long, InstallRefusal::LongMap(4097)), "{long}");
    let map = mapped(2).map.unwrap();
    for wrong in ["", "<bmap", "<html/>", &map.replace("4096", "8192"), &map.replace("2.0", "1.4")]
    {
        let with = InstallRequest { map: Some(wrong.to_owned()), ..request("http://a/b") };
        let refusal = with.foreign().unwrap_err();
        assert!(matches!(refusal, InstallRefusal::Map(_)), "{refusal}");
    }
}

#[test]
fn what_goes_with_a_url_goes_with_no_name() {
    assert_eq!(request("debian").check_named(), Ok(()));
    let with = InstallRequest { token: Some(Secret("s".to_owned())), ..request("debian") };
    assert!(with.check_named().is_err());
    let with = InstallRequest { image: "debian".to_owned(), ..mapped(1) };
    assert!(with.check_named().is_err());
}
