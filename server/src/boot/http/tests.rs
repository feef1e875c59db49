mod builds;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, sync::oneshot};

use super::{
    super::{
        Limits, serve,
        test_assets::pattern,
        test_context::{self, MAC, Told},
        unified::tests::image as unified_image,
    },
    *,
};
use crate::{
    decision::{Boot, System},
    journal::{Silence, What},
};

const KERNEL_BYTES: usize = 3_000_000;

/// A server on loopback, stopped by [`Scene::stop`].
struct Scene {
    address: SocketAddr,
    told: Told,
    noted: Arc<std::sync::Mutex<Vec<(MacAddress, Ipv4Addr)>>>,
    directory: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

async fn scene(boot: Boot, limits: Limits) -> Scene {
    let (mut context, told, directory) = test_context::context(boot);
    let noted = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = Arc::clone(&noted);
    context.note_address = Arc::new(move |mac, address| note.lock().unwrap().push((mac, address)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, router(context), limits, async move {
        drop(stopped.await);
    }));
    Scene { address, told, noted, directory, stop, server }
}

fn sunshine() -> Boot {
    Boot::System(System::Sunshine)
}

/// An answer, as it came over the wire.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Scene {
    /// Sends bytes and reads until the server closes.
    async fn send(&self, request: String) -> Answer {
        let address = self.address;
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
                let (_, value) = line.split_once(": ").expect("a header with a value");
                assert!(!value.is_empty(), "an empty header: {line}");
            }
            assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
            Answer { head, body: bytes[end..].to_vec() }
        })
        .await
        .unwrap()
    }

    async fn get(&self, target: &str, headers: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
            .await
    }

    async fn head(&self, target: &str) -> Answer {
        self.send(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    /// Waits until something is told to the journal.
    async fn told(&self, is_it: impl Fn(&What) -> bool) {
        let limit = Instant::now() + Duration::from_secs(10);
        while !self.told.lock().unwrap().iter().any(|(_, what)| is_it(what)) {
            assert!(Instant::now() < limit, "{:?}", self.told);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        drop(self.stop);
        self.server.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_told_by_its_command_line_whose_it_is_also_in_pieces() {
    let scene = scene(sunshine(), Limits::default()).await;
    let name = "sunshineos-x86_64-all.efi";
    let image = unified_image(2048, 3_000_000);
    fs::write(scene.directory.path().join(name), &image).unwrap();
    let path = format!("/boot/{}/{name}", MAC.hyphenated());
    let whole = scene.get(&path, "").await;
    assert_eq!((whole.status(), whole.header("content-type")), ("200", Some("application/efi")));
    assert_eq!(whole.body.len(), image.len());
    let text = String::from_utf8_lossy(&whole.body).into_owned();
    assert!(text.contains(&format!("drydock.port={MAC} ")), "it does not say which port it is");
    // The end of a piece lies in the command line.
    let piece = scene.get(&path, "Range: bytes=1000-1600\r\n").await;
    assert_eq!((piece.status(), &piece.body[..]), ("206", &whole.body[1000..=1600]));
    assert_eq!(piece.header("etag"), whole.header("etag"));
    let other = scene.get(&format!("/image/{name}"), "").await;
    assert_ne!(other.header("etag"), whole.header("etag"), "another command line");
    scene.told(|what| matches!(what, What::FileSent { path, .. } if path.ends_with(name))).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn firmware_asks_for_the_length_and_then_for_the_program() {
    let scene = scene(sunshine(), Limits::default()).await;
    let path = format!("/boot/{}/snponly.efi", MAC.hyphenated());
    let head = scene.head(&path).await;
    assert_eq!((head.status(), head.header("content-length")), ("200", Some("100000")));
    assert!(head.head.contains("Content-Length: "), "GRUB knows no other spelling: {}", head.head);
    assert!(head.body.is_empty());
    scene.told(|what| matches!(what, What::FileProbed { .. })).await;
    for target in [
        path.clone(),
        format!("/{path}"),
        path.replace('/', "\\").replacen('\\', "/", 1),
        format!("{path}?x=1"),
    ] {
        let answer = scene.get(&target, "").await;
        assert_eq!(answer.status(), "200", "{target}");
        assert_eq!(answer.header("content-type"), Some("application/efi"));
        assert_eq!(answer.header("content-length"), Some("100000"));
        assert_eq!(answer.header("etag"), head.header("etag"));
        assert!(answer.header("last-modified").is_some());
        assert!(answer.body == pattern(100_000));
    }
    scene.told(|what| matches!(what, What::FileSent { size_bytes: 100_000, .. })).await;
    assert!(scene.told.lock().unwrap().iter().all(|(mac, _)| *mac == Some(MAC)));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_comes_whole_and_in_parts() {
    let scene = scene(sunshine(), Limits::default()).await;
    let path = "/image/sunshineos-x86_64.vmlinuz";
    let whole = scene.get(path, "").await;
    assert!(whole.body == pattern(KERNEL_BYTES));
    let tag = whole.header("etag").unwrap().to_owned();
    let rest = scene.get(path, &format!("Range: bytes=2000000-\r\nIf-Match: {tag}\r\n")).await;
    assert_eq!(rest.status(), "206");
    assert_eq!(rest.header("content-range"), Some("bytes 2000000-2999999/3000000"));
    assert_eq!(rest.header("content-length"), Some("1000000"));
    assert!(rest.body == pattern(KERNEL_BYTES)[2_000_000..]);
    let other = scene.get(path, "Range: bytes=0-9\r\nIf-Range: \"other\"\r\n").await;
    assert_eq!((other.status(), other.body.len()), ("200", KERNEL_BYTES));
    let beyond = scene.get(path, "Range: bytes=3000000-\r\n").await;
    assert_eq!((beyond.status(), beyond.header("content-range")), ("416", Some("bytes */3000000")));
    let failed = scene.get(path, "Range: bytes=1-\r\nIf-Match: \"other\"\r\n").await;
    assert_eq!(failed.status(), "412");
    let same = scene.get(path, &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!((same.status(), same.body.len()), ("304", 0));
    scene.told(|what| matches!(what, What::FileProbed { .. })).await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_tells_who_it_is_and_gets_its_script() {
    let scene = scene(sunshine(), Limits::default()).await;
    let head = scene.head(&format!("/script.ipxe?mac={MAC}")).await;
    assert_eq!((head.status(), head.body.len()), ("200", 0));
    scene.told(|what| matches!(what, What::FileProbed { .. })).await;
    let has_script = |what: &What| matches!(what, What::Script { .. });
    assert!(!scene.told.lock().unwrap().iter().any(|(_, what)| has_script(what)), "only a look");
    scene.noted.lock().unwrap().clear();
    let answer = scene
        .get(&format!("/script.ipxe?mac={MAC}&uuid=&serial=x%0Aexit&arch=x86_64&platform=efi"), "")
        .await;
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.starts_with("#!ipxe\n") && text.contains("\nboot ||\n"), "{text}");
    assert_eq!(*scene.noted.lock().unwrap(), [(MAC, Ipv4Addr::LOCALHOST)]);
    scene.told(|what| matches!(what, What::Script { boots } if boots == "sunshine")).await;
    for target in ["/boot.ipxe", "/autoexec.ipxe", "/boot/52-54-00-12-34-56/boot.ipxe"] {
        let answer = scene.get(target, "").await;
        assert!(answer.body.starts_with(b"#!ipxe\n"), "{target}");
    }
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_told_the_pack_of_its_card_and_gets_it() {
    let scene = scene(sunshine(), Limits::default()).await;
    let packs = scene.directory.path().join("pack-x86_64");
    fs::create_dir(&packs).unwrap();
    fs::write(packs.join("cards"), "8086:10fb ixgbe\n").unwrap();
    fs::write(packs.join("ixgbe.cpio"), pattern(200_000)).unwrap();
    fs::write(packs.join("network.cpio"), "all").unwrap();
    let script = async |bus_id: &str| {
        let target = format!("/script.ipxe?mac={MAC}&arch=x86_64&platform=efi&busid={bus_id}");
        String::from_utf8(scene.get(&target, "").await.body).unwrap()
    };
    let line = "initrd --name ixgbe.cpio http://10.0.0.1:7480/pack/x86_64/ixgbe.cpio ";
    assert!(script("01:80:86:10:fb").await.contains(line));
    let line = "initrd --name network.cpio http://10.0.0.1:7480/pack/x86_64/network.cpio ";
    assert!(script("01:80:86:10:fc").await.contains(line));
    let answer = scene.get("/pack/x86_64/ixgbe.cpio", "").await;
    assert_eq!(answer.header("content-length"), Some("200000"));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert!(answer.body == pattern(200_000));
    let tag = answer.header("etag").unwrap().to_owned();
    let condition = format!("If-None-Match: {tag}\r\n");
    assert_eq!(scene.get("/pack/x86_64/ixgbe.cpio", &condition).await.status(), "304");
    for target in ["/pack/x86_64/cards", "/pack/x86_64/igb.cpio", "/pack/aarch64/ixgbe.cpio"] {
        assert_eq!(scene.get(target, "").await.status(), "404", "{target}");
    }
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_404_and_never_a_redirect() {
    let scene = scene(sunshine(), Limits::default()).await;
    for target in [
        "/",
        "/boot",
        "/boot/",
        "/image/",
        "/boot/52-54-00-12-34-56/own-disk",
        "/boot/ipxe-arm64.efi",
        "/image/sunshineos-aarch64.vmlinuz",
        "/../etc/passwd",
        "/boot/%2e%2e/%2e%2e/etc/passwd",
        "/boot/..%5c..%5cetc/passwd",
        "/%",
        "/%00",
    ] {
        let answer = scene.get(target, "").await;
        assert_eq!(answer.status(), "404", "{target}");
        assert_eq!(answer.body, b"not found\n");
        let head = scene.head(target).await;
        assert_eq!((head.status(), head.header("content-length")), ("404", Some("10")));
    }
    let written = scene
        .send("PUT /boot/snponly.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx".to_owned())
        .await;
    assert_eq!((written.status(), written.header("allow")), ("405", Some("GET, HEAD")));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_left_alone_finds_nothing_and_one_that_boots_its_disk_is_told_so() {
    let program = format!("/boot/{}/snponly.efi", MAC.hyphenated());
    let first = format!("/boot/{}/boot.ipxe", MAC.hyphenated());
    let script = format!("/script.ipxe?mac={MAC}&platform=efi");
    let silent = scene(Boot::Silence(Silence::Ignored), Limits::default()).await;
    for target in [&program, &first, &script] {
        assert_eq!(silent.get(target, "").await.status(), "404", "{target}");
    }
    silent.stop().await;
    let own_disk = scene(Boot::OwnDisk, Limits::default()).await;
    assert_eq!(own_disk.get(&program, "").await.status(), "404");
    for target in [&first, &script] {
        let answer = own_disk.get(target, "").await;
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("exit 1") && !text.contains("kernel"), "{text}");
    }
    own_disk.told(|what| matches!(what, What::Script { boots } if boots == "own disk")).await;
    own_disk.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_has_not_had_its_file() {
    let scene = scene(sunshine(), Limits::default()).await;
    // Larger than what kernels buffer on loopback.
    let large = scene.directory.path().join("large");
    fs::write(&large, vec![7; 60_000_000]).unwrap();
    fs::rename(&large, scene.directory.path().join("sunshineos-x86_64.initrd")).unwrap();
    let mut stream = TcpStream::connect(scene.address).unwrap();
    stream.write_all(b"GET /image/sunshineos-x86_64.initrd HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    scene
        .told(|what| matches!(what, What::FileFailed { reason, .. } if reason.starts_with("aborted by the client after")))
        .await;
    assert!(
        !scene.told.lock().unwrap().iter().any(|(_, what)| matches!(what, What::FileSent { .. }))
    );
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_to_while_it_is_sent_is_broken_off() {
    let scene = scene(sunshine(), Limits::default()).await;
    let path = scene.directory.path().join("sunshineos-x86_64.initrd");
    fs::write(&path, vec![7; 60_000_000]).unwrap();
    let mut stream = TcpStream::connect(scene.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /image/sunshineos-x86_64.initrd HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    let mut rest = Vec::new();
    // Whether the end is a reset or an early close: not all has come.
    drop(stream.read_to_end(&mut rest));
    assert!(rest.len() < 60_000_000 - 1000 + 100);
    scene
        .told(
            |what| matches!(what, What::FileFailed { reason, .. } if reason.contains("written to")),
        )
        .await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_request_is_not_answered_as_if_it_were_whole() {
    const REQUEST: &[u8] =
        b"GET /boot/snponly.efi HTTP/1.1\r\nHost: 10.0.0.1:7480\r\nAccept: */*\r\n\
        User-Agent: UefiHttpBoot/1.0\r\n\r\n";
    let scene = scene(sunshine(), Limits::default()).await;
    let address = scene.address;
    tokio::task::spawn_blocking(move || {
        for length in 0..REQUEST.len() {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(&REQUEST[..length]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer));
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{length}");
        }
    })
    .await
    .unwrap();
    assert!(scene.told.lock().unwrap().is_empty());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads_and_idle_connections_are_closed_and_one_address_cannot_take_all() {
    let limits = Limits {
        connections: 8,
        connections_per_address: 3,
        head_patience: Duration::from_secs(2),
        ..Limits::default()
    };
    let scene = scene(sunshine(), limits).await;
    let address = scene.address;
    tokio::task::spawn_blocking(move || {
        let connect = || {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream
        };
        let mut slow: Vec<TcpStream> = (0..3).map(|_| connect()).collect();
        slow[0].write_all(b"GET / HT").unwrap();
        let mut rest = Vec::new();
        // The fourth of one address is closed at once, without a word.
        let begun = Instant::now();
        assert_eq!(connect().read_to_end(&mut rest).unwrap_or(0), 0);
        assert!(begun.elapsed() < Duration::from_secs(1), "admitted");
        for stream in &mut slow {
            let begun = Instant::now();
            drop(stream.read_to_end(&mut rest));
            assert!(begun.elapsed() < Duration::from_secs(5), "still open");
        }
    })
    .await
    .unwrap();
    assert_eq!(scene.get("/boot.ipxe", "").await.status(), "200");
    scene.stop().await;
}
