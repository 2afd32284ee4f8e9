//! Frames: the only file that calls bincode, so another codec is a change of this file.

use std::io::{self, Read, Write};

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::FrameError;
use crate::message::Message;

/// The version of the protocol in this release. Any change to a message's bytes raises it.
pub const VERSION: u8 = 5;

/// Bytes in front of a payload: the version and the length.
pub const HEADER_LEN: usize = 5;

/// Reads one frame from a blocking stream.
///
/// # Errors
/// [`FrameError::Closed`] when the stream ends between frames; otherwise what was wrong. After any
/// error the stream is unusable and must be closed.
pub fn read<M: Message>(stream: &mut impl Read) -> Result<M, FrameError> {
    let mut header = [0; HEADER_LEN];
    let (first, rest) = header.split_at_mut(1);
    if let Err(error) = stream.read_exact(first) {
        return Err(match error.kind() {
            io::ErrorKind::UnexpectedEof => FrameError::Closed,
            _ => FrameError::Io(error),
        });
    }
    stream.read_exact(rest)?;
    let mut payload = vec![0; payload_len::<M>(header)?];
    stream.read_exact(&mut payload)?;
    decode(&payload)
}

/// Writes one frame to a blocking stream in one call.
///
/// # Errors
/// A message over its cap, or the stream's error.
pub fn write<M: Message>(stream: &mut impl Write, message: &M) -> Result<(), FrameError> {
    Ok(stream.write_all(&encode(message)?)?)
}

/// Checks a frame's header and returns the payload's length in bytes.
///
/// # Errors
/// Another version, or a length over the message's cap.
pub fn payload_len<M: Message>(header: [u8; HEADER_LEN]) -> Result<usize, FrameError> {
    let [version, length @ ..] = header;
    if version != VERSION {
        return Err(FrameError::Version { theirs: version, ours: VERSION });
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > M::MAX_BYTES {
        return Err(FrameError::TooLong { length, cap: M::MAX_BYTES });
    }
    Ok(length)
}

/// Decodes a payload, all of it.
///
/// # Errors
/// Anything that is not exactly one message: bincode alone would accept trailing bytes.
pub fn decode<M: Message>(payload: &[u8]) -> Result<M, FrameError> {
    let (message, used) = decode_value(payload)?;
    match payload.len().saturating_sub(used) {
        0 => Ok(message),
        left => Err(FrameError::Trailing(left)),
    }
}

/// Encodes a message as a whole frame, header included.
///
/// # Errors
/// [`FrameError::TooLong`] for a message over its cap.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, FrameError> {
    let payload = encode_value(message)?;
    let too_long = || FrameError::TooLong { length: payload.len(), cap: M::MAX_BYTES };
    if payload.len() > M::MAX_BYTES {
        return Err(too_long());
    }
    let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
    let mut frame = Vec::with_capacity(payload.len().saturating_add(HEADER_LEN));
    frame.push(VERSION);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// The frame that says only which version the sender speaks: the answer to a stranger's version.
#[must_use]
pub fn version_notice() -> [u8; HEADER_LEN] {
    [VERSION, 0, 0, 0, 0]
}

fn encode_value(value: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    Ok(bincode::serde::encode_to_vec(value, codec())?)
}

fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), FrameError> {
    Ok(bincode::serde::decode_from_slice(bytes, codec())?)
}

/// Fixed-size integers give every value one encoding; the limit bounds what a length inside a
/// message can make the decoder claim.
fn codec() -> Configuration<LittleEndian, Fixint, Limit<LARGEST>> {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<LARGEST>()
}

