//! The operators' routes for images: add, see, verify, remove.

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    body::{Body, HttpBody},
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    operators::{Bridge, refuse},
    socket::Operator,
};
use crate::{
    image::{Arrival, Feed, FeedError, ImageError, Images},
    text::{chain, shorten},
};

/// Pieces of a body that wait for the thread that converts them.
const PIECES: usize = 4;
/// So long the rest of a body is read that nobody wants: who sends it hears why only after that.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
/// What is kept of where an image came from, in bytes.
const SOURCE_BYTES: usize = 1 << 10;

/// What is said of an image beside its name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Said {
    #[serde(default)]
    source: String,
    #[serde(default)]
    sha256: Option<String>,
}

/// Returns the routes. Every request must carry an [`Operator`].
pub(super) fn routes() -> Router<Bridge> {
    Router::new()
        .route("/v1/images", get(list))
        .route("/v1/images/{name}", get(show).post(add).delete(remove))
        .route("/v1/images/{name}/verify", post(verify))
}

async fn list(State(bridge): State<Bridge>) -> Response {
    Json(bridge.images.list()).into_response()
}

async fn show(State(bridge): State<Bridge>, Path(name): Path<String>) -> Response {
    match bridge.images.show(&name) {
        Some(image) => Json(image).into_response(),
        None => refused(&ImageError::NoImage(name)),
    }
}

async fn add(
    State(bridge): State<Bridge>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<String>,
    Query(mut said): Query<Said>,
    mut body: Body,
) -> Response {
    shorten(&mut said.source, SOURCE_BYTES);
    let Said { source, sha256 } = said;
    let arrival = Arrival { name, source, sha256, by: operator.name };
    let (sender, feed) = Feed::new(PIECES);
    let images: Images = bridge.images;
    let adding = tokio::task::spawn_blocking(move || images.add(&arrival, feed));
    feed_with(&mut body, sender).await;
    let outcome = adding.await;
    if !body.is_end_stream() {
        // Whoever sends more than is wanted reads the answer only when it is through.
        let drain = async { while let Some(Ok(_)) = body.frame().await {} };
        drop(tokio::time::timeout(DRAIN_PATIENCE, drain).await);
    }
    match outcome {
        Ok(Ok(image)) => Json(image).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &"adding the image went wrong"),
    }
}

/// Passes a body on, until its end or until nobody wants more of it.
async fn feed_with(body: &mut Body, sender: mpsc::Sender<Result<Bytes, FeedError>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame {
            Ok(frame) => frame.into_data().map_err(|_| FeedError::Broken),
            Err(_) => Err(FeedError::Broken),
        };
        // Trailers have no data, and nobody sends any.
        let is_broken = piece.is_err();
        if sender.send(piece).await.is_err() || is_broken {
            return;
        }
    }
    drop(sender.send(Err(FeedError::End)).await);
}

async fn verify(State(bridge): State<Bridge>, Path(name): Path<String>) -> Response {
    match tokio::task::spawn_blocking(move || bridge.images.verify(&name)).await {
        Ok(Ok(verdict)) => Json(verdict).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &"verifying the image went wrong"),
    }
}

async fn remove(State(bridge): State<Bridge>, Path(name): Path<String>) -> Response {
    let removing = tokio::task::spawn_blocking(move || {
        bridge.images.remove(&name, |manifest| bridge.registry.ordered_for(manifest))
    });
    match removing.await {
        Ok(Ok(image)) => Json(image).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &"removing the image went wrong"),
    }
}

fn refused(error: &ImageError) -> Response {
    let status = match error {
        ImageError::NoImage(_) => StatusCode::NOT_FOUND,
        ImageError::Name(_) | ImageError::Digest(_) => StatusCode::BAD_REQUEST,
        ImageError::Taken(_) | ImageError::Ordered { .. } | ImageError::Busy => {
            StatusCode::CONFLICT
        }
        ImageError::OtherBytes { .. } | ImageError::Convert(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ImageError::Io { .. }
        | ImageError::Index(_)
        | ImageError::Manifest { .. }
        | ImageError::Signature { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refuse(status, &chain(error))
}
