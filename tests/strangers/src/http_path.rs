//! Any request to the plain HTTP server: its path, its query, its headers; and the scripts that come of them.

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::ConnectInfo,
    http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header},
};
use drydock::{
    boot::{
        Architecture, Arrival, Asset, Image, Platform, Program, Wanted, resolve, router,
        script::{self, Beginning, Extras},
    },
    decision::{Boot, System, Traveller},
};
use protocol::MacAddress;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::scene;

/// Longer than anything that the tests serve.
const BODY_LIMIT_BYTES: usize = 1 << 20;
const REDIRECTS: std::ops::Range<u16> = 300..304;

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

/// The contents of all files that may be served.
static FILES: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let programs = Program::ALL.into_iter().map(Asset::Program);
    let assets = programs.chain(Image::all().map(Asset::Image));
    assets.filter_map(|asset| fs::read(scene::directory().join(asset.location())).ok()).collect()
});

/// Every line that a script may hold, but its title: rendered for machines that say nothing of themselves.
static LINES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let settings = scene::settings();
    let mut scripts = vec![
        script::first(&settings, Beginning::Autoexec),
        script::first(&settings, Beginning::Leased),
    ];
    let boots = [Boot::OwnDisk, Boot::System(System::Sunshine), Boot::System(System::Hercules)];
    for boot in boots {
        for architecture in [None, Some(Architecture::X86_64), Some(Architecture::Aarch64)] {
            for platform in [None, Some(Platform::Efi), Some(Platform::Pcbios)] {
                let nobody = Traveller::default();
                let extras = Extras::default();
                let script =
                    script::machine(&boot, &settings, &nobody, architecture, platform, extras);
                scripts.extend(script);
            }
        }
    }
    scripts.iter().flat_map(|script| script.lines()).map(str::to_owned).collect()
});

/// Whatever is asked for, only our files and our scripts are sent, with the length that was said.
pub fn check(bytes: &[u8]) {
    check_path(bytes);
    check_query(&String::from_utf8_lossy(bytes));
    let Some(request) = read_request(bytes) else { return };
    let (method, range) = (request.method().clone(), request.headers().contains_key(header::RANGE));
    let (response, body) = RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
        });
        runtime.block_on(ask(request))
    });
    check_response(&method, range, &response, &body);
}

async fn ask(request: Request<Body>) -> (Response<()>, Bytes) {
    let answered = router(scene::context()).oneshot(request).await;
    let (parts, body) = answered.unwrap_or_else(|never| match never {}).into_parts();
    let body = to_bytes(body, BODY_LIMIT_BYTES).await.expect("a body to its end");
    (Response::from_parts(parts, ()), body)
}

/// Reads a request as a client writes it; none where HTTP's own parser would have refused it.
fn read_request(bytes: &[u8]) -> Option<Request<Body>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(3, |byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = Uri::try_from(words.next()?).ok()?;
    let mut request = Request::new(Body::empty());
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    for line in lines.take_while(|line| !line.trim_ascii().is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    let peer = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 7), 49152));
    request.extensions_mut().insert(ConnectInfo(peer));
    Some(request)
}

fn check_path(bytes: &[u8]) {
    let resolved = resolve(bytes);
    assert!(resolved.shown.len() <= 256);
    assert!(resolved.shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{resolved:?}");
    assert!(resolved.mac.is_none_or(MacAddress::is_usable), "{resolved:?}");
    if let Wanted::Asset(asset) = resolved.wanted {
        assert!(!resolved.shown.split('/').any(|part| part == ".."), "{resolved:?}");
        assert!(resolved.shown.ends_with(asset.location().trim_start_matches("ipxe/")));
    }
}

fn check_query(query: &str) {
    let Arrival { traveller, bus_id, product, manufacturer, architecture, platform } =
        Arrival::of_query(query);
    assert!(traveller.mac.is_none_or(MacAddress::is_usable));
    let texts = [&traveller.uuid, &traveller.serial, &bus_id, &product, &manufacturer];
    for text in texts.into_iter().flatten() {
        assert!((1..=128).contains(&text.len()) && !text.chars().any(char::is_control), "{text:?}");
    }
    for boot in [Boot::OwnDisk, Boot::System(System::Sunshine)] {
        let (settings, extras) = (scene::settings(), Extras::default());
        let rendered =
            script::machine(&boot, &settings, &traveller, architecture, platform, extras);
        check_script(&rendered.expect("nobody is silent"));
    }
}

/// A script begins as iPXE wants it, and none of its lines was brought by the machine; its title names the machine's port.
fn check_script(text: &str) {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("#!ipxe"));
    let title = lines.next().expect("a title");
    let printable = |byte: u8| (0x20..0x7f).contains(&byte);
    assert!(title.starts_with("# Drydock: ") && title.bytes().all(printable), "{title:?}");
    assert!(!title.contains("${"), "iPXE would expand it: {title:?}");
    for line in lines {
        assert!(LINES.contains(line), "not one of our lines: {line:?}");
    }
}

