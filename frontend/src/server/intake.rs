//! Takes a body in: up to the cap, within the deadline, and few large ones at a time.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::{Bytes, Payload};
use tokio::time::Instant;

use crate::server::answer;
use crate::server::body::{Alert, BodyError};
use crate::server::places::{Place, Source};
use crate::server::routes::Service;

/// Reads a body and understands it.
///
/// # Errors
/// The answer, where it is not read to its end.
pub async fn read(
    payload: Payload,
    headers: &HeaderMap,
    client: IpAddr,
    service: &Service,
) -> Result<Result<Alert, BodyError>, HttpResponse> {
    let deadline = deadline();
    match length(headers) {
        // Said at once, and nothing of it is read.
        Some(length) if length > service.max_body => Err(too_large(service.max_body)),
        Some(length) if length <= SMALL => {
            // The library reads on to the end of the stream where `Upgrade` stands beside the length.
            let body = collect(payload, SMALL, service, deadline).await?;
            Ok(Alert::parse(&body))
        }
        _ => {
            let place = place(client, service, deadline).await?;
            let body = collect(payload, service.max_body, service, deadline).await?;
            understand_apart(body, place).await
        }
    }
}

fn deadline() -> Instant {
    let now = Instant::now();
    now.checked_add(BODY_DEADLINE).unwrap_or(now)
}

/// As announced; None for a body in chunks.
fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn place(
    client: IpAddr,
    service: &Service,
    deadline: Instant,
) -> Result<Place, HttpResponse> {
    let place = service.bodies.wait(Source::of(client));
    tokio::time::timeout_at(deadline, place).await.map_err(|_| {
        let message = "too many large bodies at a time (limits.max-bodies-in-flight, of which one \
                       client has a quarter); try again";
        answer::error(StatusCode::SERVICE_UNAVAILABLE, message)
    })
}

async fn collect(
    payload: Payload,
    limit: usize,
    service: &Service,
    deadline: Instant,
) -> Result<Bytes, HttpResponse> {
    let body = payload.to_bytes_limited(limit);
    match tokio::time::timeout_at(deadline, body).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(_))) => Err(answer::error(StatusCode::BAD_REQUEST, "the body broke off")),
        Ok(Err(_)) => Err(too_large(service.max_body)),
        Err(_) => {
            Err(answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))
        }
    }
}

/// The answer to a body of more bytes than that.
#[must_use]
pub fn too_large(max_body: usize) -> HttpResponse {
    let message = format!("the body exceeds limits.max-body of {max_body} bytes");
    answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message)
}

/// In a thread of its own: all connections of the worker would wait for it, up to 0.8 s (measured:
/// 8 MiB of small members, in a debug build).
async fn understand_apart(
    body: Bytes,
    place: Place,
) -> Result<Result<Alert, BodyError>, HttpResponse> {
    let understood = actix_web::web::block(move || {
        let alert = Alert::parse(&body);
        // The body is gone before its place is another's.
        drop(body);
        drop(place);
        alert
    });
    understood.await.map_err(|_| {
        answer::error(StatusCode::SERVICE_UNAVAILABLE, "webhookd is about to stop; try again")
    })
}

/// For a whole body.
const BODY_DEADLINE: Duration = Duration::from_secs(20);
/// A body up to so many bytes needs no place: all connections at once may have one. It cannot name so
/// many addresses that its answer keeps a worker for long.
const SMALL: usize = 16 << 10;
