//! What is to be done in Kibana by hand, line by line.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use crate::ctl::kibana::definitions::{self, Which};
use crate::ctl::kibana::here::Here;
use crate::ctl::kibana::version::Version;
use crate::ctl::output::{Line, heading};
use crate::ctl::outside::shown_path;
use crate::ctl::simulate::Mode;

/// A webhook connector and the body of its action, as JSON; and the rule, for people.
#[derive(Serialize)]
pub(in crate::ctl) struct Guide {
    name: String,
    url: String,
    method: &'static str,
    headers: Headers,
    /// The file whose text Kibana is to trust; none where the certificate is of a CA elsewhere.
    ca: Option<PathBuf>,
    body: String,
    summary_body: String,
    never_block: Vec<String>,
    #[serde(skip)]
    token: String,
    #[serde(skip)]
    token_command: Option<String>,
    #[serde(skip)]
    which: Which,
    #[serde(skip)]
    kibana: Option<Version>,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "Content-Type")]
    content_type: &'static str,
    #[serde(rename = "Authorization")]
    authorization: String,
}

impl Guide {
    /// For a Kibana of this version, or of any. Without the token itself a command shows it.
    pub(in crate::ctl) fn new(
        here: &Here,
        token: Option<String>,
        which: Which,
        kibana: Option<Version>,
    ) -> Self {
        let command = format!("sudo cat {}", shown_path(&here.token_file));
        let token_command = token.is_none().then_some(command);
        let token = token.unwrap_or_else(|| "TOKEN".to_owned());
        Self {
            name: here.connector.clone(),
            url: here.url(),
            method: "POST",
            headers: Headers {
                content_type: "application/json",
                authorization: format!("Bearer {token}"),
            },
            ca: here.authority.clone(),
            body: definitions::body(Mode::Each),
            summary_body: definitions::body(Mode::Summary),
            never_block: here.never_block.iter().map(ToString::to_string).collect(),
            token,
            token_command,
            which,
            kibana,
        }
    }

    /// For people, to be copied from.
    pub(in crate::ctl) fn lines(&self) -> Vec<Line> {
        let mut lines = self.connector();
        lines.extend(self.rule());
        lines.extend(self.action());
        lines
    }

    fn connector(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = vec![
            heading("In Kibana, Stack Management > Connectors > Create connector > Webhook:")
                .into(),
            "  (a Gold licence or a trial: with Basic nothing is sent)".to_owned().into(),
            Line::Whole(format!("  Name     {}", self.name)),
            format!("  Method   {}", self.method).into(),
            Line::Whole(format!("  URL      {}", self.url)),
            Line::Whole(format!("  Headers  Content-Type: {}", self.headers.content_type)),
        ];
        let authorization = &self.headers.authorization;
        let header = Line::Whole(format!("           Authorization: {authorization}"));
        let secret_headers = self.kibana.map(Version::has_secret_headers);
        match secret_headers {
            Some(true) => {
                lines.push(header);
                lines.push("           the latter of the type Secret".to_owned().into());
            }
            Some(false) => {
                lines.push("  Auth     basic, user webhookd and the password".to_owned().into());
                lines.push(Line::Whole(format!("           {}", self.token)));
            }
            None => lines.push(header),
        }
        if let Some(command) = &self.token_command {
            lines.push(format!("           TOKEN is the first word of `{command}`").into());
        }
        if secret_headers.is_none() {
            lines.extend(BEFORE_9_2.map(|line| line.to_owned().into()));
        }
        let in_connector = self.kibana.is_none_or(Version::has_connector_tls);
        lines.push(
            match &self.ca {
                Some(_) if !in_connector => {
                    "  CA       in kibana.yml: webhookctl kibana print --for kibana-yml".to_owned()
                }
                Some(ca) => format!("  CA       the text of {}", shown_path(ca)),
                None => "  CA       the one your certificate is of".to_owned(),
            }
            .into(),
        );
        lines
    }

