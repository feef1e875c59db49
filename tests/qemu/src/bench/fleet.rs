//! Invented machines that announce themselves through the agents' door, as our agent would.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::{
    lab::{Lab, Station},
    server::{SERVER, TLS_PORT},
};

/// So many addresses the machines share: the server limits what one may ask.
const ADDRESSES: u8 = 50;
const FIRST_ADDRESS: u8 = 200;

/// Asks so often when the server says that it has enough for the moment.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(300);

/// What a machine takes at once.
const WINDOW_BYTES: usize = 64 << 10;

/// Puts a computer on the switch that can speak for many machines.
pub(super) fn station(lab: &Lab) -> Result<Station> {
    let station = lab.station("fleet", Ipv4Addr::new(10, 77, 0, FIRST_ADDRESS))?;
    for number in 1..ADDRESSES {
        let last = FIRST_ADDRESS + number;
        station.namespace.ip(&format!("addr add 10.77.0.{last}/24 dev lan"))?;
    }
    Ok(station)
}

/// Announces the machine with this number; waits where the server limits how fast strangers may come.
pub(super) fn announce(station: &Station, number: u16) -> Result<()> {
    announce_as(station, number, &Arc::new(client()?))
}

/// Announces the machine with this number with a key that is used again.
pub(super) fn announce_as(
    station: &Station,
    number: u16,
    config: &Arc<ClientConfig>,
) -> Result<()> {
    let body = machine(number).to_string();
    for _ in 0..TRIES {
        let stream = connection(station, number)?;
        if let Ok(answer) = post(Arc::clone(config), stream, &body) {
            let status = answer.split(' ').nth(1).unwrap_or_default();
            match status {
                "200" => return Ok(()),
                "429" | "503" => {}
                _ => bail!("the server answered {answer}"),
            }
        }
        thread::sleep(PAUSE);
    }
    bail!("the server never took it");
}

/// Connects to the agents' door from the address of the machine with this number.
pub(super) fn connection(station: &Station, number: u16) -> Result<TcpStream> {
    let last = FIRST_ADDRESS + u8::try_from(number % u16::from(ADDRESSES)).expect("less than 50");
    station.namespace.inside(|| connect(Ipv4Addr::new(10, 77, 0, last)))
}

fn connect(own: Ipv4Addr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("making a socket")?;
    // What all have under way together fits before a slow link: then it drops nothing, and prefers nobody.
    socket.set_recv_buffer_size(WINDOW_BYTES).context("choosing the window")?;
    socket.bind(&SocketAddr::from((own, 0)).into()).with_context(|| format!("binding {own}"))?;
    let server = SocketAddr::from((SERVER, TLS_PORT));
    socket.connect(&server.into()).context("connecting to the agents' door")?;
    Ok(socket.into())
}

/// Begins TLS.
pub(super) fn line(
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::from(IpAddr::from(SERVER));
    let connection = ClientConnection::new(config, name).context("beginning TLS")?;
    Ok(StreamOwned::new(connection, stream))
}

/// Makes one request without a body, and returns the whole answer.
pub(super) fn ask(config: Arc<ClientConfig>, stream: TcpStream, what: &str) -> Result<String> {
    let mut stream = line(config, stream)?;
    write!(stream, "{what} HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n")
        .context("asking")?;
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn post(config: Arc<ClientConfig>, stream: TcpStream, body: &str) -> Result<String> {
    let mut stream = line(config, stream)?;
    write!(
        stream,
        "POST /v1/announce HTTP/1.1\r\nHost: {SERVER}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .context("asking")?;
    let mut answer = Vec::new();
    // Not every server ends TLS before it ends TCP.
    drop(stream.read_to_end(&mut answer));
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A key of its own for each machine. The server's is not looked at: this is no agent.
pub(super) fn client() -> Result<ClientConfig> {
    let key = KeyPair::generate().context("making a key")?;
    let certificate = CertificateParams::default().self_signed(&key).context("signing it")?;
    let provider = Arc::new(ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choosing TLS versions")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_auth_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .context("presenting a certificate")
}

/// Accepts every server.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A rack server as its agent would report it: two processors, sixteen modules, four disks, four ports.
fn machine(number: u16) -> Value {
    let mac = |port: u16| format!("00:16:3e:{:02x}:{:02x}:{port:02x}", number >> 8, number & 255);
    let disks: Vec<Value> = (0..4)
        .map(|disk| {
            json!({
                "name": format!("nvme{disk}n1"), "model": "Example NVMe 3.84TB",
                "serial": format!("S{number:05}D{disk}"), "firmware": "GDC5602Q",
                "eui64": format!("0025388{number:07x}{disk:02x}"),
                "sizeBytes": 3_840_755_982_336_u64, "logicalSectorBytes": 512,
                "physicalSectorBytes": 4096, "rotational": false, "removable": false,
                "transport": "nvme",
                "byId": [format!("nvme-Example_NVMe_3.84TB_S{number:05}D{disk}")],
                "byPath": format!("pci-0000:{disk:02x}:00.0-nvme-1"),
                "content": { "blank": true, "signatures": [], "partitions": [] },
            })
        })
        .collect();
    let ports: Vec<Value> = (0..4)
        .map(|port| {
            json!({
                "name": format!("eno{port}"), "mac": mac(port), "permanentMac": mac(port),
                "driver": "bnxt_en", "pciAddress": format!("0000:31:00.{port}"), "link": port == 0,
            })
        })
        .collect();
    let modules: Vec<Value> = (0..16)
        .map(|slot| {
            json!({
                "slot": format!("DIMM_A{slot}"), "sizeBytes": 34_359_738_368_u64, "kind": "DDR5",
                "speedMegatransfersPerSecond": 4800, "manufacturer": "Example",
                "partNumber": "HMCG88AEBRA168N", "serial": format!("{number:04x}{slot:04x}"),
            })
        })
        .collect();
    let processor = json!({ "vendor": "GenuineIntel", "model": "Example Gold 6430", "cores": 32, "threads": 64 });
    json!({
        "agentVersion": "0.1.0",
        "complete": true,
        "boot": { "mac": mac(0), "phases": [{ "name": "kernel", "endedMilliseconds": 900 }] },
        "inventory": {
            "architecture": "x86_64",
            "system": {
                "manufacturer": "Example", "product": "Rack 760", "serial": format!("RACK{number:05}"),
                "uuid": format!("4c4c4544-0042-{number:04x}-8053-b4c04f{number:06x}"),
            },
            "firmware": { "vendor": "Example", "version": "2.1.5", "bootMode": "uefi" },
            "processors": [processor.clone(), processor],
            "memory": { "installedBytes": 549_755_813_888_u64, "slots": 32, "modules": modules },
            "disks": disks,
            "ports": ports,
        },
    })
}
