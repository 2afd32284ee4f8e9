//! Every verb that is not webhookd's, over and over.

use protocol::{Reply, ReplyFrame};
use tests::frames::{encoded, forbidden};

use crate::floods::CONNECTIONS;
use crate::raid::{Raid, any_address};

pub fn try_all(raid: &Raid) {
    raid.each(
        CONNECTIONS / 2,
        |_| raid.served(),
        |peer, random| {
            let requests = forbidden(any_address(random));
            let frames = requests.iter().zip(0..).map(|(one, id)| encoded(id, one.clone()));
            peer.send(&frames.collect::<Vec<_>>().concat());
            for request in &requests {
                let ReplyFrame { reply, .. } = peer.read();
                assert_eq!(reply, Reply::Forbidden, "one like {request:?}");
            }
            raid.note("forbidden", requests.len());
        },
    );
}
