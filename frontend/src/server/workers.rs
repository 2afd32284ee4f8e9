//! The threads that serve. What they have accepted is answered, also when webhookd is told to stop;
//! what they have not waits in the listener, which systemd keeps, for the webhookd that comes next.
//!
//! In actix-web's own server one thread accepts and hands on. At a stop it drops what is on its way,
//! and closes each connection whose request it has not read yet: an alert that came during an upgrade
//! was lost now and then. Here each worker accepts for itself, and knows whom it owes an answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_service::Service;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::server::journal::Journal;
use crate::server::pipeline::Pipeline;

/// Held for a connection from when it is accepted until its first request is worked on: a stop waits
/// for it. Nothing is ever sent.
pub type Newcomer = mpsc::Sender<Infallible>;

/// All of them, at work.
#[derive(Debug)]
pub struct Workers {
    threads: JoinSet<io::Result<()>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Has connections from the listener served, from when this returns.
    ///
    /// # Errors
    /// A listener that cannot be used, or a worker that cannot begin.
    pub async fn start(pipeline: Pipeline, listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut workers = Self { threads: JoinSet::new(), stop: watch::Sender::new(false) };
        let (beginning, mut begun) = mpsc::channel(1);
        // Two: a host that blocks attackers has better uses for its cores.
        for listener in [listener.try_clone()?, listener] {
            let (pipeline, beginning) = (pipeline.clone(), beginning.clone());
            let stop = workers.stop.subscribe();
            workers.threads.spawn_blocking(move || work(pipeline, listener, beginning, stop));
        }
        drop(beginning);
        // Until none holds it any more.
        let _: Option<Infallible> = begun.recv().await;
        match workers.threads.try_join_next() {
            Some(ended) => ended?.and_then(|()| Err(io::Error::other("a worker has ended"))),
            None => Ok(workers),
        }
    }

    /// Serves until `stop`, and then until what was accepted is answered.
    ///
    /// # Errors
    /// A worker's.
    pub async fn serve_until(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        tokio::select! {
            // None does by itself.
            ended = self.end() => return ended,
            () = stop => {}
        }
        self.stop.send_replace(true);
        self.end().await
    }

    async fn end(&mut self) -> io::Result<()> {
        while let Some(ended) = self.threads.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// One worker, from its beginning to its end.
fn work(
    pipeline: Pipeline,
    listener: TcpListener,
    beginning: mpsc::Sender<Infallible>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        // For large bodies, one after another: what each such thread has freed stays with it.
        .max_blocking_threads(1)
        .build()?;
    LocalSet::new().block_on(&runtime, serve(pipeline, listener, beginning, stop))
}

async fn serve(
    pipeline: Pipeline,
    listener: TcpListener,
    beginning: mpsc::Sender<Infallible>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let closing = watch::Sender::new(false);
    let journal = Arc::clone(&pipeline.service.journal);
    let service = pipeline.service(closing.subscribe()).await?;
    drop(beginning);
    let (newcomer, mut newcomers) = mpsc::channel(1);
    let mut connections = JoinSet::new();
    while let Some(socket) = next(&listener, &mut stop, &journal).await {
        let ready = poll_fn(|context| service.poll_ready(context)).await;
        ready.map_err(|error| io::Error::other(error.to_string()))?;
        // What ends one early was logged where it was seen.
        let connection = service.call((socket, newcomer.clone()));
        connections.spawn_local(async { drop(connection.await) });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let deadline = Instant::now().checked_add(STOP_DEADLINE);
    drop(newcomer);
    let _ = timeout(NEWCOMER_DEADLINE, newcomers.recv()).await;
    // Those at rest end, and those that work as soon as they have answered.
    closing.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout_at(deadline.unwrap_or_else(Instant::now), ended).await;
    Ok(())
}

/// The next connection; None when webhookd stops.
async fn next(
    listener: &tokio::net::TcpListener,
    stop: &mut watch::Receiver<bool>,
    journal: &Journal,
) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            biased;
            // An error as well: whoever could say so has gone.
            _ = stop.wait_for(|stop| *stop) => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => return Some(socket),
            // It was closed again before it was taken: accept(2).
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                journal.library("accept", &error.to_string());
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// After an error, which a lack of descriptors may be: asked again at once, it would be the same.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// For the first requests of those that were accepted when the service stops. Kibana's follows at once;
/// whoever sends none cannot keep the next webhookd from starting for longer.
const NEWCOMER_DEADLINE: Duration = Duration::from_secs(5);
/// For requests under way when the service stops.
const STOP_DEADLINE: Duration = Duration::from_secs(55);
