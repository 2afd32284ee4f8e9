use proptest::prelude::*;

use super::*;
use crate::rules_file::FileStanding;
use protocol::{EventId, Until};

/// `user.rules` and `user6.rules` as ufw 0.36.2 wrote them after `prepend deny from`, `prepend deny
/// out to` with our comments, an `allow 22/tcp`, and rules with log, application and interface.
const WRITTEN: [&str; 2] = [include_str!("user4.txt"), include_str!("user6.txt")];

fn parsed(text: &str) -> RulesFile {
    RulesFile::parse(text.into()).unwrap()
}

fn mark() -> Mark {
    Mark::new(EventId(0xabcd << 80), Until::At(1_790_000_000))
}

#[test]
fn what_we_write_is_what_ufw_writes() {
    // Our two rules of each file, taken out and written again, give the file that ufw wrote.
    for (text, ipv6) in WRITTEN.into_iter().zip([false, true]) {
        let file = parsed(text);
        let mut edit = Edit::new(&file, ipv6);
        let ours: Vec<_> = file.ours().collect();
        assert_eq!(ours.len(), 2);
        for (target, mark, tuple) in ours.iter().rev() {
            edit.take_out(tuple);
            edit.put_first(*target, tuple.whole().unwrap().0, *mark);
        }
        assert_eq!(edit.text().unwrap(), text);
    }
}

#[test]
fn a_rule_that_was_to_be_taken_out_can_be_left() {
    let file = parsed(WRITTEN[0]);
    let mut edit = Edit::new(&file, false);
    file.tuples.iter().for_each(|tuple| edit.take_out(tuple));
    assert!(!edit.leaves_rules());
    let (first, others) = file.tuples.split_first().unwrap();
    edit.leave(first);
    assert!(edit.leaves_rules() && !edit.takes_out(first));
    assert!(!others.is_empty() && others.iter().all(|tuple| edit.takes_out(tuple)));
    others.iter().for_each(|tuple| edit.leave(tuple));
    assert!(edit.is_empty());
    assert_eq!(edit.text().unwrap(), WRITTEN[0]);
}

#[test]
fn a_late_rule_moves_with_every_line_that_belongs_to_it() {
    let file = parsed(WRITTEN[0]);
    let target: Target = "198.51.100.99".parse().unwrap();
    let FileStanding::Late(tuple) = file.standing(target, Direction::In) else { panic!() };
    let mut edit = Edit::new(&file, false);
    edit.move_first(tuple);
    edit.move_first(tuple);
    let moved = parsed(&edit.text().unwrap());
    let FileStanding::First(tuple) = moved.standing(target, Direction::In) else { panic!() };
    assert_eq!(tuple.comment, Ok(Some("theirs".to_owned())));
    // A rule with `log` has four lines of iptables.
    let lines = moved.text.get(tuple.span.clone()).unwrap();
    assert_eq!(lines.matches("\n-A ").count(), 4, "{lines}");
    assert_eq!(moved.tuples.len(), file.tuples.len());
}

#[test]
fn a_file_that_ufw_never_wrote_is_not_changed() {
    for text in [
        "*filter\nCOMMIT\n",
        "*filter\nCOMMIT\n### RULES ###\n\n### END RULES ###\n",
        "*filter\n### RULES ###\n### tuple ### x\nCOMMIT\n",
    ] {
        let file = parsed(text);
        let mut edit = Edit::new(&file, false);
        edit.put_first("198.51.100.7".parse().unwrap(), Direction::In, mark());
        assert_eq!(edit.text(), None, "{text}");
    }
}

#[test]
fn what_is_put_first_is_ahead_of_every_rule_wherever_they_stand() {
    let allow = "\n### tuple ### allow any any ::/0 any ::/0 in\n-A ufw6-user-input -j ACCEPT\n";
    let twice = format!("{HEAD}{allow}\n### RULES ###\n{TAIL}");
    let (file, target) = (parsed(&twice), "2001:db8::7".parse().unwrap());
    let mut edit = Edit::new(&file, true);
    edit.put_first(target, Direction::In, mark());
    let staged = parsed(&edit.text().unwrap());
    assert!(matches!(staged.standing(target, Direction::In), FileStanding::First(_)));
    let ahead = parsed(&format!("*filter\n{allow}\n### RULES ###\n{TAIL}"));
    assert_eq!(Edit::new(&ahead, true).text(), None, "ufw never wrote it");
}

