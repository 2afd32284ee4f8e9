//! What the kernel answers over netlink.

use std::time::Duration;

use nftables::element::{self, Element, change};
use nftables::set::Set;
use nftables::wire::Messages;
use protocol::{MAX_TARGETS, Target};

/// Nothing that comes is read for ever, and what we write is read back as it was.
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut count = 0;
    for message in Messages(bytes) {
        count += 1;
        assert!(count <= bytes.len(), "a message without bytes");
        let Ok(message) = message else { break };
        let _ = (message.error(), message.is_done());
        assert!(message.attributes().count() <= bytes.len());
        for element in element::told(&message) {
            assert_eq!(Set::named(&Set::of(element.target).name()), Some(Set::of(element.target)));
            assert_eq!(element.target.to_string().parse(), Ok(element.target));
        }
    }
    written_and_read(bytes);
}

fn written_and_read(bytes: &[u8]) {
    let (mut elements, mut rest) = (Vec::new(), bytes);
    while let Some((one, others)) = rest.split_first_chunk::<8>() {
        rest = others;
        let [a, b, c, d, prefix, low, high, kind] = *one;
        let (address, longest) = if kind & 1 == 0 {
            ([a, b, c, d].into(), 32)
        } else {
            (std::net::IpAddr::from([a, b, c, d, low, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, d]), 128)
        };
        let net = ipnet::IpNet::new(address, prefix % (longest + 1)).unwrap().trunc();
        let Ok(target) = Target::network(net) else { continue };
        let left =
            (kind & 2 == 0).then(|| Duration::from_millis(u16::from_le_bytes([low, high]).into()));
        elements.push(Element { target, left, packets: 0 });
    }
    elements.truncate(MAX_TARGETS);
    let batch = change(&[], &elements).unwrap();
    let messages = Messages(&batch.bytes).map(Result::unwrap);
    let told = messages.flat_map(|message| element::told(&message).collect::<Vec<_>>());
    assert_eq!(brief(told), brief(elements.into_iter()));
}

/// The sets come in an order of their own, and the kernel alone tells how much time is left.
fn brief(elements: impl Iterator<Item = Element>) -> Vec<(Target, bool)> {
    let mut brief: Vec<_> =
        elements.map(|element| (element.target, element.left.is_some())).collect();
    brief.sort_unstable();
    brief
}