fn check_response(method: &Method, range: bool, response: &Response<()>, body: &Bytes) {
    let (status, headers) = (response.status().as_u16(), response.headers());
    assert!([200, 206, 304, 404, 405, 412, 416].contains(&status), "{status}");
    assert!(!REDIRECTS.contains(&status) && !headers.contains_key(header::LOCATION));
    assert!(!headers.contains_key(header::TRANSFER_ENCODING));
    for (name, value) in headers {
        assert!(!value.is_empty(), "an empty header: {name}");
    }
    let length: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match *method {
        Method::HEAD => assert!(body.is_empty(), "HEAD with a body"),
        _ if status == 304 => assert!(body.is_empty()),
        _ => assert_eq!(length, Some(body.len()), "the length that was said"),
    }
    if *method != Method::GET {
        assert!(matches!(status, 200 | 304 | 404 | 405 | 412), "{method}: {status}");
        return;
    }
    match status {
        200 if body.starts_with(b"#!ipxe\n") => {
            check_script(std::str::from_utf8(body).expect("a script is text"));
        }
        200 => assert!(FILES.contains(body.as_ref()), "none of our files: {body:?}"),
        206 => {
            let said = headers[header::CONTENT_RANGE].to_str().expect("a range is text");
            assert!(range && is_part(said, body), "{said}: {body:?}");
        }
        304 => {}
        _ => assert!(body.len() < 100 && body.ends_with(b"\n"), "{body:?}"),
    }
}

/// Holds where a body is just the part of one of our files that `Content-Range` says: `bytes 0-9/100`.
fn is_part(said: &str, body: &[u8]) -> bool {
    let numbers: Option<Vec<usize>> = said
        .strip_prefix("bytes ")
        .map(|said| said.split(['-', '/']).filter_map(|number| number.parse().ok()).collect());
    let Some([first, last, size]) = numbers.as_deref() else { return false };
    FILES.iter().any(|file| file.len() == *size && file.get(*first..=*last) == Some(body))
}

/// EDK2, shim and iPXE as they ask; firmware that resumes; ways out of the directory; a machine that lies about itself.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "HEAD /boot/52-54-00-12-34-56/snponly.efi HTTP/1.1\r\nHost: 10.0.0.1:7480\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n\r\n",
        "GET /boot/52-54-00-12-34-56/snponly.efi HTTP/1.1\r\nHost: 10.0.0.1:7480\r\nRange: bytes=10-\r\nIf-Match: \"x\"\r\n\r\n",
        "GET /image/sunshineos-x86_64.vmlinuz HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.21.1\r\nHost: 10.0.0.1:7480\r\nRange: bytes=0-9\r\n\r\n",
        "GET /image/sunshineos-x86_64.initrd HTTP/1.1\r\nRange: bytes=-5\r\nIf-Range: Sat, 21 Nov 2026 05:57:34 GMT\r\nIf-None-Match: *\r\nIf-Modified-Since: Sat, 21 Nov 2026 05:57:34 GMT\r\n\r\n",
        "GET /script.ipxe?mac=52:54:00:12:34:56&uuid=11223344-5566-7788-99aa-bbccddeeff00&serial=AB%2f12%20c&busid=01:80:86:10:d3&arch=x86_64&platform=efi&product=Standard%20PC&manufacturer=QEMU HTTP/1.1\r\n\r\n",
        "GET /script.ipxe?mac=52:54:00:12:34:54&serial=%0aexit&product=${x}&arch=i386&platform=pcbios HTTP/1.1\r\n\r\n",
        "GET //boot\\52-54-00-12-34-56/./autoexec.ipxe HTTP/1.1\r\n\r\n",
        "GET /boot/52-54-00-12-34-57/boot.ipxe HTTP/1.1\r\n\r\n",
        "GET /boot/52-54-00-12-34-54/own-disk HTTP/1.1\r\n\r\n",
        "GET /image/%2e%2e/Cargo.toml HTTP/1.1\r\n\r\n",
        "POST /boot.ipxe HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "mac=52:54:00:12:34:56&uuid=11223344-5566-7788-99aa-bbccddeeff00&serial=a%00b&busid=01:80&arch=arm64&platform=efi",
        "boot/52-54-00-12-34-56/../undionly.kpxe",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
