//! Takes a body in: up to the cap, within the deadline, and few at a time.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::BodyLimitExceeded;
use actix_web::http::StatusCode;
use actix_web::web::Payload;

use crate::server::answer;
use crate::server::body::{Alert, BodyError};
use crate::server::routes::Service;

/// Reads a body and understands it.
///
/// # Errors
/// The answer, where it is not read to its end.
pub async fn read(
    payload: Payload,
    service: &Service,
) -> Result<Result<Alert, BodyError>, HttpResponse> {
    let collect = async {
        let _permit = service.bodies.acquire().await;
        let body = payload.to_bytes_limited(service.max_body).await?;
        Ok::<_, BodyLimitExceeded>(body.map(|body| Alert::parse(&body)))
    };
    match tokio::time::timeout(BODY_DEADLINE, collect).await {
        Ok(Ok(Ok(alert))) => Ok(alert),
        Ok(Ok(Err(_))) => Err(answer::error(StatusCode::BAD_REQUEST, "the body broke off")),
        Ok(Err(_)) => {
            let message = format!("the body exceeds limits.max-body of {} bytes", service.max_body);
            Err(answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message))
        }
        Err(_) => {
            Err(answer::error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))
        }
    }
}

/// For a whole body.
const BODY_DEADLINE: Duration = Duration::from_secs(20);
