//! One connection: requests in, replies out, each in its own thread.

use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use logging::Journal;
use protocol::{
    Block, BlockInfo, FrameError, List, Outcome, Page, Reply, ReplyFrame, Request, RequestFrame,
    Status, Target, Text, Verdict, frame,
};

use crate::clock;
use crate::enforcer::{Answer, Order};
use crate::peer::Peer;
use crate::reload::Reload;
use crate::snapshot::{Published, Snapshot};
use policy::Role;

/// Everything a connection needs.
#[derive(Clone)]
pub struct Session {
    /// Who asks.
    pub peer: Peer,
    /// Where changes are ordered.
    pub orders: SyncSender<Order>,
    /// Where answers without a change come from.
    pub published: Arc<Published>,
    /// How the configuration is read again.
    pub reload: Arc<Reload>,
    /// Where it is said what was asked.
    pub journal: Arc<Journal>,
}

impl Session {
    /// Serves the connection until the peer goes, breaks the protocol, or stops reading.
    pub fn serve(self, stream: UnixStream) {
        let (replies, outgoing) = mpsc::channel();
        // A place in this channel is a request that may be unanswered.
        let (take, give_back) = mpsc::sync_channel(IN_FLIGHT);
        let load = Arc::new(AtomicUsize::new(0));
        let relieved = Arc::clone(&load);
        let writing = match stream.try_clone() {
            Ok(writing) => writing,
            Err(error) => return self.journal.not_served(&error),
        };
        let (journal, asker) = (Arc::clone(&self.journal), self.peer.asker());
        let writer = move || {
            if let Err(error) = write(writing, &outgoing, &give_back, &relieved) {
                journal.broken_off(&asker, "reply not taken, connection ended", &error);
            }
        };
        let thread = thread::Builder::new().name("writer".into()).stack_size(STACK);
        let writing = match thread.spawn(writer) {
            Ok(writing) => writing,
            Err(error) => return self.journal.not_served(&error),
        };
        let mut incoming = BufReader::new(Frames { stream, deadline: None, reads: 0 });
        let mut seen = Seen::default();
        while take.send(()).is_ok() {
            // What is in the buffer has begun.
            let begun = !incoming.buffer().is_empty();
            incoming.get_mut().deadline = if begun { frame_deadline() } else { None };
            match frame::read::<RequestFrame>(&mut incoming) {
                Ok(message) => {
                    seen.renew(incoming.get_ref().reads);
                    self.dispatch(message, &mut seen, &load, &replies);
                }
                Err(error) => {
                    self.end(&error, &mut incoming.get_mut().stream);
                    break;
                }
            }
        }
        // Counts as a connection until everything it asked for is done.
        drop(replies);
        let _ = writing.join();
    }

    fn dispatch(
        &self,
        message: RequestFrame,
        seen: &mut Seen,
        load: &AtomicUsize,
        replies: &Sender<Outgoing>,
    ) {
        let RequestFrame { id, request } = message;
        let weight = weight(&request);
        let loaded = load.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
        let (replies, untold) = (replies.clone(), Arc::clone(&self.published.untold));
        // The writer may be gone; then there is nobody to tell.
        let answer: Answer =
            Box::new(move |reply| drop(replies.send((ReplyFrame { id, reply }, weight, untold))));
        let verb = request.verb();
        if !self.peer.may(&request) {
            self.journal.forbidden(&self.peer.asker(), verb);
            return answer(Reply::Forbidden);
        }
        match request {
            Request::Judge(_) if loaded > MAX_LOAD.saturating_mul(2) => {
                self.journal.asked(&self.peer.asker(), verb, "busy");
                return answer(Reply::Busy);
            }
            // Reading on: the status, and what is blocked already, are answered all the same.
            Request::Block(block)
                if loaded > MAX_LOAD.saturating_mul(2)
                    || loaded > MAX_LOAD && self.already(&block, seen).is_none() =>
            {
                self.journal.asked(&self.peer.asker(), verb, "busy");
                return answer(Reply::Busy);
            }
            Request::Block(block) => return self.block(block, seen, answer),
            Request::Unblock(unblock) => {
                return self.order(verb, Order::Unblock(self.peer, unblock, answer));
            }
            Request::List(list) => answer(Reply::List(self.list(list))),
            Request::Show(target) => {
                let shown = self.published.read().show(target, clock::now().wall);
                answer(Reply::Show(Box::new(shown)));
            }
            Request::Status => answer(Reply::Status(Box::new(self.status()))),
            Request::Judge(block) => {
                let verdicts = self.published.read().judge(&block, clock::now().wall);
                answer(Reply::Judge(verdicts));
            }
            Request::Reload => self.reload.ask(Some(answer)),
            Request::Protected => {
                answer(Reply::Protected(self.published.read().protected_nets()));
            }
            Request::Elements(targets) => {
                answer(Reply::Elements(firewall::nft::elements(targets.as_slice())));
            }
        }
        self.journal.asked(&self.peer.asker(), verb, "answered");
    }

