//! Frames for privd's socket, good ones and bad ones.

use protocol::{
    Block, EventId, List, MAX_TARGETS, Message, Reply, ReplyFrame, Request, RequestFrame, Target,
    Targets, Text, Unblock, VERSION, Which, frame,
};

/// The bytes of a request.
///
/// # Panics
/// When it is over the cap.
#[must_use]
pub fn encoded(id: u64, request: Request) -> Vec<u8> {
    frame::encode(&RequestFrame { id, request }).unwrap()
}

/// Asks for these to be blocked.
///
/// # Panics
/// When one is no target.
#[must_use]
pub fn block(targets: &[&str]) -> Request {
    block_of(targets.iter().map(|text| text.parse().unwrap()).collect())
}

/// The same for targets.
///
/// # Panics
/// When there are too many, or none.
#[must_use]
pub fn block_of(targets: Vec<Target>) -> Request {
    Request::Block(Block {
        event: EventId(0x1234),
        requester: Some("10.9.0.2".parse().unwrap()),
        targets: Targets::try_from(targets).unwrap(),
        term: None,
        reason: Text::default(),
        rule_name: Text::default(),
        alert_id: Text::default(),
        adopt: false,
    })
}

/// Everything that webhookd may not ask, about a target.
///
/// # Panics
/// Never.
#[must_use]
pub fn forbidden(target: Target) -> Vec<Request> {
    let unblock = |which| Request::Unblock(Unblock { event: EventId(1), which, immune_for: 0 });
    let Request::Block(asked) = block_of(vec![target]) else { unreachable!() };
    vec![
        unblock(Which::All),
        unblock(Which::Targets(asked.targets.clone())),
        unblock(Which::Rule(Text::default())),
        Request::List(List { after: None, limit: 1 }),
        Request::Show(target),
        Request::Block(Block { adopt: true, ..asked.clone() }),
        Request::Judge(asked.clone()),
        Request::Reload,
        Request::Protected,
        Request::Elements(asked.targets),
    ]
}

/// Frames that are none: what is wrong, the bytes, and the words for the log.
///
/// # Panics
/// When the protocol has changed, and this has not.
#[must_use]
pub fn malformed() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let status = encoded(1, Request::Status);
    let good = encoded(1, block(&["198.51.100.7"]));
    let cap = u32::try_from(RequestFrame::MAX_BYTES).unwrap();
    let oversized = [&[VERSION], &(cap + 1).to_le_bytes()[..]].concat();
    let mut trailing = status.clone();
    trailing.push(0);
    trailing[1] += 1;
    // A frame with other bytes at one place.
    let changed = |frame: &[u8], at: usize, bytes: &[u8]| {
        let mut frame = frame.to_vec();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    assert_eq!(good[OCTETS..REASON], [198, 51, 100, 7, 32], "the offsets are wrong");
    let many = {
        let mut payload = good[frame::HEADER_LEN..TARGET].to_vec();
        let end = payload.len();
        payload[end - 8..].copy_from_slice(&(MAX_TARGETS as u64 + 1).to_le_bytes());
        payload.extend(good[TARGET..REASON].repeat(MAX_TARGETS + 1));
        payload.extend([0; 24]);
        framed(&payload)
    };
    let none = framed(&[&good[frame::HEADER_LEN..COUNT], &[0; 8][..], &good[REASON..]].concat());
    let text = |length: u64, bytes: &[u8]| {
        let texts = [&length.to_le_bytes(), bytes, &[0; 16][..]].concat();
        framed(&[&good[frame::HEADER_LEN..REASON], &texts[..]].concat())
    };
    let broken = "the connection broke";
    let no_message = "the payload is not a message";
    vec![
        ("a length over the cap", oversized, "exceeds the cap"),
        ("the longest length", [&[VERSION][..], &[0xff; 4]].concat(), "exceeds the cap"),
        ("a byte too many", trailing, "1 bytes are left over"),
        ("an empty payload", frame::version_notice().to_vec(), no_message),
        ("a payload too short", framed(&status[5..16]), no_message),
        ("an unknown verb", changed(&status, VERB, &[8]), no_message),
        ("a verb far off", changed(&status, VERB, &[0xff; 4]), no_message),
        ("an unknown tag", changed(&good, REQUESTER, &[2]), no_message),
        ("an unknown family", changed(&good, TARGET, &[2]), no_message),
        ("no target", none, no_message),
        ("10,001 targets", many, no_message),
        ("2^63 targets", changed(&good, COUNT, &(1_u64 << 63).to_le_bytes()), no_message),
        ("host bits", changed(&good, PREFIX, &[24]), no_message),
        ("a prefix over 32", changed(&good, PREFIX, &[33]), no_message),
        ("everybody", changed(&good, OCTETS, &[0, 0, 0, 0, 0]), no_message),
        ("IPv4 in the dress of IPv6", mapped([198, 51, 100, 7], 128), no_message),
        ("a text over its bound", text(1025, &[b'x'; 1025]), no_message),
        ("a text that is not UTF-8", text(2, &[0xc3, 0x28]), no_message),
        ("a text without end", text(u64::MAX, b""), no_message),
        (
            "a reply",
            frame::encode(&ReplyFrame { id: 1, reply: Reply::Forbidden }).unwrap(),
            no_message,
        ),
        ("garbage in a frame", framed(&[0xa5; 400]), no_message),
        ("cut in the header", status[..3].to_vec(), broken),
        ("cut behind the header", status[..5].to_vec(), broken),
        ("cut in the payload", good[..40].to_vec(), broken),
        ("cut before the last byte", good[..good.len() - 1].to_vec(), broken),
    ]
}

/// Asks for an IPv4 address to be blocked, in the form of an IPv4-mapped IPv6 address.
#[must_use]
pub fn mapped(octets: [u8; 4], prefix: u8) -> Vec<u8> {
    let good = encoded(1, block(&["198.51.100.7"]));
    let target = [&[1, 0, 0, 0][..], &[0; 10], &[0xff; 2], &octets, &[prefix]].concat();
    framed(&[&good[frame::HEADER_LEN..TARGET], &target[..], &good[REASON..]].concat())
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&[VERSION], &length.to_le_bytes()[..], payload].concat()
}

// Where things stand in a block of one IPv4 address: protocol/src/lib.rs.
const VERB: usize = 13;
const EVENT: usize = 17;
const REQUESTER: usize = EVENT + 16;
// Some(IPv4) is two tags and four bytes.
const COUNT: usize = REQUESTER + 1 + 4 + 4;
const TARGET: usize = COUNT + 8;
const OCTETS: usize = TARGET + 4;
const PREFIX: usize = TARGET + 8;
const REASON: usize = PREFIX + 1;
