//! Fetches an image from somebody else's server, for the store: a cut is mended where the server tells what it sends.

use std::{io, time::Duration};

use bytes::Bytes;
use reqwest::{Client, Response, StatusCode, header};
use tokio::sync::mpsc;

use super::{Given, gone};

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_mins(1);
/// How often a download that was cut is taken up again, without a byte of progress in between.
const ATTEMPTS: u32 = 5;
/// How long is waited before that.
const PAUSE: Duration = Duration::from_secs(2);

/// Fetches a URL and gives it away piece by piece.
pub(super) fn give(url: &str, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(fetch(url, sender, PAUSE));
    if let Err(error) = &outcome {
        // The conversation must not end as if that were all.
        drop(sender.blocking_send(Err(error.kind().into())));
    }
    outcome
}

async fn fetch(
    url: &str,
    sender: &mpsc::Sender<io::Result<Bytes>>,
    pause: Duration,
) -> io::Result<()> {
    // Nothing was put there before; certificates are checked against those that this system trusts.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder()
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .build()
        .map_err(io::Error::other)?;
    let mut response = accepted(client.get(url).send().await.map_err(io::Error::other)?)?;
    let tag = strong_tag(&response);
    let mut given = Given::new(response.content_length());
    let mut attempts = 0;
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => {
                attempts = 0;
                let count = piece.len();
                sender.send(Ok(piece)).await.map_err(|_| gone())?;
                given.more(count);
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                let Some(tag) = tag.as_deref().filter(|_| attempts < ATTEMPTS) else {
                    return Err(io::Error::other(error));
                };
                attempts += 1;
                tokio::time::sleep(pause).await;
                if let Some(rest) = resume(&client, url, tag, given.bytes).await? {
                    response = rest;
                }
            }
        }
    }
}

fn accepted(response: Response) -> io::Result<Response> {
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(io::Error::other(format!("the server answered {status}"))),
    }
}

/// What tells this state of the file from every other, by the server's own word.
fn strong_tag(response: &Response) -> Option<String> {
    let tag = response.headers().get(header::ETAG)?.to_str().ok()?;
    tag.starts_with('"').then(|| tag.to_owned())
}

/// Asks for the rest; nothing where the server cannot be reached at this moment.
async fn resume(client: &Client, url: &str, tag: &str, from: u64) -> io::Result<Option<Response>> {
    let request = client
        .get(url)
        .header(header::RANGE, format!("bytes={from}-"))
        .header(header::IF_RANGE, tag);
    let Ok(response) = request.send().await else { return Ok(None) };
    let begins = format!("bytes {from}-");
    let said = response.headers().get(header::CONTENT_RANGE).and_then(|said| said.to_str().ok());
    match response.status() {
        StatusCode::PARTIAL_CONTENT if said.is_some_and(|said| said.starts_with(&begins)) => {
            Ok(Some(response))
        }
        status if status.is_server_error() => Ok(None),
        StatusCode::OK => {
            Err(io::Error::other("the file was replaced while it was downloaded: start again"))
        }
        status => Err(io::Error::other(format!("the rest was refused: {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Fetches from a server that gives these answers, one for each connection; returns what came and what was asked.
    async fn fetched(answers: Vec<Vec<u8>>) -> (io::Result<Vec<u8>>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/disk.raw", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                asked.push(String::from_utf8_lossy(&request[..length]).to_lowercase());
                stream.write_all(&answer).await.unwrap();
            }
            asked
        });
        let (sender, mut pieces) = mpsc::channel::<io::Result<Bytes>>(1);
        let collecting = tokio::spawn(async move {
            let mut bytes = Vec::new();
            while let Some(Ok(piece)) = pieces.recv().await {
                bytes.extend_from_slice(&piece);
            }
            bytes
        });
        let outcome = fetch(&url, &sender, Duration::from_millis(1)).await;
        drop(sender);
        let bytes = collecting.await.unwrap();
        (outcome.map(|()| bytes), serving.await.unwrap())
    }

    fn answer(head: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n{body}").into_bytes()
    }

    const WHOLE: &str = "200 OK\r\nContent-Length: 10\r\nETag: \"a\"";

    #[tokio::test]
    async fn a_cut_is_mended_with_the_rest_of_the_same_file() {
        let rest = "206 Partial Content\r\nContent-Length: 6\r\nContent-Range: bytes 4-9/10";
        let (bytes, asked) = fetched(vec![answer(WHOLE, "0123"), answer(rest, "456789")]).await;
        assert_eq!(bytes.unwrap(), b"0123456789");
        assert!(asked[1].contains("range: bytes=4-"), "{}", asked[1]);
        assert!(asked[1].contains("if-range: \"a\""), "{}", asked[1]);
    }

    #[tokio::test]
    async fn two_files_are_never_mixed_and_half_of_one_is_none() {
        let other = "200 OK\r\nContent-Length: 10\r\nETag: \"b\"";
        let (bytes, _) = fetched(vec![answer(WHOLE, "0123"), answer(other, "9876543210")]).await;
        assert!(bytes.unwrap_err().to_string().contains("replaced"));
        let elsewhere = "206 Partial Content\r\nContent-Length: 6\r\nContent-Range: bytes 3-8/10";
        let (bytes, _) = fetched(vec![answer(WHOLE, "0123"), answer(elsewhere, "345678")]).await;
        assert!(bytes.is_err());
        let weak = "200 OK\r\nContent-Length: 10\r\nETag: W/\"a\"";
        let (bytes, asked) = fetched(vec![answer(weak, "0123")]).await;
        assert!(bytes.is_err() && asked.len() == 1);
    }

    #[tokio::test]
    async fn what_is_not_there_is_said() {
        let (bytes, _) = fetched(vec![answer("404 Not Found\r\nContent-Length: 2", "no")]).await;
        assert!(bytes.unwrap_err().to_string().contains("404"));
        let around = answer("302 Found\r\nLocation: /disk.raw\r\nContent-Length: 0", "");
        let (bytes, _) = fetched(vec![around; 11]).await;
        assert!(bytes.is_err(), "round and round");
    }
}
