//! What Kibana needs to know of this host.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ctl::output::Line;

/// A webhook connector and the body of its action, as JSON.
#[derive(Serialize)]
pub(super) struct Kibana {
    url: String,
    method: &'static str,
    headers: Headers,
    /// The file whose text Kibana is to trust; none where the certificate is of a CA elsewhere.
    ca: Option<PathBuf>,
    body: &'static str,
    #[serde(skip)]
    token_command: Option<String>,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "Content-Type")]
    content_type: &'static str,
    #[serde(rename = "Authorization")]
    authorization: String,
}

impl Kibana {
    /// For a host that Kibana reaches as `host`, with its port. Without the token itself a command shows it.
    pub(super) fn new(
        host: &str,
        token: Option<String>,
        token_file: &Path,
        ca: Option<PathBuf>,
    ) -> Self {
        let command = format!("sudo cat {}", token_file.display());
        let token_command = token.is_none().then_some(command);
        let token = token.unwrap_or_else(|| "TOKEN".to_owned());
        Self {
            url: format!("https://{host}/blockip"),
            method: "POST",
            headers: Headers {
                content_type: "application/json",
                authorization: format!("Bearer {token}"),
            },
            ca,
            body: BODY,
            token_command,
        }
    }

    /// For people, to be copied from.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = vec![
            "In Kibana, Stack Management > Connectors > Create connector > Webhook:"
                .to_owned()
                .into(),
            format!("  Method   {}", self.method).into(),
            Line::Whole(format!("  URL      {}", self.url)),
            Line::Whole(format!("  Headers  Content-Type: {}", self.headers.content_type)),
            Line::Whole(format!("           Authorization: {}", self.headers.authorization)),
        ];
        if let Some(command) = &self.token_command {
            lines.push(format!("           TOKEN is the first word of `{command}`").into());
        }
        lines.extend(BEFORE_9_2.map(|line| line.to_owned().into()));
        lines.push(match &self.ca {
            Some(ca) => format!("  CA       the text of {}", ca.display()).into(),
            None => "  CA       the one your certificate is of".to_owned().into(),
        });
        let body = "In the rule, an action of this connector for each alert, with the body";
        lines.push(body.to_owned().into());
        lines.extend(self.body.lines().map(|line| Line::Whole(format!("  {line}"))));
        lines
    }
}

/// There a header is part of what a connector shows and exports (Kibana's issue 225770).
const BEFORE_9_2: [&str; 3] = [
    "           Kibana before 9.2 stores a header unencrypted, and exports it.",
    "           There leave Authorization out: basic authentication, user",
    "           webhookd, the token as password",
];
/// `{{context.source.ip}}` is empty for Security rules.
const BODY: &str = r#"{"ip":"{{context.alerts.0.source.ip}}",
 "rule_name":"{{context.rule.name}}",
 "alert_id":"{{alert.id}}"}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn kibana(token: Option<&str>, ca: Option<&str>) -> Kibana {
        let token_file = Path::new("/etc/webhookd/token");
        Kibana::new(
            "203.0.113.10:5001",
            token.map(str::to_owned),
            token_file,
            ca.map(PathBuf::from),
        )
    }

    fn text(kibana: &Kibana) -> Vec<String> {
        kibana.lines().iter().map(Line::plain).collect()
    }

    #[test]
    fn a_connector_is_told_line_by_line_within_80_columns() {
        let lines = text(&kibana(None, Some("/etc/webhookd/tls/ca.pem")));
        for expected in [
            "  URL      https://203.0.113.10:5001/blockip",
            "  Headers  Content-Type: application/json",
            "           Authorization: Bearer TOKEN",
            "           TOKEN is the first word of `sudo cat /etc/webhookd/token`",
            "           Kibana before 9.2 stores a header unencrypted, and exports it.",
            "           webhookd, the token as password",
            "  CA       the text of /etc/webhookd/tls/ca.pem",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:#?}");
    }

    #[test]
    fn a_shown_token_needs_no_command_and_a_foreign_certificate_no_file() {
        let lines = text(&kibana(Some("secret"), None)).join("\n");
        assert!(lines.contains("Authorization: Bearer secret"), "{lines}");
        assert!(!lines.contains("sudo cat") && lines.contains("the one your certificate is of"));
    }

    #[test]
    fn the_body_is_json_around_kibanas_variables() {
        let body: serde_json::Value = serde_json::from_str(BODY).unwrap();
        assert_eq!(body["ip"], "{{context.alerts.0.source.ip}}");
    }
}
