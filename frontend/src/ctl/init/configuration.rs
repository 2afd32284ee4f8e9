//! Both configuration files: the shipped texts, with what is this host's filled in.

use std::path::Path;

use crate::ctl::DIRECTORY;
use crate::ctl::init::folder::Kind;
use crate::ctl::init::protection::Entry;

/// webhookd.toml: a Kibana on this very host, and `webhookctl test`, post from its own addresses.
pub(super) fn webhookd(folder: &Path, own: &[String]) -> String {
    let mut text = WEBHOOKD.to_owned();
    if !own.is_empty() {
        let own: String = own.iter().map(|address| format!(", \"{address}\"")).collect();
        text = fill(&text, "allow-clients", |shipped| {
            format!("{}{own}]", shipped.trim_end_matches(']'))
        });
    }
    if folder != Path::new(DIRECTORY) {
        for (key, kind) in
            [("token-file", Kind::Token), ("certificate", Kind::Cert), ("key", Kind::Key)]
        {
            text = fill(&text, key, |_| quoted(&folder.join(kind.name())));
        }
    }
    with_log(text, folder)
}

/// privd.toml: these are never blocked.
pub(super) fn privd(folder: &Path, protected: &[Entry]) -> String {
    let text = with_log(PRIVD.to_owned(), folder);
    if protected.is_empty() {
        return text;
    }
    let list: Vec<String> =
        protected.iter().map(|entry| format!("\"{}\"", entry.address)).collect();
    fill(&text, "never-block", |_| format!("[{}]", list.join(", ")))
}

/// The units make the folders of the audit logs. Whoever runs the daemons from elsewhere may have
/// none, and no daemon starts without its audit log.
fn with_log(text: String, folder: &Path) -> String {
    if folder == Path::new(DIRECTORY) {
        return text;
    }
    text.replace("\naudit-log = ", "\n#audit-log = ")
}

/// Sets a key that the shipped text shows, commented out, with its default.
fn fill(text: &str, key: &str, value: impl Fn(&str) -> String) -> String {
    let start = format!("#{key} = ");
    let line = |line: &str| match line.strip_prefix(&start) {
        Some(shipped) => format!("{key} = {}\n", value(shipped)),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A JSON string is a TOML one.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

const WEBHOOKD: &str = include_str!("../../../../packaging/config/webhookd.toml");
const PRIVD: &str = include_str!("../../../../packaging/config/privd.toml");

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are not the shipped ones.
    fn changed(text: &str, shipped: &str) -> Vec<String> {
        assert_eq!(text.lines().count(), shipped.lines().count());
        let pairs = text.lines().zip(shipped.lines());
        pairs.filter(|(new, old)| new != old).map(|(new, _)| new.to_owned()).collect()
    }

    #[test]
    fn the_shipped_text_stays_where_there_is_nothing_to_say() {
        assert_eq!(webhookd(Path::new("/etc/webhookd"), &[]), WEBHOOKD);
        assert_eq!(privd(Path::new("/etc/webhookd"), &[]), PRIVD);
    }

    #[test]
    fn own_addresses_may_post_beside_the_shipped_networks() {
        let own = ["203.0.113.10".to_owned(), "2001:db8::1".to_owned()];
        let text = webhookd(Path::new("/etc/webhookd"), &own);
        let expected = "allow-clients = [\"127.0.0.0/8\", \"::1/128\", \"10.0.0.0/8\", \
                        \"172.16.0.0/12\", \"192.168.0.0/16\", \"fc00::/7\", \"203.0.113.10\", \
                        \"2001:db8::1\"]";
        assert_eq!(changed(&text, WEBHOOKD), [expected]);
    }

    #[test]
    fn another_folder_is_named_for_each_file() {
        let text = webhookd(Path::new("/srv/a \"b\""), &[]);
        let expected = [
            r#"token-file = "/srv/a \"b\"/token""#,
            r##"#audit-log = "/var/log/webhookd/audit.ndjson""##,
            r#"certificate = "/srv/a \"b\"/tls/cert.pem""#,
            r#"key = "/srv/a \"b\"/tls/key.pem""#,
        ];
        assert_eq!(changed(&text, WEBHOOKD), expected);
        text.parse::<toml::Table>().unwrap();
        let text = privd(Path::new("/srv/a"), &[]);
        let expected = r##"#audit-log = "/var/log/webhook-privd/audit.ndjson""##;
        assert_eq!(changed(&text, PRIVD), [expected]);
    }

    #[test]
    fn who_is_protected_stands_in_never_block() {
        let entry = |address: &str| Entry { address: address.parse().unwrap(), why: String::new() };
        let entries = [entry("203.0.113.9"), entry("2001:db8::9")];
        let text = privd(Path::new("/etc/webhookd"), &entries);
        assert_eq!(changed(&text, PRIVD), [r#"never-block = ["203.0.113.9", "2001:db8::9"]"#]);
    }
}
