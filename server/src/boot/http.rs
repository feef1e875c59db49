//! Plain HTTP for firmware and iPXE: GET and HEAD, ranges, conditions; never a redirect, never chunked, never an empty header.
//!
//! EDK2 asks HEAD before GET and stops at anything but 200 with a length; it follows no redirect, and resumes with
//! `Range` and `If-Match`. shim insists on `Content-Length`.

pub(crate) mod conditions;
mod sending;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use protocol::MacAddress;
use tracing::{debug, error};

use self::{
    conditions::{Validators, Verdict, put},
    sending::Sending,
};
use super::{
    Answer, Arrival, Asset, BuildName, Context, Story,
    path::{Resolved, Wanted, resolve},
    query::percent_decoded,
    script::Cargo,
};
use crate::journal::FileProtocol;

/// Returns the routes of plain HTTP. They take the client's address from axum's `ConnectInfo<SocketAddr>`.
pub fn router(context: Context) -> Router {
    // One handler for all paths: a router with routes of its own would redirect, or not know `//`.
    Router::new().fallback(answer).with_state(context)
}

async fn answer(State(context): State<Context>, request: Request) -> Response {
    // Bodies are not read: nothing that we serve takes one.
    let (request, _body) = request.into_parts();
    let address = peer(&request);
    let mut resolved = match percent_decoded(request.uri.path().as_bytes()) {
        Some(path) => resolve(&path),
        None => Resolved {
            mac: None,
            serial: None,
            build: None,
            wanted: Wanted::Refused,
            shown: "?".to_owned(),
        },
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        return method_not_allowed();
    }
    if matches!(resolved.wanted, Wanted::Board(_)) {
        // Those are asked for over TFTP only.
        resolved.wanted = Wanted::NotFound;
    }
    let (mac, answer) = if resolved.wanted == Wanted::MachineScript {
        let mut arrival = Arrival::of_query(request.uri.query().unwrap_or_default());
        let traveller = &mut arrival.traveller;
        traveller.mac =
            traveller.mac.or_else(|| address.and_then(|address| (context.mac_of)(address)));
        if let (Some(mac), Some(address)) = (traveller.mac, address) {
            (context.note_address)(mac, address);
        }
        let cargo = cargo(&context, &arrival).await;
        debug!(?arrival, ?cargo, "a machine asks for its script");
        (arrival.traveller.mac, context.answer_arrival(&arrival, cargo))
    } else {
        // What loads next may not say who it is: GRUB.
        if let (Some(mac), Some(address)) = (resolved.mac, address) {
            (context.note_address)(mac, address);
        }
        let mac = resolved.mac.or_else(|| address.and_then(|address| (context.mac_of)(address)));
        (mac, context.answer(&resolved, mac))
    };
    let story = Story::of_request(&context, FileProtocol::Http, &resolved.shown, mac, address);
    match answer {
        Answer::Asset(asset) => file(&context, asset, (resolved.build, mac), &request, story).await,
        Answer::FirstScript(text) => script(text, &request.method, story),
        Answer::MachineScript { text, boots } => {
            if request.method != Method::HEAD {
                story.rendered(boots);
            }
            script(text, &request.method, story)
        }
        Answer::BoardFile(_) | Answer::Absent => not_found(),
        Answer::Nothing(reason) => {
            story.failed(reason);
            not_found()
        }
    }
}

fn peer(request: &Parts) -> Option<Ipv4Addr> {
    let ConnectInfo(peer) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Finds the build that the machine gets, and in it what its boot card needs beside the core.
async fn cargo(context: &Context, arrival: &Arrival) -> Cargo {
    let (architecture, bus_id) = (arrival.architecture, arrival.bus_id.clone());
    let assets = context.assets.clone();
    let look = move || {
        let assets = assets.now();
        let pack =
            architecture.and_then(|architecture| assets.pack(architecture, bus_id.as_deref()));
        Cargo { build: assets.build(), pack }
    };
    // Files are looked at. A server that stops has none to name.
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

async fn file(
    context: &Context,
    asset: Asset,
    (build, mac): (Option<BuildName>, Option<MacAddress>),
    request: &Parts,
    story: Story,
) -> Response {
    let context = context.clone();
    let opened = match tokio::task::spawn_blocking(move || context.open(asset, build, mac)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(super::AssetError::Missing { path })) => {
            story.failed(format!("not found: {} is missing on the server", path.display()));
            return not_found();
        }
        Ok(Err(problem)) => {
            let problem = anyhow::Error::new(problem);
            error!("a boot file cannot be served: {problem:#}");
            story.failed(format!("{problem:#}"));
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n");
        }
        Err(stopped) => {
            story.failed(format!("the server stops: {stopped}"));
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the server stops\n");
        }
    };
    let validators = Validators::of(&opened);
    let verdict = conditions::judge(&request.method, &request.headers, &validators);
    let size_bytes = opened.size_bytes;
    let (status, range) = match verdict {
        Verdict::Whole => (StatusCode::OK, 0..size_bytes),
        Verdict::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Verdict::NotModified => {
            story.probed();
            let mut response = status_only(StatusCode::NOT_MODIFIED, Body::empty());
            validators.put(response.headers_mut());
            return response;
        }
        Verdict::Failed => {
            story.failed("not the file that the client began with: it was replaced");
            return plain(StatusCode::PRECONDITION_FAILED, "the file has changed\n");
        }
        Verdict::Unsatisfiable => {
            story.failed("a range behind the end of the file");
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "no such range\n");
            put(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size_bytes}"));
            return response;
        }
    };
    let content_range = (status == StatusCode::PARTIAL_CONTENT)
        .then(|| format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1)));
    let length = range.end.saturating_sub(range.start);
    let body = if request.method == Method::HEAD {
        story.probed();
        Body::empty()
    } else {
        Body::new(Sending::of_file(opened, range, story))
    };
    let mut response = status_only(status, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type()));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validators.put(headers);
    if let Some(content_range) = content_range {
        put(headers, header::CONTENT_RANGE, &content_range);
    }
    response
}

fn script(text: String, method: &Method, story: Story) -> Response {
    let length = text.len();
    let body = if *method == Method::HEAD {
        story.probed();
        Body::empty()
    } else {
        Body::new(Sending::of_text(text, story))
    };
    let mut response = status_only(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "not found\n")
}

fn method_not_allowed() -> Response {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = status_only(status, Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    response
}

fn status_only(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
pub(super) mod tests;
