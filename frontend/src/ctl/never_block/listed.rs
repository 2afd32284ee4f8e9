//! The list `never-block` within the text of privd.toml: what is in it, and how it changes while every
//! comment and the order stay.

use protocol::{Target, Untrusted, mistake_in};
use toml_edit::{Array, DocumentMut, Item, Value};

/// The text of privd.toml, understood as far as its list.
#[derive(Debug)]
pub(super) struct Listed {
    document: DocumentMut,
}

impl Listed {
    /// Understands a text whose list holds networks as privd takes them, or that has none.
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let document: DocumentMut =
            shown(text).parse().map_err(|error: toml_edit::TomlError| {
                Mistake::Toml(mistake_in(text, error.span(), error.message()))
            })?;
        let this = Self { document };
        match this.document.get(KEY) {
            None => {}
            Some(item) => {
                let list = item.as_array().ok_or(Mistake::NoList)?;
                list.iter().try_for_each(|value| network(value).map(drop))?;
            }
        }
        Ok(this)
    }

    /// The networks, in the file's order.
    pub(super) fn networks(&self) -> Vec<Target> {
        let list = self.document.get(KEY).and_then(Item::as_array);
        list.into_iter().flatten().filter_map(|value| network(value).ok()).collect()
    }

    /// Adds a network at the end; false: it is there.
    pub(super) fn add(&mut self, target: Target) -> bool {
        if self.networks().contains(&target) {
            return false;
        }
        let list = self.document.entry(KEY).or_insert_with(|| Array::new().into());
        if let Some(list) = list.as_array_mut() {
            append(list, Value::from(target.to_string()));
        }
        true
    }

    /// Takes a network out, as often as it is there; false: it is not.
    pub(super) fn remove(&mut self, target: Target) -> bool {
        let list = self.document.get_mut(KEY).and_then(Item::as_array_mut);
        let Some(list) = list else { return false };
        let before = list.len();
        for at in (0..before).rev() {
            if list.get(at).and_then(|value| network(value).ok()) == Some(target) {
                take_out(list, at);
            }
        }
        list.len() < before
    }
}

impl std::fmt::Display for Listed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.document.fmt(formatter)
    }
}

/// The shipped file shows the key with its default, commented out: there it goes.
fn shown(text: &str) -> String {
    let has_key = text.lines().any(|line| line.trim_start().starts_with(KEY));
    match text.split_once(SHIPPED) {
        Some((before, after)) if !has_key && (before.is_empty() || before.ends_with('\n')) => {
            format!("{before}{}{after}", SHIPPED.trim_start_matches('#'))
        }
        _ => text.to_owned(),
    }
}

fn network(value: &Value) -> Result<Target, Mistake> {
    let text = value.as_str().ok_or(Mistake::NoList)?;
    text.parse().map_err(|error| Mistake::Network(Untrusted(text).to_string(), error))
}

/// Behind the last value; in a list of several lines on a line of its own.
fn append(list: &mut Array, mut value: Value) {
    let behind = raw(list.trailing());
    let last = list.len().checked_sub(1).and_then(|last| list.get_mut(last));
    let (indent, on_lines) = match &last {
        Some(last) => {
            let before = last.decor().prefix().map(raw).unwrap_or_default();
            let line = before.rsplit_once('\n').map(|(_, indent)| indent.to_owned());
            (line.clone().unwrap_or_else(|| INDENT.to_owned()), line.is_some())
        }
        None => (INDENT.to_owned(), behind.contains('\n')),
    };
    // A remark behind the last value stays there.
    let mut remark = behind;
    if let Some(last) = last {
        let own = last.decor().suffix().map(raw).unwrap_or_default();
        last.decor_mut().set_suffix("");
        remark = own + &remark;
    }
    let on_lines = on_lines || remark.contains('\n');
    let prefix = match (on_lines, list.is_empty()) {
        (true, _) => format!("{}\n{indent}", remark.trim_end()),
        (false, true) => String::new(),
        (false, false) => " ".to_owned(),
    };
    value.decor_mut().set_prefix(prefix);
    list.push_formatted(value);
    list.set_trailing(if on_lines { "\n" } else { "" });
    list.set_trailing_comma(on_lines);
}

/// The remark behind it on its line goes with it; the lines above stay.
fn take_out(list: &mut Array, at: usize) {
    let removed = list.remove(at);
    let above = removed.decor().prefix().map(raw).unwrap_or_default();
    let suffix = removed.decor().suffix().map(raw).unwrap_or_default();
    let next = list.get(at).map_or_else(
        || suffix + &raw(list.trailing()),
        |next| next.decor().prefix().map(raw).unwrap_or_default(),
    );
    let joined = match (above.rsplit_once('\n'), next.split_once('\n')) {
        (Some((above, _)), Some((_, below))) => format!("{above}\n{below}"),
        (None, Some((_, below))) => format!("\n{below}"),
        _ if list.len() == at => String::new(),
        _ => above,
    };
    match list.get_mut(at) {
        Some(next) => next.decor_mut().set_prefix(joined),
        None => {
            if list.is_empty() || !joined.contains('\n') {
                list.set_trailing_comma(false);
            }
            list.set_trailing(joined);
        }
    }
}

