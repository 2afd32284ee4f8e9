//! Ids that are not one's own: the same everywhere, the least, the greatest, those of others.

use std::collections::BTreeMap;

use protocol::{Reply, Request, Target};
use tests::frames::{block_of, encoded};

use crate::floods::CONNECTIONS;
use crate::raid::{Raid, loopback};

pub fn forge(raid: &Raid) {
    // On all of them it would sometimes be too much at once.
    raid.each(
        CONNECTIONS / 2,
        |thread| (u32::from(thread) << 16, raid.served()),
        |(own, peer), random| {
            // Others are asking by the same ids just now.
            assert!(!peer.is_over(), "ended without a reason");
            let ids = [0, 1, u64::MAX, random.from(0..u64::MAX)];
            let mut asked = BTreeMap::<(u64, Option<Target>), usize>::new();
            let mut frames = Vec::new();
            for number in 0..100 {
                let id = ids[usize::try_from(random.from(0..4)).unwrap()];
                let target = (number % 5 > 0).then(|| loopback(*own + number % 7));
                let request = target.map_or(Request::Status, |target| block_of(vec![target]));
                frames.extend(encoded(id, request));
                *asked.entry((id, target)).or_default() += 1;
            }
            peer.send(&frames);
            for _ in 0..100 {
                let frame = peer.read();
                let target = match &frame.reply {
                    Reply::Status(_) => None,
                    Reply::Block(verdicts) => Some(verdicts[0].target),
                    other => panic!("{other:?}"),
                };
                let left = asked.get_mut(&(frame.id, target)).expect("somebody else's reply");
                *left = left.checked_sub(1).expect("a second reply");
            }
            raid.note("own", 100);
        },
    );
}