/// Bytes: the largest cap of any message.
const LARGEST: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reply, ReplyFrame, Request, RequestFrame};

    fn status(id: u64) -> RequestFrame {
        RequestFrame { id, request: Request::Status }
    }

    #[test]
    fn a_frame_is_version_length_payload() {
        let frame = encode(&status(7)).unwrap();
        assert_eq!(frame, [5, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn what_was_written_is_read_back_frame_by_frame() {
        let mut stream = Vec::new();
        write(&mut stream, &status(1)).unwrap();
        write(&mut stream, &status(2)).unwrap();
        let mut stream = stream.as_slice();
        assert_eq!(read::<RequestFrame>(&mut stream).unwrap(), status(1));
        assert_eq!(read::<RequestFrame>(&mut stream).unwrap(), status(2));
        assert!(matches!(read::<RequestFrame>(&mut stream), Err(FrameError::Closed)));
    }

    #[test]
    fn another_version_is_named_with_both_numbers() {
        let mut frame = encode(&status(1)).unwrap();
        frame[0] = 9;
        let error = read::<RequestFrame>(&mut frame.as_slice()).unwrap_err();
        assert!(matches!(error, FrameError::Version { theirs: 9, ours: VERSION }), "{error}");
    }

    #[test]
    fn a_length_over_the_cap_is_refused_before_anything_is_read() {
        let header = [VERSION, 0xff, 0xff, 0xff, 0xff];
        let error = read::<RequestFrame>(&mut header.as_slice()).unwrap_err();
        assert!(matches!(error, FrameError::TooLong { length: 0xffff_ffff, .. }), "{error}");
    }

    #[test]
    fn a_length_of_exactly_the_cap_is_taken_and_one_byte_more_is_not() {
        let header = |length: usize| {
            let [a, b, c, d] = u32::try_from(length).unwrap().to_le_bytes();
            [VERSION, a, b, c, d]
        };
        let cap = RequestFrame::MAX_BYTES;
        assert_eq!(payload_len::<RequestFrame>(header(cap)).unwrap(), cap);
        assert!(payload_len::<RequestFrame>(header(cap + 1)).is_err());
    }

    #[test]
    fn a_version_notice_says_the_version_and_nothing_else() {
        let error = read::<RequestFrame>(&mut version_notice().as_slice()).unwrap_err();
        assert!(matches!(error, FrameError::Decode(_)), "{error}");
        assert_eq!(version_notice(), [VERSION, 0, 0, 0, 0]);
    }

    #[test]
    fn a_trailing_byte_is_refused() {
        let mut frame = encode(&status(1)).unwrap();
        frame.push(0);
        frame[1] += 1;
        let error = read::<RequestFrame>(&mut frame.as_slice()).unwrap_err();
        assert!(matches!(error, FrameError::Trailing(1)), "{error}");
    }

    #[test]
    fn a_frame_cut_anywhere_is_refused() {
        let frame = encode(&status(1)).unwrap();
        for cut in 1..frame.len() {
            let error = read::<RequestFrame>(&mut &frame[..cut]).unwrap_err();
            assert!(matches!(error, FrameError::Io(_)), "cut at {cut}: {error}");
        }
    }

    #[test]
    fn an_unknown_verb_is_refused() {
        let mut frame = encode(&status(1)).unwrap();
        frame[13] = 99;
        let error = read::<RequestFrame>(&mut frame.as_slice()).unwrap_err();
        assert!(matches!(error, FrameError::Decode(_)), "{error}");
    }

    #[test]
    fn a_length_bomb_inside_a_message_allocates_nothing_large() {
        // Reply::Block is variant 0; its list claims 2^63 verdicts.
        let mut payload = vec![0; 12];
        payload.extend_from_slice(&(1_u64 << 63).to_le_bytes());
        assert!(matches!(decode::<ReplyFrame>(&payload), Err(FrameError::Decode(_))));
    }

    #[test]
    fn a_message_over_its_cap_is_not_sent() {
        let text = crate::Text::truncated(&"x".repeat(1024));
        let verdict = crate::Verdict {
            target: "198.51.100.7".parse().unwrap(),
            outcome: crate::Outcome::Failed,
            detail: text,
        };
        let reply = ReplyFrame { id: 1, reply: Reply::Block(vec![verdict; 40_000]) };
        assert!(matches!(encode(&reply), Err(FrameError::TooLong { .. })));
    }
}