    fn block(&self, block: Block, seen: &mut Seen, answer: Answer) {
        if let Some(verdicts) = self.already(&block, seen) {
            self.journal.blocked(&self.peer.asker(), &block, &verdicts);
            return answer(Reply::Block(verdicts));
        }
        self.order("block", Order::Block(self.peer, block, answer));
    }

    /// Never waits. If privd is stopping, the order is dropped; then the connection ends and the
    /// peer asks the next privd.
    fn order(&self, verb: &'static str, order: Order) {
        let waiting = self.published.queued.fetch_add(1, Ordering::Relaxed);
        let waiting = usize::try_from(waiting).unwrap_or(usize::MAX);
        let refused = if self.peer.role == Role::Frontend && waiting >= FRONTENDS {
            order
        } else if let Err(TrySendError::Full(order)) = self.orders.try_send(order) {
            order
        } else {
            return;
        };
        self.published.queued.fetch_sub(1, Ordering::Relaxed);
        if let Order::Block(_, _, answer) | Order::Unblock(_, _, answer) = refused {
            self.journal.asked(&self.peer.asker(), verb, "busy");
            answer(Reply::Busy);
        }
    }

    /// All targets in force and nothing touched since: answered here, no process is started.
    fn already(&self, block: &Block, seen: &mut Seen) -> Option<Vec<Verdict>> {
        let snapshot = self.published.read();
        let verdict = |target: &Target| {
            let outcome = Outcome::AlreadyBlocked(snapshot.in_force(*target)?);
            Some(Verdict { target: *target, outcome, detail: Text::default() })
        };
        if block.adopt {
            return None;
        }
        let verdicts = block.targets.as_slice().iter().map(verdict).collect::<Option<_>>()?;
        seen.holds(&snapshot, &self.published).then_some(verdicts)
    }

    fn list(&self, list: List) -> Page {
        let snapshot = self.published.read();
        let limit = usize::from(list.limit.min(Page::MAX_BLOCKS));
        let all = snapshot.blocks.read();
        let mut rows = all.after(list.after);
        let blocks: Vec<BlockInfo> =
            rows.by_ref().take(limit).map(|live| live.info.clone()).collect();
        let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
        Page { blocks, total, more: rows.next().is_some() }
    }

    fn status(&self) -> Status {
        let snapshot = self.published.read();
        let blocks = snapshot.blocks.read();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Status {
            version: Text::truncated(env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            firewall: Text::truncated(snapshot.firewall),
            enforce: snapshot.config.enforce,
            problem: snapshot.problem.clone(),
            live_blocks: count(blocks.len()),
            not_in_force: count(snapshot.not_in_force),
            max_blocks: count(snapshot.config.max_blocks()),
            queued: self.published.queued.load(Ordering::Relaxed),
            drift: snapshot.drift,
            verified_at: snapshot.verified_at,
            changes: snapshot.changes,
            lost_lines: self.journal.audit().lost(),
        }
    }

    fn end(&self, error: &FrameError, stream: &mut UnixStream) {
        match error {
            FrameError::Closed => return,
            // The one thing that two releases can always tell each other.
            FrameError::Version { .. } => {
                drop(stream.write_all(&frame::version_notice()));
            }
            _ => {}
        }
        self.journal.broken_off(&self.peer.asker(), "connection ended by privd", error);
        drop(stream.shutdown(Shutdown::Both));
    }
}

/// The picture that was seen to hold after the last bytes had come: it holds for all requests in them.
#[derive(Default)]
struct Seen {
    reads: u64,
    picture: Option<Arc<Snapshot>>,
}

impl Seen {
    /// Forgets it once more bytes have come.
    fn renew(&mut self, reads: u64) {
        if self.reads != reads {
            *self = Self { reads, picture: None };
        }
    }

    fn holds(&mut self, picture: &Arc<Snapshot>, published: &Published) -> bool {
        let known = self.picture.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, picture));
        if !known && !published.holds(picture) {
            return false;
        }
        self.picture = Some(Arc::clone(picture));
        true
    }
}

/// A reply, the weight of its request, and what counts it until it is written.
type Outgoing = (ReplyFrame, usize, Arc<()>);

