mod replies;

use proptest::prelude::*;

use super::*;
use crate::{Enforced, FrameError, Outcome, frame};

fn block_of(targets: Vec<Target>) -> RequestFrame {
    RequestFrame {
        id: 7,
        request: Request::Block(Block {
            event: EventId(1),
            requester: None,
            targets: targets.try_into().unwrap(),
            term: None,
            reason: Text::default(),
            rule_name: Text::default(),
            alert_id: Text::default(),
            adopt: false,
        }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_block() {
    let frame = frame::encode(&block_of(vec!["198.51.100.7".parse().unwrap()])).unwrap();
    let golden = concat!(
        "05",
        "48000000",
        "0700000000000000",
        "00000000",
        "01000000000000000000000000000000",
        "00",
        "0100000000000000",
        "00000000c633640720",
        "00",
        "0000000000000000",
        "0000000000000000",
        "0000000000000000",
        "00",
    );
    assert_eq!(hex(&frame), golden);
}

#[test]
fn golden_block_of_a_network_with_texts() {
    let mut message = block_of(vec!["2001:db8::/48".parse().unwrap()]);
    if let Request::Block(block) = &mut message.request {
        block.requester = Some("10.0.0.9".parse().unwrap());
        block.reason = Text::truncated("ssh");
        block.term = Term::seconds(3600);
        block.adopt = true;
    }
    let golden = concat!(
        "05",
        "67000000",
        "0700000000000000",
        "00000000",
        "01000000000000000000000000000000",
        "01000000000a000009",
        "0100000000000000",
        "0100000020010db800000000000000000000000030",
        "0100000000100e0000",
        "0300000000000000737368",
        "0000000000000000",
        "0000000000000000",
        "01",
    );
    assert_eq!(hex(&frame::encode(&message).unwrap()), golden);
}

#[test]
fn golden_verbs_and_replies() {
    let list = Request::List(List { after: None, limit: 2 });
    let show = Request::Show("198.51.100.7".parse().unwrap());
    let unblock = |which| Request::Unblock(Unblock { event: EventId(2), which, immune_for: 600 });
    let one = Targets::try_from(vec!["198.51.100.7".parse().unwrap()]).unwrap();
    let Request::Block(block) = block_of(vec!["198.51.100.7".parse().unwrap()]).request else {
        panic!()
    };
    for (request, golden) in [
        (list, "050f000000010000000000000002000000000200"),
        (show, "05150000000100000000000000030000000000 0000c633640720"),
        (
            unblock(Which::All),
            "05240000000100000000000000 01000000 02000000000000000000000000000000 00000000 58020000",
        ),
        (
            unblock(Which::Targets(one.clone())),
            "05350000000100000000000000 01000000 02000000000000000000000000000000
             01000000 0100000000000000 00000000c633640720 58020000",
        ),
        (
            unblock(Which::Rule(Text::truncated("ssh"))),
            "052f0000000100000000000000 01000000 02000000000000000000000000000000
             02000000 0300000000000000 737368 58020000",
        ),
        (Request::Status, "050c000000010000000000000004000000"),
        (
            Request::Judge(block),
            "05480000000100000000000000 05000000 01000000000000000000000000000000 00
             0100000000000000 00000000c633640720 00
             0000000000000000 0000000000000000 0000000000000000 00",
        ),
        (Request::Reload, "050c000000010000000000000006000000"),
        (Request::Protected, "050c000000010000000000000007000000"),
        (
            Request::Elements(one),
            "051d0000000100000000000000 08000000 0100000000000000 00000000c633640720",
        ),
    ] {
        let frame = frame::encode(&RequestFrame { id: 1, request }).unwrap();
        assert_eq!(hex(&frame), golden.replace([' ', '\n'], ""));
    }
    let target: Target = "198.51.100.7".parse().unwrap();
    let verdict = |outcome| Verdict { target, outcome, detail: Text::default() };
    let enforced = Enforced { target, until: Until::At(0x5000) };
    for (outcome, golden) in [
        (Outcome::Blocked(enforced), "0000000000000000c633640720010000000050000000000000"),
        (Outcome::Refused(Refusal::UfwAllow), "0400000005000000"),
        (Outcome::OverQuota { retry_after_seconds: 60 }, "050000003c000000"),
        (Outcome::Unavailable, "09000000"),
    ] {
        let reply = ReplyFrame { id: 1, reply: Reply::Block(vec![verdict(outcome)]) };
        let frame = hex(&frame::encode(&reply).unwrap());
        let golden = format!("010000000000000000000000c633640720{golden}0000000000000000");
        assert!(frame.ends_with(&golden), "{frame} does not end with {golden}");
    }
    let mut changes = Durations::default();
    changes.note(std::time::Duration::from_millis(7));
    let status = Status {
        version: Text::default(),
        pid: 1,
        firewall: Text::default(),
        enforce: true,
        problem: None,
        live_blocks: 2,
        not_in_force: 3,
        max_blocks: 4,
        queued: 5,
        drift: 6,
        verified_at: None,
        changes,
        lost_lines: 8,
    };
    let reply = ReplyFrame { id: 1, reply: Reply::Status(Box::new(status)) };
    let golden = concat!(
        "04000000",
        "0000000000000000",
        "01000000",
        "0000000000000000",
        "01",
        "00",
        "0200000000000000",
        "0300000000000000",
        "0400000000000000",
        "0500000000000000",
        "0600000000000000",
        "00",
        "0000000000000000",
        "0100000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "00000000000000000000000000000000",
        "581b000000000000",
        "0800000000000000",
    );
    let frame = hex(&frame::encode(&reply).unwrap());
    assert!(frame.ends_with(golden), "{frame} does not end with {golden}");
}

#[test]
fn golden_replies_about_policy() {
    let target: Target = "198.51.100.7".parse().unwrap();
    let lift = Lift { target, outcome: LiftOutcome::Lifted, detail: Text::default() };
    let protected = |net: &str| ProtectedNet {
        net: net.parse().unwrap(),
        refusal: Refusal::UfwAllow,
        rule: Text::truncated("r"),
    };
    let verdict = || Verdict { target, outcome: Outcome::Unavailable, detail: Text::default() };
    let shown = Shown { block: None, offences: 2, immune_until: Some(3), verdict: verdict() };
    let verdict_bytes = "00000000c633640720 09000000 0000000000000000";
    for (reply, golden) in [
        (
            Reply::Show(Box::new(shown)),
            format!("03000000 00 02000000 01 0300000000000000 {verdict_bytes}"),
        ),
        (Reply::Judge(vec![verdict()]), format!("05000000 0100000000000000 {verdict_bytes}")),
        (
            Reply::Reload(Reloaded::Done { lifted: vec![lift] }),
            "06000000 00000000 0100000000000000 00000000c633640720 00000000 0000000000000000"
                .into(),
        ),
        (
            Reply::Reload(Reloaded::Mistake(Text::truncated("no"))),
            "06000000 01000000 0200000000000000 6e6f".into(),
        ),
        (
            Reply::Protected(vec![protected("198.51.100.0/24"), protected("2001:db8::/48")]),
            "07000000 0200000000000000 00000000c633640018 05000000 0100000000000000 72
             0100000020010db800000000000000000000000030 05000000 0100000000000000 72"
                .into(),
        ),
        (
            Reply::Elements(Ok(vec![None, Some(Element { packets: 2, seconds_left: Some(3) })])),
            "08000000 00000000 0200000000000000 00
             01 0200000000000000 01 0300000000000000"
                .into(),
        ),
        (
            Reply::Elements(Err(Text::truncated("no"))),
            "08000000 01000000 0200000000000000 6e6f".into(),
        ),
        (Reply::Forbidden, "09000000".into()),
        (Reply::Busy, "0a000000".into()),
    ] {
        let frame = hex(&frame::encode(&ReplyFrame { id: 1, reply }).unwrap());
        let golden = golden.replace([' ', '\n'], "");
        assert_eq!(frame.get(26..), Some(&*golden));
    }
}

#[test]
fn a_request_without_or_with_too_many_targets_is_refused() {
    let target: Target = "198.51.100.7".parse().unwrap();
    assert!(Targets::try_from(vec![]).is_err());
    assert!(Targets::try_from(vec![target; MAX_TARGETS + 1]).is_err());
    // On the wire too: the count of the golden frame set to zero, its target cut out.
    let mut frame = frame::encode(&block_of(vec![target])).unwrap();
    frame.drain(42..51);
    frame[34] = 0;
    frame[1] -= 9;
    let error = frame::read::<RequestFrame>(&mut frame.as_slice()).unwrap_err();
    assert!(matches!(error, FrameError::Decode(_)), "{error}");
}

#[test]
fn the_largest_request_and_reply_fit_their_caps() {
    let target: Target = "2001:db8::7".parse().unwrap();
    let text = Text::truncated(&"x".repeat(Text::MAX_BYTES));
    let mut request = block_of(vec![target; MAX_TARGETS]);
    if let Request::Block(block) = &mut request.request {
        block.requester = Some("2001:db8::9".parse().unwrap());
        block.reason = text.clone();
        block.rule_name = text.clone();
        block.alert_id = text.clone();
    }
    frame::encode(&request).unwrap();

    let enforced = Enforced { target, until: Until::At(u64::MAX) };
    let detail = Text::truncated(&"x".repeat(200));
    let verdict = Verdict { target, outcome: Outcome::Blocked(enforced), detail };
    let reply = ReplyFrame { id: 1, reply: Reply::Block(vec![verdict; MAX_TARGETS]) };
    frame::encode(&reply).unwrap();

    let row = BlockInfo {
        target,
        since: 1,
        until: Until::At(2),
        reason: text.clone(),
        rule_name: text.clone(),
        alert_id: text,
        peer_uid: 0,
        peer_pid: 1,
        requester: Some("2001:db8::9".parse().unwrap()),
        offences: 3,
        in_force: true,
    };
    let blocks = vec![row; usize::from(Page::MAX_BLOCKS)];
    let page = Page { blocks, total: 1, more: true };
    frame::encode(&ReplyFrame { id: 1, reply: Reply::List(page) }).unwrap();

    let rule = Text::truncated(&"x".repeat(ProtectedNet::RULE_BYTES));
    let net = ProtectedNet { net: target.net(), refusal: Refusal::UfwAllow, rule };
    let reply = Reply::Protected(vec![net; ProtectedNet::MOST]);
    frame::encode(&ReplyFrame { id: 1, reply }).unwrap();
}

#[test]
fn a_reply_without_details_keeps_its_outcomes_and_loses_its_words() {
    let target: Target = "198.51.100.7".parse().unwrap();
    let verdicts = |detail: &str| {
        vec![Verdict { target, outcome: Outcome::Failed, detail: Text::truncated(detail) }]
    };
    let lifts = |detail: &str| {
        let outcome = LiftOutcome::Lifted;
        vec![Lift { target, outcome, detail: Text::truncated(detail) }]
    };
    let replies = |words: &str| {
        [
            Reply::Block(verdicts(words)),
            Reply::Judge(verdicts(words)),
            Reply::Unblock(lifts(words)),
            Reply::Reload(Reloaded::Done { lifted: lifts(words) }),
        ]
    };
    assert_eq!(replies("words").map(Reply::without_details), replies(""));
}

#[test]
fn every_verb_and_lift_has_its_published_word() {
    let block = |request| match request {
        RequestFrame { request: Request::Block(block), .. } => block,
        other => panic!("{other:?}"),
    };
    let target: Target = "198.51.100.7".parse().unwrap();
    let block = block(block_of(vec![target]));
    let unblock = Unblock { event: EventId(1), which: Which::All, immune_for: 0 };
    for (request, verb) in [
        (Request::Block(block.clone()), "block"),
        (Request::Unblock(unblock), "unblock"),
        (Request::List(List { after: None, limit: 1 }), "list"),
        (Request::Show(target), "show"),
        (Request::Status, "status"),
        (Request::Judge(block.clone()), "judge"),
        (Request::Reload, "reload"),
        (Request::Protected, "protected"),
        (Request::Elements(block.targets.clone()), "elements"),
    ] {
        assert_eq!(request.verb(), verb);
    }
    assert_eq!(block.targets.as_slice(), [target]);
    for (outcome, word) in [
        (LiftOutcome::Lifted, "lifted"),
        (LiftOutcome::NotBlocked, "not-blocked"),
        (LiftOutcome::Failed, "failed"),
    ] {
        assert_eq!(outcome.name(), word);
    }
    assert_eq!(EventId(0xabc).to_string(), "00000000000000000000000000000abc");
}

#[test]
fn targets_that_are_not_canonical_are_refused_on_the_wire() {
    let good = frame::encode(&block_of(vec!["198.51.100.0/24".parse().unwrap()])).unwrap();
    for (offset, value) in [(49, 1_u8), (50, 0), (50, 33), (42, 2)] {
        let mut frame = good.clone();
        frame[offset] = value;
        let error = frame::read::<RequestFrame>(&mut frame.as_slice()).unwrap_err();
        assert!(matches!(error, FrameError::Decode(_)), "byte {offset} = {value}: {error}");
    }
}

fn any_target() -> impl Strategy<Value = Target> {
    (any::<u128>(), any::<bool>(), 1_u8..=128).prop_filter_map("canonical", |(bits, v6, prefix)| {
        let address = if v6 {
            IpAddr::from(bits.to_be_bytes())
        } else {
            IpAddr::from(u32::try_from(bits >> 96).unwrap().to_be_bytes())
        };
        let net = IpNet::new(address, prefix).ok()?;
        Target::network(net.trunc()).ok()
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let targets = proptest::collection::vec(any_target(), 1..20);
    let term =
        prop_oneof![Just(None), Just(Some(Term::Permanent)), any::<u32>().prop_map(Term::seconds)];
    let texts = (".{0,300}", ".{0,40}", any::<bool>());
    let block = (any::<u128>(), any::<Option<IpAddr>>(), targets, term, texts).prop_map(
        |(event, requester, targets, term, (reason, rule, adopt))| Block {
            event: EventId(event),
            requester,
            targets: targets.try_into().unwrap(),
            term,
            reason: Text::truncated(&reason),
            rule_name: Text::truncated(&rule),
            alert_id: Text::default(),
            adopt,
        },
    );
    let which = prop_oneof![
        Just(Which::All),
        ".{0,300}".prop_map(|rule| Which::Rule(Text::truncated(&rule))),
        any_target().prop_map(|target| Which::Targets(vec![target].try_into().unwrap())),
    ];
    let unblock = (any::<u128>(), which, any::<u32>()).prop_map(|(event, which, immune_for)| {
        Request::Unblock(Unblock { event: EventId(event), which, immune_for })
    });
    prop_oneof![
        (block, any::<bool>()).prop_map(|(block, judge)| {
            if judge { Request::Judge(block) } else { Request::Block(block) }
        }),
        unblock,
        Just(Request::Reload),
        Just(Request::Protected),
        any_target().prop_map(|target| Request::Elements(vec![target].try_into().unwrap())),
        any_target().prop_map(Request::Show),
        (proptest::option::of(any_target()), any::<u16>())
            .prop_map(|(after, limit)| Request::List(List { after, limit })),
        Just(Request::Status),
    ]
}

proptest! {
    #[test]
    fn every_request_survives_the_round_trip(id in any::<u64>(), request in any_request()) {
        let message = RequestFrame { id, request };
        let frame = frame::encode(&message).unwrap();
        prop_assert_eq!(frame::read::<RequestFrame>(&mut frame.as_slice()).unwrap(), message);
    }

    #[test]
    fn bytes_that_decode_encode_to_the_same_bytes(
        id in any::<u64>(), request in any_request(),
        at in any::<proptest::sample::Index>(), flip in 1_u8..
    ) {
        let mut frame = frame::encode(&RequestFrame { id, request }).unwrap();
        let at = at.index(frame.len());
        frame[at] ^= flip;
        if let Ok(message) = frame::read::<RequestFrame>(&mut frame.as_slice()) {
            prop_assert_eq!(frame::encode(&message).unwrap(), frame);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = frame::decode::<RequestFrame>(&bytes);
        let _ = frame::decode::<ReplyFrame>(&bytes);
        let _ = frame::read::<RequestFrame>(&mut bytes.as_slice());
    }
}
