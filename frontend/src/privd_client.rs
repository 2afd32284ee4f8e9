//! webhook-privd's other end: one function a verb over one multiplexed connection.
//!
//! A connection is made when it is first needed and again after it broke. Every request is
//! idempotent, so one that was under way when privd restarted is simply asked again, once.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use protocol::{
    Block, Element, EventId, FrameError, Lift, List, Page, ProtectedNet, Reloaded, Reply,
    ReplyFrame, Request, RequestFrame, Shown, Status, Target, Targets, Text, Unblock, Verdict,
    frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// A way to privd; clones share its connection.
#[derive(Clone, Debug)]
pub struct PrivdClient {
    path: Arc<PathBuf>,
    patience: Duration,
    connection: Arc<tokio::sync::Mutex<Option<Connection>>>,
    next_id: Arc<AtomicU64>,
}

impl PrivdClient {
    /// A client for the socket at `path`; connects at the first request. `patience` bounds how
    /// long a request waits for a socket that nobody serves: privd is away while it restarts.
    #[must_use]
    pub fn new(path: &Path, patience: Duration) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            patience,
            connection: Arc::default(),
            next_id: Arc::default(),
        }
    }

    /// Puts targets in force; one verdict each, in order.
    ///
    /// # Errors
    /// privd cannot be reached or does not answer in time.
    pub async fn block(&self, block: Block) -> Result<Vec<Verdict>, PrivdError> {
        match self.ask(Request::Block(block)).await? {
            Reply::Block(verdicts) => Ok(verdicts),
            other => Err(unexpected(&other)),
        }
    }

    /// Lifts blocks.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn unblock(&self, unblock: Unblock) -> Result<Vec<Lift>, PrivdError> {
        match self.ask(Request::Unblock(unblock)).await? {
            Reply::Unblock(lifts) => Ok(lifts),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of live blocks.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn list(&self, list: List) -> Result<Page, PrivdError> {
        match self.ask(Request::List(list)).await? {
            Reply::List(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// What is known about a target.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn show(&self, target: Target) -> Result<Shown, PrivdError> {
        match self.ask(Request::Show(target)).await? {
            Reply::Show(shown) => Ok(*shown),
            other => Err(unexpected(&other)),
        }
    }

    /// privd's state.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn status(&self) -> Result<Status, PrivdError> {
        match self.ask(Request::Status).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// What an alert would be told of targets now; one verdict each, in order.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn judge(&self, block: Block) -> Result<Vec<Verdict>, PrivdError> {
        match self.ask(Request::Judge(block)).await? {
            Reply::Judge(verdicts) => Ok(verdicts),
            other => Err(unexpected(&other)),
        }
    }

    /// Has privd read its configuration file again.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn reload(&self) -> Result<Reloaded, PrivdError> {
        match self.ask(Request::Reload).await? {
            Reply::Reload(reloaded) => Ok(reloaded),
            other => Err(unexpected(&other)),
        }
    }

    /// What no alert may block.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn protected(&self) -> Result<Vec<ProtectedNet>, PrivdError> {
        match self.ask(Request::Protected).await? {
            Reply::Protected(nets) => Ok(nets),
            other => Err(unexpected(&other)),
        }
    }

    /// What the kernel's table of the nftables engine has of targets now; one each, in order. Where
    /// the kernel does not tell, why.
    ///
    /// # Errors
    /// As [`PrivdClient::block`].
    pub async fn elements(
        &self,
        targets: Targets,
    ) -> Result<Result<Vec<Option<Element>>, Text>, PrivdError> {
        match self.ask(Request::Elements(targets)).await? {
            Reply::Elements(found) => Ok(found),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&self, request: Request) -> Result<Reply, PrivdError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = frame::encode(&RequestFrame { id, request })?;
        let give_up = deadline(self.patience);
        let asked = async {
            let mut lost = false;
            loop {
                match self.exchange(id, frame.clone(), give_up).await {
                    Err(PrivdError::Lost) if !lost => lost = true,
                    // An upgrade exchanges both programs, one after the other.
                    Err(PrivdError::Version { .. }) if Instant::now() < give_up => {
                        sleep(VERSION_PAUSE).await;
                    }
                    done => break done,
                }
            }
        };
        timeout(ANSWER_DEADLINE, asked).await.unwrap_or(Err(PrivdError::Pending))
    }

    async fn exchange(
        &self,
        id: u64,
        frame: Vec<u8>,
        give_up: Instant,
    ) -> Result<Reply, PrivdError> {
        let (connection, answer) = {
            let mut slot = self.connection.lock().await;
            let connection = match slot.take().filter(|connection| !connection.callers.is_broken())
            {
                Some(connection) => connection,
                None => Connection::open(&self.path, give_up).await?,
            };
            let answer = connection.callers.expect(id);
            *slot = Some(connection.clone());
            (connection, answer)
        };
        let _awaited = Awaited { callers: &connection.callers, id };
        if connection.outgoing.send(frame).await.is_err() {
            return Err(connection.callers.failure());
        }
        answer.await.map_err(|_| connection.callers.failure())
    }
}

