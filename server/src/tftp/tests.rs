use std::net::UdpSocket as Client;

use protocol::MacAddress;
use tokio::sync::oneshot;

use super::*;
use crate::{
    boot::{test_assets::pattern, test_context},
    decision::{Boot, System},
    journal::What,
};

mod board;

/// Fetches a file as a client would, from whatever port answers.
fn fetch(server: SocketAddrV4, request: &[u8]) -> Vec<u8> {
    let client = Client::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send_to(request, server).unwrap();
    let mut packet = [0; 2048];
    let mut content = Vec::new();
    loop {
        let (length, from) = client.recv_from(&mut packet).unwrap();
        assert_eq!(from, SocketAddr::V4(server), "an answer from another port");
        match &packet[..length] {
            [0, 3, high, low, data @ ..] => {
                content.extend_from_slice(data);
                client.send_to(&[0, 4, *high, *low], server).unwrap();
                if data.len() < 1468 {
                    return content;
                }
            }
            [0, 6, ..] => drop(client.send_to(&[0, 4, 0, 0], server).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_whole_from_the_port_that_was_asked() {
    let (context, told, _directory) = test_context::context(Boot::System(System::Sunshine));
    let bound = bind(Ipv4Addr::LOCALHOST, 0).unwrap();
    let address = bound.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(bound.run(context, Limits::default(), async move {
        drop(stopped.await);
    }));
    let fetched = tokio::task::spawn_blocking(move || {
        fetch(address, b"\0\x01boot/snponly.efi\0octet\0blksize\x001468\0tsize\x000\0")
    });
    assert!(fetched.await.unwrap() == pattern(100_000));
    let sent = |what: &What| matches!(what, What::FileSent { size_bytes: 100_000, .. });
    let limit = Instant::now() + Duration::from_secs(5);
    while !told.lock().unwrap().iter().any(|(_, what)| sent(what)) {
        assert!(Instant::now() < limit, "{told:?}");
        tokio::task::yield_now().await;
    }
    drop(stop);
    server.await.unwrap().unwrap();
}

#[test]
fn a_port_in_use_is_named() {
    let taken = bind(Ipv4Addr::LOCALHOST, 0).unwrap();
    let error = bind(Ipv4Addr::LOCALHOST, taken.address().port()).unwrap_err();
    assert!(matches!(error, BindError::InUse(address) if address == taken.address()), "{error}");
}
