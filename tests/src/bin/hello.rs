//! The bare actix-web and rustls that the benchmark compares webhookd with: it answers "hello".

use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[actix_web::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, certificate, key] = arguments.as_slice() else {
        eprintln!("usage: hello ADDRESS:PORT CERTIFICATE KEY");
        std::process::exit(64);
    };
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let hello = || async { "hello" };
    let server = HttpServer::new(move || App::new().default_service(web::to(hello)))
        .workers(2)
        .tcp_nodelay(true)
        .bind_rustls_0_23(listen, tls)
        .unwrap();
    println!("ready");
    server.run().await.unwrap();
}