/// A random id; zero should the system have no randomness, which only makes a log line poorer.
#[must_use]
pub fn new_event() -> EventId {
    let mut bytes = [0; 16];
    let _ = rand::fill(&mut bytes);
    EventId(u128::from_be_bytes(bytes))
}

/// One connection, served by a task that writes and reads.
#[derive(Clone, Debug)]
struct Connection {
    outgoing: mpsc::Sender<Vec<u8>>,
    callers: Callers,
}

/// Who waits for replies on it, and whether they still come.
#[derive(Clone, Debug, Default)]
struct Callers(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
    broken: Option<Broken>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Lost,
    Version { theirs: u8, ours: u8 },
}

impl Connection {
    async fn open(path: &Path, give_up: Instant) -> Result<Self, PrivdError> {
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                // Only these pass by themselves: when privd is up again, and when it has taken some of
                // very many connections out of its queue.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::ConnectionRefused
                            | io::ErrorKind::WouldBlock
                    ) && Instant::now() < give_up =>
                {
                    sleep(CONNECT_PAUSE).await;
                }
                Err(source) => return Err(PrivdError::Connect { path: path.to_owned(), source }),
            }
        };
        let (outgoing, frames) = mpsc::channel(OUTGOING);
        let callers = Callers::default();
        tokio::spawn(carry_frames(stream, frames, callers.clone()));
        Ok(Self { outgoing, callers })
    }
}

impl Callers {
    fn expect(&self, id: u64) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        let mut shared = self.lock();
        if shared.broken.is_none() {
            shared.waiting.insert(id, sender);
        }
        receiver
    }

    fn is_broken(&self) -> bool {
        self.lock().broken.is_some()
    }

    fn failure(&self) -> PrivdError {
        match self.lock().broken {
            Some(Broken::Version { theirs, ours }) => PrivdError::Version { theirs, ours },
            Some(Broken::Lost) | None => PrivdError::Lost,
        }
    }

    /// From now on a request needs another connection.
    fn turn_away(&self) {
        self.lock().broken = Some(Broken::Lost);
    }

    /// Ends the connection for everyone who waits on it.
    fn break_off(&self, why: Broken) {
        let mut shared = self.lock();
        shared.broken = Some(why);
        shared.waiting.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While an answer is waited for: who gives up leaves nothing behind.
struct Awaited<'a> {
    callers: &'a Callers,
    id: u64,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.callers.lock().waiting.remove(&self.id);
    }
}

/// Until either direction ends; then the socket is closed. One that only waits for frames does not see
/// that privd has gone. Where nothing can be written any more, the replies that have come yet count.
async fn carry_frames(stream: UnixStream, frames: mpsc::Receiver<Vec<u8>>, callers: Callers) {
    let (read, write) = stream.into_split();
    let reading = read_frames(read, &callers);
    tokio::pin!(reading);
    let written = tokio::select! {
        written = write_frames(write, frames) => written,
        () = &mut reading => return,
    };
    if written.is_err() {
        callers.turn_away();
        reading.await;
    }
}

/// Until nobody has a frame any more.
async fn write_frames(
    mut stream: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut waiting = Vec::new();
    while frames.recv_many(&mut waiting, OUTGOING).await > 0 {
        stream.write_all(&waiting.concat()).await?;
        waiting.clear();
    }
    Ok(())
}

async fn read_frames(stream: OwnedReadHalf, callers: &Callers) {
    let mut stream = BufReader::new(stream);
    loop {
        match read_frame(&mut stream).await {
            Ok(ReplyFrame { id, reply }) => {
                // The caller may have given up already.
                let waiting = callers.lock().waiting.remove(&id);
                let _ = waiting.map(|waiting| waiting.send(reply));
            }
            Err(FrameError::Version { theirs, ours }) => {
                return callers.break_off(Broken::Version { theirs, ours });
            }
            Err(_) => return callers.break_off(Broken::Lost),
        }
    }
}

