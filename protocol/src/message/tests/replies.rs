use super::*;

fn target() -> Target {
    "2001:db8::/48".parse().unwrap()
}

fn verdict(outcome: Outcome) -> Verdict {
    Verdict { target: target(), outcome, detail: Text::truncated("why") }
}

fn row() -> BlockInfo {
    BlockInfo {
        target: target(),
        since: 1,
        until: Until::At(2),
        reason: Text::truncated("reason"),
        rule_name: Text::truncated("rule"),
        alert_id: Text::truncated("alert"),
        peer_uid: 3,
        peer_pid: 4,
        requester: Some("10.0.0.9".parse().unwrap()),
        offences: 5,
        in_force: true,
    }
}

/// One of each kind, with something in every field.
fn one_of_each() -> Vec<Reply> {
    let enforced = Enforced { target: target(), until: Until::Permanent };
    let outcomes = [
        Outcome::Blocked(enforced),
        Outcome::Refused(Refusal::UfwAllow),
        Outcome::OverQuota { retry_after_seconds: 60 },
    ];
    let lift = Lift {
        target: target(),
        outcome: LiftOutcome::NotBlocked,
        detail: Text::truncated("it is not"),
    };
    let shown = Shown {
        block: Some(row()),
        offences: 2,
        immune_until: Some(3),
        verdict: verdict(Outcome::AlreadyBlocked(enforced)),
    };
    let mut changes = Durations::default();
    changes.note(std::time::Duration::from_millis(7));
    let status = Status {
        version: Text::truncated("1.2.3"),
        pid: 1,
        firewall: Text::truncated("ufw"),
        enforce: true,
        problem: Some(Text::truncated("off")),
        live_blocks: 2,
        not_in_force: 3,
        max_blocks: 4,
        queued: 5,
        drift: 6,
        verified_at: Some(7),
        changes,
        lost_lines: 8,
    };
    let net = ProtectedNet {
        net: "198.51.100.0/24".parse().unwrap(),
        refusal: Refusal::UfwAllow,
        rule: Text::truncated("a rule"),
    };
    let element = Element { packets: 2, seconds_left: Some(3) };
    vec![
        Reply::Block(outcomes.map(verdict).into()),
        Reply::Unblock(vec![lift.clone()]),
        Reply::List(Page { blocks: vec![row(), row()], total: 3, more: true }),
        Reply::Show(Box::new(shown)),
        Reply::Status(Box::new(status)),
        Reply::Judge(vec![verdict(Outcome::WouldBlock(enforced))]),
        Reply::Reload(Reloaded::Done { lifted: vec![lift] }),
        Reply::Reload(Reloaded::Mistake(Text::truncated("line 3"))),
        Reply::Protected(vec![net]),
        Reply::Elements(Ok(vec![None, Some(element)])),
        Reply::Elements(Err(Text::truncated("no table"))),
        Reply::Forbidden,
        Reply::Busy,
    ]
}

#[test]
fn every_reply_survives_the_round_trip() {
    for reply in one_of_each() {
        let message = ReplyFrame { id: 9, reply };
        let frame = frame::encode(&message).unwrap();
        assert_eq!(frame::read::<ReplyFrame>(&mut frame.as_slice()).unwrap(), message);
    }
}

#[test]
fn whatever_byte_of_a_reply_is_another_one_what_decodes_encodes_to_the_same_bytes() {
    let mut decoded = 0;
    for reply in one_of_each() {
        let good = frame::encode(&ReplyFrame { id: 9, reply }).unwrap();
        for at in 0..good.len() {
            for flip in 1..=u8::MAX {
                let mut frame = good.clone();
                frame[at] ^= flip;
                if let Ok(message) = frame::read::<ReplyFrame>(&mut frame.as_slice()) {
                    assert_eq!(frame::encode(&message).unwrap(), frame, "byte {at} ^ {flip}");
                    decoded += 1;
                }
            }
        }
    }
    assert!(decoded > 10_000, "{decoded}");
}
