//! ufw's rules files, and what is staged in them.

use hosttext::Direction;
use hosttext::edit::Edit;
use hosttext::mark::Mark;
use hosttext::rules_file::{FileStanding, RulesFile};
use protocol::{EventId, Target, Until};

/// What is staged is a whole file with our drops in front of everything; taken out again, they leave
/// what was there, byte by byte.
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let Ok(file) = RulesFile::parse(text.to_vec()) else { return };
    assert_eq!(file.text().as_bytes(), text);
    let _ = file.allowed_sources().count();
    for (_, mark, tuple) in file.ours() {
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert!(tuple.mark() == Some(mark) && tuple.arguments().is_some());
    }
    let ipv6 = choice & 1 == 1;
    assert!(Edit::new(&file, ipv6).text().is_none_or(|same| same == file.text()));
    blocked(&file, ipv6);
    shuffled(&file, *choice, ipv6);
}

fn blocked(file: &RulesFile, ipv6: bool) {
    let target: Target = if ipv6 { "2001:db8:feed::7" } else { "198.51.100.254" }.parse().unwrap();
    let absent = |file: &RulesFile| {
        Direction::BOTH.iter().all(|way| file.standing(target, *way) == FileStanding::Absent)
    };
    if !absent(file) {
        return;
    }
    let mut edit = Edit::new(file, ipv6);
    let mark = Mark::new(EventId(0xabcd << 80), Until::At(1_790_000_000));
    for direction in Direction::BOTH {
        edit.put_first(target, direction, mark);
    }
    let Some(text) = edit.text() else { return };
    let staged = RulesFile::parse(text.into_bytes()).unwrap();
    let ours = staged.ours().filter(|(theirs, _, _)| *theirs == target).count();
    assert_eq!(ours, 2);
    for direction in Direction::BOTH {
        let FileStanding::First(tuple) = staged.standing(target, direction) else {
            panic!("{direction:?}: {:?}", staged.standing(target, direction));
        };
        assert_eq!(tuple.mark(), Some(mark));
    }
    let mut edit = Edit::new(&staged, ipv6);
    for (_, _, tuple) in staged.ours().filter(|(theirs, _, _)| *theirs == target) {
        edit.take_out(tuple);
    }
    let Some(text) = edit.text() else { return };
    let lifted = RulesFile::parse(text.into_bytes()).unwrap();
    assert!(absent(&lifted));
    if as_ufw_writes(file.text()) {
        assert_eq!(lifted.text(), file.text());
    }
}

/// Rules of anybody's, moved to the front and taken out by turns: the others stay.
fn shuffled(file: &RulesFile, choice: u8, ipv6: bool) {
    let mut edit = Edit::new(file, ipv6);
    let (mut moved, mut taken) = (Vec::new(), 0);
    for (number, (_, _, tuple)) in file.ours().enumerate().take(8) {
        match (usize::from(choice) >> number) & 1 {
            0 => edit.take_out(tuple),
            _ => edit.move_first(tuple),
        }
        if edit.takes_out(tuple) && (usize::from(choice) >> number) & 1 == 0 {
            taken += 1;
        } else {
            moved.push(tuple.text());
        }
    }
    let Some(text) = edit.text() else { return };
    let changed = RulesFile::parse(text.into_bytes()).unwrap();
    assert_eq!(changed.ours().count(), file.ours().count() - taken);
    let front = changed.ours().take(moved.len()).map(|(_, _, tuple)| tuple.text().to_owned());
    assert_eq!(front.collect::<Vec<_>>(), moved.into_iter().rev().collect::<Vec<_>>());
}

/// Whether the first rule follows the line ahead of it as ufw has it. What else stood there would be
/// taken for lines of ours, and ufw leaves it out when it next writes the file.
fn as_ufw_writes(text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "### RULES ###").skip(1);
    lines.next() == Some("") && lines.next().is_some_and(|line| line.starts_with("### "))
}