async fn read_frame(stream: &mut BufReader<OwnedReadHalf>) -> Result<ReplyFrame, FrameError> {
    let mut header = [0; frame::HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let mut payload = vec![0; frame::payload_len::<ReplyFrame>(header)?];
    stream.read_exact(&mut payload).await?;
    frame::decode(&payload)
}

fn deadline(patience: Duration) -> Instant {
    Instant::now().checked_add(patience).unwrap_or_else(Instant::now)
}

fn unexpected(reply: &Reply) -> PrivdError {
    match reply {
        Reply::Forbidden => PrivdError::Forbidden,
        Reply::Busy => PrivdError::Busy,
        _ => PrivdError::Mismatch,
    }
}

/// Why privd gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum PrivdError {
    /// Nobody serves the socket.
    #[error("webhook-privd cannot be reached at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The connection broke, twice.
    #[error("webhook-privd ended the connection")]
    Lost,
    /// The two programs are of different releases.
    #[error("webhook-privd speaks protocol version {theirs}, this program speaks {ours}")]
    Version {
        /// privd's.
        theirs: u8,
        /// Ours.
        ours: u8,
    },
    /// Not finished in time; privd goes on with it.
    #[error("webhook-privd has not finished yet; it goes on with the work")]
    Pending,
    /// The account may not use the verb.
    #[error("webhook-privd refuses this command to this user")]
    Forbidden,
    /// Nothing was done: later.
    #[error("webhook-privd has too much waiting already")]
    Busy,
    /// An answer to something else.
    #[error("webhook-privd answered another question")]
    Mismatch,
    /// Our own message does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Where privd listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/webhook-privd/privd.sock";
/// Kibana gives up after 60 s.
const ANSWER_DEADLINE: Duration = Duration::from_secs(50);
/// Between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Between two questions to a privd of another release, which logs each.
const VERSION_PAUSE: Duration = Duration::from_millis(500);
/// Frames that may wait for the socket.
const OUTGOING: usize = 64;

#[cfg(test)]
mod tests {
    use protocol::Which;

    use super::*;
    use crate::fake_privd::{FakePrivd, status};

    #[tokio::test]
    async fn a_request_that_meets_the_privd_before_an_upgrade_waits_for_the_one_after_it() {
        let all = || Unblock { event: EventId(1), which: Which::All, immune_for: 0 };
        let fake = FakePrivd::upgraded_while_asked(Reply::Unblock(Vec::new()));
        let patient = PrivdClient::new(&fake.socket(), Duration::from_secs(10));
        assert!(patient.unblock(all()).await.is_ok());
        let fake = FakePrivd::upgraded_while_asked(Reply::Unblock(Vec::new()));
        let impatient = PrivdClient::new(&fake.socket(), Duration::ZERO);
        let error = impatient.unblock(all()).await.unwrap_err();
        assert!(matches!(error, PrivdError::Version { theirs: 9, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_connection_that_privd_has_ended_is_closed_here_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let client = PrivdClient::new(&path, Duration::ZERO);
        let asking = tokio::spawn(async move { client.status().await });
        // As long as it is asked: it asks again, once.
        for _ in 0..2 {
            let (mut privd, _) = listener.accept().await.unwrap();
            privd.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let end = timeout(Duration::from_secs(10), privd.read_to_end(&mut rest));
            end.await.expect("it is closed").unwrap();
        }
        assert!(matches!(asking.await.unwrap(), Err(PrivdError::Lost)));
    }

    #[tokio::test]
    async fn a_reply_that_has_come_counts_though_privd_went_before_the_next_request() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        // Which of both is noticed first is a matter of chance.
        for _ in 0..20 {
            let client = PrivdClient::new(&path, Duration::ZERO);
            let ask = || {
                let client = client.clone();
                tokio::spawn(async move { client.status().await })
            };
            let first = ask();
            answer_and_go(&listener).await;
            let second = ask();
            let answer = timeout(Duration::from_secs(10), first).await;
            answer.expect("it is not asked again").unwrap().unwrap();
            answer_and_go(&listener).await;
            second.await.unwrap().unwrap();
        }
    }

    /// Answers one request and ends the connection, both within the moment of its last await.
    async fn answer_and_go(listener: &tokio::net::UnixListener) {
        let (mut privd, _) = listener.accept().await.unwrap();
        let mut header = [0; frame::HEADER_LEN];
        privd.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; frame::payload_len::<RequestFrame>(header).unwrap()];
        privd.read_exact(&mut payload).await.unwrap();
        let RequestFrame { id, .. } = frame::decode(&payload).unwrap();
        let reply = ReplyFrame { id, reply: Reply::Status(Box::new(status())) };
        privd.try_write(&frame::encode(&reply).unwrap()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_privd_has_not_finished_after_50_s_is_pending_before_kibana_gives_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        // Takes whatever is sent and never answers.
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let began = Instant::now();
        let error = PrivdClient::new(&path, Duration::ZERO).status().await.unwrap_err();
        assert!(matches!(error, PrivdError::Pending), "{error}");
        assert_eq!(began.elapsed().as_secs(), 50);
    }
}
