//! Frames from a peer, as bytes on the socket.

use protocol::{Message, ReplyFrame, RequestFrame, frame};

/// What is read is written again byte by byte: each message has one encoding.
pub(crate) fn fuzz(bytes: &[u8]) {
    from_stream::<RequestFrame>(bytes);
    from_stream::<ReplyFrame>(bytes);
    payload::<RequestFrame>(bytes);
    payload::<ReplyFrame>(bytes);
}

fn from_stream<M: Message + Eq + std::fmt::Debug>(mut bytes: &[u8]) {
    let whole = bytes;
    while let Ok(message) = frame::read::<M>(&mut bytes) {
        let mut written = Vec::new();
        frame::write(&mut written, &message).unwrap();
        assert!(whole[..whole.len() - bytes.len()].ends_with(&written), "{message:?}");
    }
}

/// Most inputs are no frame: the header would hide the message behind it.
fn payload<M: Message + Eq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(message) = frame::decode::<M>(bytes) else { return };
    let encoded = frame::encode(&message).unwrap();
    assert_eq!(&encoded[frame::HEADER_LEN..], bytes);
    assert_eq!(frame::decode::<M>(&encoded[frame::HEADER_LEN..]).unwrap(), message);
}
