//! Whether webhookd lives, and whether it can do its work.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::privd_client::PrivdClient;
use crate::server::answer;

/// Somebody answers.
#[must_use]
pub fn alive() -> HttpResponse {
    answer::fine("webhookd is alive")
}

/// privd answers, and every block is in force.
pub async fn ready(privd: &PrivdClient) -> HttpResponse {
    match privd.status().await {
        Ok(status)
            if status.problem.is_none()
                && status.verified_at.is_some()
                && status.not_in_force == 0 =>
        {
            answer::fine("ready")
        }
        _ => answer::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready; `webhookctl status` says why",
        ),
    }
}