/// What a request and its reply take of a connection's memory, in targets.
fn weight(request: &Request) -> usize {
    match request {
        Request::Block(block) | Request::Judge(block) => {
            block.targets.as_slice().len().max(LEAST_WEIGHT)
        }
        _ => 0,
    }
}

/// Reads frames: waits for the first byte as long as it takes, for the rest until a deadline.
struct Frames {
    stream: UnixStream,
    deadline: Option<Instant>,
    reads: u64,
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(left)?;
        let read = self.stream.read(buffer)?;
        self.reads = self.reads.wrapping_add(1);
        if self.deadline.is_none() {
            self.deadline = frame_deadline();
        }
        Ok(read)
    }
}

fn frame_deadline() -> Option<Instant> {
    Instant::now().checked_add(FRAME_DEADLINE)
}

/// Writes replies until the connection ends, as many at once as wait; a peer that does not read loses
/// it.
fn write(
    mut stream: UnixStream,
    outgoing: &Receiver<Outgoing>,
    give_back: &Receiver<()>,
    load: &AtomicUsize,
) -> Result<(), FrameError> {
    stream.set_write_timeout(Some(FRAME_DEADLINE))?;
    while let Ok(first) = outgoing.recv() {
        let (mut frames, mut taken) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some((reply, weight, untold)) = next {
            let frame = match frame::encode(&reply) {
                // What every target is told in words may be too much, what became of it is not.
                Err(FrameError::TooLong { .. }) => {
                    let ReplyFrame { id, reply } = reply;
                    frame::encode(&ReplyFrame { id, reply: reply.without_details() })
                }
                frame => frame,
            };
            if frame.is_err() {
                drop(stream.shutdown(Shutdown::Both));
            }
            frames.extend(frame?);
            taken.push(untold);
            load.fetch_sub(weight, Ordering::Relaxed);
            next = if frames.len() < AT_ONCE { outgoing.try_recv().ok() } else { None };
        }
        if let Err(error) = stream.write_all(&frames) {
            drop(stream.shutdown(Shutdown::Both));
            return Err(error.into());
        }
        // Cannot fail: each reply's request took a place.
        for _told in taken {
            let _ = give_back.try_recv();
        }
    }
    Ok(())
}

/// For the rest of a frame once it has begun, and for a reply to be taken.
const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of replies that are written in one call, and the last one's more.
const AT_ONCE: usize = 16 << 10;
/// Unanswered requests of one connection.
const IN_FLIGHT: usize = 512;
/// Targets in the unanswered blocks of one connection: two of the largest requests, or more small
/// ones than webhookd has connections by default.
const MAX_LOAD: usize = 20_480;
/// Orders that may wait for the enforcer.
pub const QUEUE: usize = 2048;
/// As many wait when webhookd's are no longer taken: what is left of the queue is the operator's.
const FRONTENDS: usize = QUEUE / 2;
/// A block of one target counts as so many, so that places for other requests are left.
const LEAST_WEIGHT: usize = 64;
/// Bytes of stack of a connection's thread.
pub const STACK: usize = policy::config::STACK;

#[cfg(test)]
mod tests {
    use protocol::{Lift, LiftOutcome};

    use super::*;

    #[test]
    fn a_reply_that_would_be_too_long_comes_without_its_words_and_the_connection_stays() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (sender, outgoing) = mpsc::channel();
        let (_take, give_back) = mpsc::sync_channel(IN_FLIGHT);
        let lift = Lift {
            target: "2001:db8::7".parse().unwrap(),
            outcome: LiftOutcome::Failed,
            detail: Text::truncated(&"why ".repeat(256)),
        };
        let untold = Arc::new(());
        for id in [7, 8] {
            let lifts = if id == 7 { vec![lift.clone(); 10_000] } else { vec![lift.clone()] };
            let frame = ReplyFrame { id, reply: Reply::Unblock(lifts) };
            sender.send((frame, 0, Arc::clone(&untold))).unwrap();
        }
        drop(sender);
        let writing =
            thread::spawn(move || write(ours, &outgoing, &give_back, &AtomicUsize::new(0)));
        for (id, many, words) in [(7, 10_000, ""), (8, 1, &*lift.detail)] {
            let frame = frame::read::<ReplyFrame>(&mut theirs).unwrap();
            let Reply::Unblock(lifts) = frame.reply else { panic!() };
            assert_eq!((frame.id, lifts.len()), (id, many));
            assert!(lifts.iter().all(|lift| lift.outcome == LiftOutcome::Failed));
            assert_eq!(&*lifts[0].detail, words);
        }
        writing.join().unwrap().unwrap();
        assert_eq!(Arc::strong_count(&untold), 1);
    }
}