fn raw(text: &toml_edit::RawString) -> String {
    text.as_str().unwrap_or_default().to_owned()
}

/// Why the list in a file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum Mistake {
    #[error("{0}")]
    Toml(String),
    #[error("never-block is no list of networks; write for example never-block = [\"10.0.0.0/8\"]")]
    NoList,
    #[error("never-block: \"{0}\" {1}")]
    Network(String, #[source] protocol::TargetError),
}

const KEY: &str = "never-block";
/// As packaging/config/privd.toml shows it.
const SHIPPED: &str = "#never-block = []\n";
const INDENT: &str = "    ";

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVD: &str = include_str!("../../../../packaging/config/privd.toml");

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn added(text: &str, network: &str) -> String {
        let mut text = Listed::parse(text).unwrap();
        assert!(text.add(target(network)));
        assert!(!text.add(target(network)), "it is there");
        text.to_string()
    }

    fn removed(text: &str, network: &str) -> String {
        let mut text = Listed::parse(text).unwrap();
        assert!(text.remove(target(network)));
        assert!(!text.remove(target(network)), "it is gone");
        text.to_string()
    }

    #[test]
    fn the_shipped_file_takes_it_where_it_shows_the_key() {
        let new = added(PRIVD, "203.0.113.9");
        assert_eq!(new, PRIVD.replace("#never-block = []", "never-block = [\"203.0.113.9\"]"));
        assert_eq!(removed(&new, "203.0.113.9"), PRIVD.replace("#never-block", "never-block"));
    }

    #[test]
    fn a_list_grows_and_shrinks_in_its_own_style() {
        for (before, after) in [
            ("", "never-block = [\"192.0.2.9\"]\n"),
            ("max-blocks = 1 # few\n", "max-blocks = 1 # few\nnever-block = [\"192.0.2.9\"]\n"),
            ("never-block = []", "never-block = [\"192.0.2.9\"]\n"),
            ("never-block = [\"a::\"] # us\n", "never-block = [\"a::\", \"192.0.2.9\"] # us\n"),
            (
                "never-block = [\n  # the office\n  \"a::\", # ours\n  'b::/16' # theirs\n]\n",
                "never-block = [\n  # the office\n  \"a::\", # ours\n  'b::/16', # theirs\n  \"192.0.2.9\",\n]\n",
            ),
            (
                "never-block = [\n\t\"a::\", # ours\n\t# the end\n]\n",
                "never-block = [\n\t\"a::\", # ours\n\t# the end\n\t\"192.0.2.9\",\n]\n",
            ),
            (
                "never-block = [\n    # nobody yet\n]\n",
                "never-block = [\n    # nobody yet\n    \"192.0.2.9\",\n]\n",
            ),
        ] {
            assert_eq!(added(before, "192.0.2.9"), after, "{before}");
        }
    }

    #[test]
    fn what_is_taken_out_takes_its_own_remark_along_and_no_other() {
        let text = "never-block = [\n  # the office\n  \"a::\", # ours\n  \"b::\", # theirs\n  # home\n  \"c::\", # mine\n]\n";
        for (network, after) in [
            (
                "a::",
                "never-block = [\n  # the office\n  \"b::\", # theirs\n  # home\n  \"c::\", # mine\n]\n",
            ),
            (
                "b::",
                "never-block = [\n  # the office\n  \"a::\", # ours\n  # home\n  \"c::\", # mine\n]\n",
            ),
            (
                "c::",
                "never-block = [\n  # the office\n  \"a::\", # ours\n  \"b::\", # theirs\n  # home\n]\n",
            ),
        ] {
            assert_eq!(removed(text, network), after, "{network}");
        }
        for (before, after) in [
            ("never-block = [\"a::\"] # x\n", "never-block = [] # x\n"),
            ("never-block = [\"a::\", \"b::\"]\n", "never-block = [\"b::\"]\n"),
            ("never-block = [\"b::\", \"a::\"]\n", "never-block = [\"b::\"]\n"),
            ("never-block = [\"a::\", \"b::\", \"0a::/128\"]\n", "never-block = [\"b::\"]\n"),
            ("never-block = [\n  \"a::\"\n]\n", "never-block = [\n]\n"),
        ] {
            assert_eq!(removed(before, "a::"), after, "{before}");
        }
    }

    #[test]
    fn what_is_listed_is_read_as_privd_reads_it_and_a_mistake_is_named() {
        let text = Listed::parse("never-block = [\"10.0.0.0/8\", '::ffff:192.0.2.9']").unwrap();
        assert_eq!(text.networks(), [target("10.0.0.0/8"), target("192.0.2.9")]);
        for (text, words) in [
            ("never-block = [\n\"10.0.0.0/8\"", "line 2, `"),
            ("never-block = 7", "no list of networks"),
            ("never-block = [7]", "no list of networks"),
            (
                "never-block = [\"10.0.0.1/8\"]",
                "\"10.0.0.1/8\" has host bits set below its prefix; the network is 10.0.0.0/8",
            ),
            ("never-block = [\"fe80::1%eth0\"]", "\"fe80::1%eth0\""),
        ] {
            let mistake = Listed::parse(text).unwrap_err().to_string();
            assert!(mistake.contains(words), "{text}: {mistake}");
        }
    }
}
