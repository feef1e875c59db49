//! The operators' routes for orders that destroy: give, see, take back.

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use protocol::OrderId;
use serde::{Deserialize, Serialize};

use super::{
    operators::{Bridge, READING_PATIENCE, find, no_machine, refuse},
    socket::Operator,
};
use crate::{
    boot::Assets,
    decision::System,
    machine::{
        CancelError, OrderOverview, Registry,
        install::{ImageFacts, InstallRefusal, InstallRequest, Plan},
        wipe::{LeftPassword, WipePlan, WipeRefusal, WipeRequest},
    },
};

/// So many digits of an order's name are enough, where no other begins with them.
const FEWEST_DIGITS: usize = 4;

/// What an order would do, and the order where it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What would be done.
    pub plan: Plan,
    /// The order; absent where only the plan was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderOverview>,
}

/// What an order to wipe would do, and the order where it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeAnswer {
    /// What would be done.
    pub plan: WipePlan,
    /// The order; absent where only the plan was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderOverview>,
}

/// Returns the routes. Every request must carry an [`Operator`].
pub(super) fn routes() -> Router<Bridge> {
    Router::new()
        .route("/v1/machines/{machine}/install", post(install))
        .route("/v1/machines/{machine}/wipe", post(wipe))
        .route("/v1/orders", get(list))
        .route("/v1/orders/{order}", get(show))
        .route("/v1/orders/{order}/cancel", post(cancel))
        .route("/v1/orders/{order}/against", get(against))
        .route("/v1/passwords", get(passwords))
}

async fn passwords(State(bridge): State<Bridge>) -> Json<Vec<LeftPassword>> {
    Json(bridge.registry.left_passwords())
}

async fn install(
    State(bridge): State<Bridge>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let request: InstallRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let Some(overview) = find(&bridge.registry, &name) else { return no_machine(&name) };
    let machine = overview.machine.name;
    let taken = tokio::task::spawn_blocking(move || {
        let Bridge { registry, images, clock, .. } = &bridge;
        let take =
            |image: &ImageFacts| registry.install(&machine, &request, image, &operator.name, clock);
        if request.is_foreign() {
            return take(&request.foreign()?);
        }
        request.check_named()?;
        let no_image = || Err(InstallRefusal::NoImage(request.image.clone()));
        images.with(&request.image, take).unwrap_or_else(no_image)
    });
    match taken.await {
        Ok(Ok((plan, order))) => Json(Answer { plan, order }).into_response(),
        Ok(Err(refusal @ InstallRefusal::NoMachine(_))) => refuse(StatusCode::NOT_FOUND, &refusal),
        Ok(Err(refusal @ InstallRefusal::NotStored(_))) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, &refusal)
        }
        Ok(Err(refusal)) => refuse(StatusCode::CONFLICT, &refusal),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &"the order may be taken or not"),
    }
}

async fn wipe(
    State(bridge): State<Bridge>,
    Extension(operator): Extension<Operator>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let request: WipeRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let Some(overview) = find(&bridge.registry, &name) else { return no_machine(&name) };
    let machine = overview.machine.name;
    let taken = tokio::task::spawn_blocking(move || {
        let Bridge { registry, clock, assets, .. } = &bridge;
        let image = |architecture: Option<&str>| has_hercules(assets, architecture);
        registry.wipe(&machine, &request, image, &operator.name, clock)
    });
    match taken.await {
        Ok(Ok((plan, order))) => Json(WipeAnswer { plan, order }).into_response(),
        Ok(Err(refusal)) => {
            let status = match &refusal {
                WipeRefusal::Order(InstallRefusal::NoMachine(_)) => StatusCode::NOT_FOUND,
                WipeRefusal::Order(InstallRefusal::NotStored(_)) => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::CONFLICT,
            };
            refuse(status, &refusal)
        }
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &"the order may be taken or not"),
    }
}

/// Refuses a machine for which there is no system that wipes.
fn has_hercules(assets: &Assets, architecture: Option<&str>) -> Result<(), WipeRefusal> {
    let architecture = architecture.unwrap_or("x86_64");
    if assets.has_system(System::Hercules, architecture) {
        Ok(())
    } else {
        Err(WipeRefusal::NoImage(architecture.to_owned()))
    }
}

async fn list(State(bridge): State<Bridge>) -> Json<Vec<OrderOverview>> {
    Json(bridge.registry.orders())
}

async fn show(State(bridge): State<Bridge>, Path(order): Path<String>) -> Response {
    match search(&bridge.registry, &order) {
        Ok(found) => Json(found).into_response(),
        Err(refusal) => *refusal,
    }
}

/// Says what the server would refuse of the disks of an order, level by level.
async fn against(State(bridge): State<Bridge>, Path(order): Path<String>) -> Response {
    let id = match search(&bridge.registry, &order) {
        Ok(found) => found.order.id,
        Err(refusal) => return *refusal,
    };
    let trying = tokio::task::spawn_blocking(move || {
        let Bridge { registry, clock, assets, .. } = &bridge;
        let image = |architecture: Option<&str>| has_hercules(assets, architecture);
        registry.would_refuse(id, image, clock)
    });
    match trying.await {
        Ok(Ok(against)) => Json(against).into_response(),
        Ok(Err(refusal)) => refuse(StatusCode::CONFLICT, &refusal),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn cancel(
    State(bridge): State<Bridge>,
    Extension(operator): Extension<Operator>,
    Path(order): Path<String>,
) -> Response {
    let id = match search(&bridge.registry, &order) {
        Ok(found) => found.order.id,
        Err(refusal) => return *refusal,
    };
    let cancelling =
        tokio::task::spawn_blocking(move || bridge.registry.cancel_order(id, &operator.name));
    match tokio::time::timeout(READING_PATIENCE, cancelling).await {
        Ok(Ok(Ok(order))) => Json(order).into_response(),
        Ok(Ok(Err(error @ CancelError::NoOrder(_)))) => refuse(StatusCode::NOT_FOUND, &error),
        Ok(Ok(Err(error @ CancelError::Over { .. }))) => refuse(StatusCode::CONFLICT, &error),
        Ok(Ok(Err(error @ CancelError::NotStored(_)))) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, &error)
        }
        Ok(Err(_)) | Err(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            &"taken back in memory, but the state directory cannot be written now",
        ),
    }
}

/// Finds the one order whose name begins like this.
fn search(registry: &Registry, text: &str) -> Result<OrderOverview, Box<Response>> {
    if let Some(order) = text.parse::<OrderId>().ok().and_then(|id| registry.show_order(id)) {
        return Ok(order);
    }
    let mut found = registry.orders();
    found.retain(|one| one.order.id.to_string().starts_with(text));
    match (found.pop(), found.is_empty()) {
        (Some(order), true) if text.len() >= FEWEST_DIGITS => Ok(order),
        (Some(_), _) => {
            let problem = format!("several orders may be meant, say more digits: {text}");
            Err(Box::new(refuse(StatusCode::CONFLICT, &problem)))
        }
        (None, _) => {
            let problem = CancelError::NoOrder(text.to_owned());
            Err(Box::new(refuse(StatusCode::NOT_FOUND, &problem)))
        }
    }
}
