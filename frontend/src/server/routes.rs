//! What is checked, in which order, before anything is asked of privd.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use actix_http::{Request, Response};
use actix_web::body::BoxBody;
use actix_web::dev::RequestHead;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use protocol::canonical;

use crate::privd_client::{PrivdClient, new_event};
use crate::server::admission::{Caller, Presented, Rejection};
use crate::server::attempts::Attempts;
use crate::server::connection::Peer;
use crate::server::journal::Journal;
use crate::server::metrics::{Metrics, Readings};
use crate::server::places::Places;
use crate::server::reload::{Access, Current};
use crate::server::{admission, answer, health, metrics, webhook};

/// Everything a request is judged by.
#[derive(Debug)]
pub struct Service {
    /// Who may post, and what lets them in.
    pub current: Arc<Current>,
    /// What is counted.
    pub metrics: Metrics,
    /// Bytes of a body at most.
    pub max_body: usize,
    /// A place for each large body that may be in memory.
    pub bodies: Arc<Places>,
    /// Who has presented wrong tokens lately.
    pub attempts: Attempts,
    /// Where it is said who asked.
    pub journal: Arc<Journal>,
}

/// Answers one request: allowlist, token or certificate, path, method, type, body, privd. Nothing is said to a
/// stranger but 401, and nothing of a body is read before its sender is known.
pub async fn handle(
    request: HttpRequest,
    payload: Payload,
    service: Data<Service>,
    privd: Data<PrivdClient>,
) -> HttpResponse {
    let peer = request.conn_data::<Peer>();
    let _working = peer.map(Peer::begin_work);
    let access = service.current.read();
    let address = request.peer_addr().map(|peer| canonical(peer.ip()));
    let address = match admission::allowed(&access, address) {
        Ok(address) => address,
        Err(rejection) => return turn_away(&service, address, request.head(), rejection),
    };
    let anonymous = !request.headers().contains_key(AUTHORIZATION)
        && peer.is_none_or(|peer| peer.certificates.is_empty());
    match request.path() {
        "/healthz" if reads(request.method()) => return health::alive(),
        "/readyz" if reads(request.method()) && anonymous => return health::ready(&privd).await,
        _ => {}
    }
    let caller = match authenticate(&service, &access, address, request.headers(), peer) {
        Ok(caller) => caller,
        Err(rejection) => {
            return turn_away(&service, Some(address), request.head(), rejection);
        }
    };
    // Read every few seconds by whoever watches: neither counted nor logged.
    match request.path() {
        "/readyz" if reads(request.method()) => {
            let mistake = access.tokens.mistake(&service.journal);
            return health::ready_in_words(&privd, access.certificate_ends(), mistake).await;
        }
        "/metrics" if reads(request.method()) => {
            return metrics(&service, &privd, access.certificate_ends()).await;
        }
        _ => {}
    }
    let event = new_event();
    let response = match request.path() {
        "/blockip" => webhook::post(&request, payload, &service, &privd, (event, address)).await,
        "/healthz" | "/readyz" | "/metrics" => {
            answer::other_method("GET, HEAD", "this is read with GET")
        }
        _ => answer::error(
            StatusCode::NOT_FOUND,
            "there is nothing here; the webhook is POST /blockip",
        ),
    };
    service.metrics.answered(response.status().as_u16());
    service.journal.answered(event, &caller, &request, &response);
    response
}

/// Lets a client that waits for `100 Continue` send its body, if its sender is known.
///
/// # Errors
/// The answer that it gets instead.
pub fn expected(service: &Service, request: Request) -> Result<Request, Response<BoxBody>> {
    let access = service.current.read();
    let address = request.peer_addr().map(|peer| canonical(peer.ip()));
    let admitted = admission::allowed(&access, address).and_then(|address| {
        authenticate(
            service,
            &access,
            address,
            &request.head().headers,
            request.conn_data::<Peer>(),
        )
    });
    match admitted {
        Ok(_) => Ok(request),
        Err(rejection) => Err(turn_away(service, address, request.head(), rejection).into()),
    }
}

fn authenticate(
    service: &Service,
    access: &Access,
    address: IpAddr,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Caller, Rejection> {
    let certificates = peer.map(|peer| peer.certificates.as_slice()).unwrap_or_default();
    let presented = Presented { headers, certificates };
    let Service { attempts, journal, .. } = service;
    admission::authenticated(access, attempts, address, presented, journal, Instant::now())
}

fn turn_away(
    service: &Service,
    client: Option<IpAddr>,
    head: &RequestHead,
    rejection: Rejection,
) -> HttpResponse {
    let Rejection { reason, message, retry_after } = rejection;
    service.metrics.turned_away(reason);
    let response = match retry_after {
        Some(seconds) => answer::slowed_down(reason.name(), message, seconds),
        None => answer::unauthorized(reason.name(), message),
    };
    service.journal.turned_away(client, head, response.status().as_u16(), reason);
    response
}

async fn metrics(
    service: &Service,
    privd: &PrivdClient,
    certificate_ends: Option<i64>,
) -> HttpResponse {
    let status = privd.status().await.ok();
    let lost_lines = service.journal.audit().lost();
    let readings = Readings { privd: status.as_ref(), certificate_ends, lost_lines };
    let text = service.metrics.text(&readings);
    HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(text)
}

/// GET, and what RFC 9110 9.3.2 has beside it.
fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
