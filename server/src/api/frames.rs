//! The agents' route for images: to the session whose order names one, and to nobody else.

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    agents::refuse,
    door::Peer,
    sending::{ANSWERS, Sending, Turns},
};
use crate::{
    boot::conditions::{self, Validators, Verdict},
    image::{Images, Part},
    machine::Registry,
};

/// What the route needs.
#[derive(Debug, Clone)]
struct Quay {
    registry: Registry,
    images: Images,
    turns: Turns,
}

/// Returns the route. Every request must carry a [`Peer`].
pub(super) fn routes(registry: Registry, images: Images) -> Router {
    let quay = Quay { registry, images, turns: Turns::default() };
    Router::new().route("/v1/images/{manifest}/{part}", get(part)).with_state(quay)
}

async fn part(
    State(quay): State<Quay>,
    Extension(peer): Extension<Peer>,
    method: Method,
    headers: HeaderMap,
    Path((manifest, name)): Path<(String, String)>,
) -> Response {
    // Before all else: whether an image is there is nobody's business whose order does not name it.
    if !quay.registry.may_fetch(peer.session, &manifest) {
        return refuse(StatusCode::FORBIDDEN, &"this session has no order for this image");
    }
    let Some(part) = Part::named(&name) else {
        return refuse(StatusCode::NOT_FOUND, &"an image has a manifest and frames");
    };
    let Some(turn) = quay.turns.take(peer.session) else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, &format!("more than {ANSWERS} at once"));
    };
    let (images, whose) = (quay.images.clone(), manifest.clone());
    let opened = tokio::task::spawn_blocking(move || {
        let file = images.file(&whose, part).map_err(|error| error.to_string())?;
        let size_bytes = file.metadata().map_err(|error| error.to_string())?.len();
        Ok::<_, String>((file, size_bytes))
    });
    let (file, size_bytes) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(problem)) => return refuse(StatusCode::NOT_FOUND, &problem),
        Err(_) => return refuse(StatusCode::SERVICE_UNAVAILABLE, &"the server stops"),
    };
    // The manifest's digest stands for every byte of both files.
    let validators = Validators::new(&format!("{manifest}-{}", part.name()), size_bytes);
    let (status, range) = match conditions::judge(&method, &headers, &validators) {
        Verdict::Whole => (StatusCode::OK, 0..size_bytes),
        Verdict::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Verdict::NotModified => return StatusCode::NOT_MODIFIED.into_response(),
        Verdict::Failed => return refuse(StatusCode::PRECONDITION_FAILED, &"another image"),
        Verdict::Unsatisfiable => {
            let mut refusal = refuse(StatusCode::RANGE_NOT_SATISFIABLE, &"no such range");
            conditions::put(
                refusal.headers_mut(),
                header::CONTENT_RANGE,
                &format!("bytes */{size_bytes}"),
            );
            return refusal;
        }
    };
    let length = range.end - range.start;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        Body::new(Sending::new(file, range.clone(), turn))
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validators.put(headers);
    if status == StatusCode::PARTIAL_CONTENT {
        let (first, last) = (range.start, range.end.saturating_sub(1));
        let text = format!("bytes {first}-{last}/{size_bytes}");
        conditions::put(headers, header::CONTENT_RANGE, &text);
    }
    response
}

#[cfg(test)]
mod tests;
