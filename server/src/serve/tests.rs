use std::net::TcpListener;

use super::*;

#[tokio::test]
async fn a_port_in_use_leaves_no_state_directory_behind_and_harms_none_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let http_port = held.local_addr().unwrap().port();
    let config = Config { http_port, ..Config::default() };
    let mode = dhcp::ModeAsWritten::Proxy;
    let dhcp = dhcp::Settings::check("lo", Ipv4Addr::LOCALHOST, http_port, mode).unwrap();
    let plan = Plan { networks: vec![Network { dhcp, reserve_for_discovered: false }] };
    let error = claim(&path, &plan, &config).await.unwrap_err();
    assert!(matches!(error, ServeError::Tcp { .. }), "{error:?}");
    assert!(!path.exists(), "nothing is left behind");

    let pin = State::open(&path).unwrap().key.pin();
    let error = claim(&path, &plan, &config).await.unwrap_err();
    assert!(matches!(error, ServeError::Tcp { .. }), "{error:?}");
    let state = State::open(&path).unwrap();
    assert_eq!(state.key.pin(), pin);
    // Whoever runs there already is the better reason than his port.
    let error = claim(&path, &plan, &config).await.unwrap_err();
    assert!(matches!(error, ServeError::State(StateError::InUse(_))), "{error:?}");
}