    fn rule(&self) -> Vec<Line> {
        let rule = definitions::rule(self.which);
        let text = |place| rule.pointer(place).and_then(Value::as_str).unwrap_or_default();
        let threshold = rule.pointer("/threshold/value").map(ToString::to_string);
        let threshold = threshold.unwrap_or_default();
        let mut lines: Vec<Line> = vec![
            heading("In Security > Rules, a rule of the type Threshold:").into(),
            Line::Whole(format!("  Query    {}", text("/query"))),
            format!("  Group by source.ip, threshold {threshold}").into(),
            "  Schedule every minute, additional look-back 4 minutes".to_owned().into(),
        ];
        if !self.never_block.is_empty() {
            let networks = self.never_block.join(", ");
            lines.push(format!("  Filter   source.ip is not one of {networks}").into());
        }
        lines
    }

    fn action(&self) -> Vec<Line> {
        let body = |lines: &mut Vec<Line>, text: &str| {
            lines.extend(text.lines().map(|line| Line::Whole(format!("  {line}"))));
        };
        let each = "In the rule, an action of this connector for each alert, with the body";
        let mut lines = vec![heading(each).into()];
        body(&mut lines, &self.body);
        lines.push("or one for a summary of alerts, with the body".to_owned().into());
        body(&mut lines, &self.summary_body);
        lines
    }
}

/// There a header is part of what a connector shows and exports (Kibana's issue 225770).
const BEFORE_9_2: [&str; 3] = [
    "           Kibana before 9.2 stores a header unencrypted, and exports it.",
    "           There leave Authorization out: basic authentication, user",
    "           webhookd, the token as password",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn guide(token: Option<&str>, ca: Option<&str>, kibana: Option<&str>) -> Vec<String> {
        let never = ["198.51.100.7", "2001:db8::/64"].map(|text| text.parse().unwrap());
        let here = Here::new(
            "web-01",
            "203.0.113.10:5001",
            "/etc/webhookd/token".into(),
            ca.map(PathBuf::from),
            never.into(),
        );
        let kibana = kibana.map(|text| text.parse().unwrap());
        let guide = Guide::new(&here, token.map(str::to_owned), Which::Wide, kibana);
        guide.lines().iter().map(Line::plain).collect()
    }

    #[test]
    fn a_connector_is_told_line_by_line_within_80_columns() {
        let lines = guide(None, Some("/etc/webhookd/tls/ca.pem"), None);
        for expected in [
            "  Name     webhookd-web-01",
            "  URL      https://203.0.113.10:5001/blockip",
            "  Headers  Content-Type: application/json",
            "           Authorization: Bearer TOKEN",
            "           TOKEN is the first word of `sudo cat /etc/webhookd/token`",
            "           Kibana before 9.2 stores a header unencrypted, and exports it.",
            "           webhookd, the token as password",
            "  CA       the text of /etc/webhookd/tls/ca.pem",
            "  Query    event.action : \"ssh_login\" and event.outcome : \"failure\"",
            "  Group by source.ip, threshold 20",
            "  Filter   source.ip is not one of 198.51.100.7, 2001:db8::/64",
            "   \"rule_name\":\"{{context.rule.name}}\",",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:#?}");
    }

    #[test]
    fn each_kibana_is_told_its_own_way_in_and_no_other() {
        for (kibana, has, has_not) in [
            ("9.2", "the latter of the type Secret", "basic"),
            ("9.1", "  Auth     basic, user webhookd and the password", "Authorization"),
            ("9.1", "  CA       the text of ca.pem", "kibana.yml"),
            (
                "8.9",
                "  CA       in kibana.yml: webhookctl kibana print --for kibana-yml",
                "the text",
            ),
        ] {
            let lines = guide(None, Some("ca.pem"), Some(kibana));
            assert!(lines.iter().any(|line| line.ends_with(has)), "{kibana}, {has}: {lines:#?}");
            assert!(!lines.iter().any(|line| line.contains(has_not)), "{has_not}: {lines:#?}");
            assert!(!lines.iter().any(|line| line.contains("before 9.2")), "{lines:#?}");
        }
    }

    #[test]
    fn a_shown_token_needs_no_command_and_a_foreign_certificate_no_file() {
        for (kibana, shown) in
            [(None, "           Authorization: Bearer secret"), (Some("8.17"), "           secret")]
        {
            let lines = guide(Some("secret"), None, kibana);
            assert!(lines.iter().any(|line| line == shown), "{lines:#?}");
            let lines = lines.join("\n");
            assert!(
                !lines.contains("sudo cat") && lines.contains("the one your certificate is of")
            );
        }
    }
}
