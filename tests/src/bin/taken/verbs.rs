//! Every verb that is not webhookd's, over and over.

use protocol::Reply;
use tests::frames::forbidden;

use crate::floods::CONNECTIONS;
use crate::raid::{Raid, any_address};

pub fn try_all(raid: &Raid) {
    raid.each(
        CONNECTIONS / 2,
        |_| raid.served(),
        |peer, random| {
            for request in forbidden(any_address(random)) {
                let reply = peer.ask(request.clone());
                assert_eq!(reply, Reply::Forbidden, "{request:?}");
                raid.note("forbidden", 1);
            }
        },
    );
}