#[test]
fn a_rule_that_is_lifted_takes_nothing_with_it_that_is_no_line_of_its_own() {
    for rest in ["COMMIT\n### managed\n", "# remark\n\nCOMMIT\n### managed\n"] {
        let text = format!("*filter\n### RULES ###\n{rest}");
        let (file, target) = (parsed(&text), "198.51.100.7".parse().unwrap());
        let mut edit = Edit::new(&file, false);
        edit.put_first(target, Direction::In, mark());
        let staged = parsed(&edit.text().unwrap());
        let mut edit = Edit::new(&staged, false);
        staged.ours().for_each(|(_, _, tuple)| edit.take_out(tuple));
        assert_eq!(edit.text().unwrap(), text);
    }
}

#[test]
fn the_file_that_ufw_is_installed_with_can_be_changed() {
    let file = parsed("*filter\n### RULES ###\n-A ufw-user-limit -j REJECT\nCOMMIT\n");
    let mut edit = Edit::new(&file, false);
    assert!(edit.is_empty() && !edit.leaves_rules());
    edit.put_first("198.51.100.7".parse().unwrap(), Direction::In, mark());
    assert!(edit.leaves_rules());
    let changed = edit.text().unwrap();
    assert!(
        changed.starts_with("*filter\n### RULES ###\n\n### tuple ### deny any any 0.0.0.0/0 any 198.51.100.7 in comment="),
        "{changed}"
    );
    assert!(changed.ends_with(" -j DROP\n-A ufw-user-limit -j REJECT\nCOMMIT\n"), "{changed}");
}

const HEAD: &str = "*filter\n:ufw-user-input - [0:0]\n### RULES ###\n";
const TAIL: &str = "\n### END RULES ###\n\n### LOGGING ###\n### END LOGGING ###\nCOMMIT\n";

fn any_rule() -> impl Strategy<Value = String> {
    let lines = proptest::collection::vec("-A ufw-user-[a-z]{1,9} [ -~]{0,20}[!-~]\n", 0..4);
    let tuple = r"(allow|deny|route:reject|limit_log) (any|tcp) (any|22) 0\.0\.0\.0/0 any (0\.0\.0\.0/0|10\.0\.0\.[1-9]) (in|out)( comment=6d696e65)?";
    (tuple, lines).prop_map(|(tuple, lines)| format!("\n{TUPLE} {tuple}\n{}", lines.concat()))
}

proptest! {
    #[test]
    fn any_edit_changes_what_it_says_and_no_other_byte(
        rules in proptest::collection::vec(any_rule(), 0..12),
        fates in proptest::collection::vec(0_u8..4, 12),
        fresh in 0_u8..4,
    ) {
        let text = format!("{HEAD}{}{TAIL}", rules.concat());
        let file = parsed(&text);
        prop_assert_eq!(file.tuples.len(), rules.len());
        let mut edit = Edit::new(&file, false);
        let (mut front, mut rest) = (Vec::new(), Vec::new());
        for ((tuple, rule), fate) in file.tuples.iter().zip(&rules).zip(fates) {
            match fate {
                0 => edit.take_out(tuple),
                1 => { edit.move_first(tuple); front.insert(0, rule.clone()) }
                _ => rest.push(rule.clone()),
            }
        }
        for last in 0..fresh {
            let target = Target::host([198, 51, 100, last].into());
            edit.put_first(target, Direction::Out, mark());
            front.insert(0, rendered(target, Direction::Out, mark(), false));
        }
        let expected = format!("{HEAD}{}{}{TAIL}", front.concat(), rest.concat());
        prop_assert_eq!(edit.text().unwrap(), expected);
        prop_assert_eq!(edit.is_empty(), edit.text().unwrap() == text && fresh == 0 && front.is_empty() && rest.len() == rules.len());
    }

    #[test]
    fn no_text_makes_the_parser_or_the_edit_fail(text in "(### |tuple|RULES|END|\\*filter|COMMIT|deny any|\n| |[ -~]){0,60}") {
        if let Ok(file) = RulesFile::parse(format!("*filter\n### RULES ###\n{text}\nCOMMIT\n").into()) {
            let mut edit = Edit::new(&file, true);
            prop_assert!(edit.text().is_none_or(|same| same == file.text));
            for tuple in &file.tuples {
                edit.move_first(tuple);
            }
            if let Some(text) = edit.text() {
                prop_assert_eq!(RulesFile::parse(text.into()).unwrap().tuples.len(), file.tuples.len());
            }
        }
    }
}
