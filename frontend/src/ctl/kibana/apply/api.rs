//! Kibana's API: what is asked, and what an answer means.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ctl::https::{Answer, Https, Method};
use crate::ctl::kibana::apply::ApplyError;
use crate::ctl::kibana::apply::key::ApiKey;
use crate::ctl::kibana::version::Version;

/// A Kibana, asked with one key and in one space.
pub(super) struct Api {
    https: Https,
    /// Without a slash at its end.
    url: String,
    /// The way into the space.
    space: String,
    authorization: String,
}

/// What became of a request that Kibana knows.
pub(super) enum Reply {
    Done(Value),
    /// There is no such thing.
    Missing,
    /// It is there already, or somebody else changed it meanwhile.
    Conflict,
    /// Something in it is not taken, which Kibana says.
    Invalid(String),
}

impl Api {
    /// Trusts the authorities of this file, or those of the system.
    pub(super) fn new(
        url: &str,
        authorities: Option<&PathBuf>,
        key: &ApiKey,
    ) -> Result<Self, ApplyError> {
        let url = url.trim_end_matches('/').to_owned();
        let authorities = authorities.map_or_else(|| Path::new(SYSTEMS), PathBuf::as_path);
        let https = Https::trusting(authorities, &[])
            .map_err(|why| ApplyError::Unreached { url: url.clone(), why })?;
        Ok(Self { https, url, space: String::new(), authorization: key.header() })
    }

    /// Which Kibana it is.
    pub(super) fn version(&self) -> Result<Version, ApplyError> {
        let answer = self.send(Method::GET, "/api/status", None)?;
        let not_kibana = || ApplyError::NotKibana { url: self.url.clone(), status: answer.status };
        if answer.status == 401 {
            return Err(ApplyError::WrongKey);
        }
        let status: Value = serde_json::from_str(&answer.body).map_err(|_| not_kibana())?;
        let text = |place| status.pointer(place).and_then(Value::as_str);
        let level = text("/status/overall/level").ok_or_else(not_kibana)?;
        if answer.status == 503 {
            return Err(ApplyError::NotReady(level.to_owned()));
        }
        // It tells nobody its version whom it does not know.
        let number = text("/version/number").ok_or(ApplyError::WrongKey)?;
        number.parse().map_err(|_| not_kibana())
    }

    /// Goes into a space, which must be there: Kibana would make things in one that is not.
    pub(super) fn enter(&mut self, space: &str) -> Result<(), ApplyError> {
        if space == DEFAULT_SPACE {
            return Ok(());
        }
        let what = "look at the space";
        match self.ask(Method::GET, &format!("/api/spaces/space/{space}"), None, what)? {
            Reply::Done(_) => {
                self.space = format!("/s/{space}");
                Ok(())
            }
            _ => Err(ApplyError::NoSpace(space.to_owned())),
        }
    }

    /// Asks for something, which may not be there.
    pub(super) fn get(&self, path: &str, what: &'static str) -> Result<Option<Value>, ApplyError> {
        match self.ask(Method::GET, path, None, what)? {
            Reply::Done(found) => Ok(Some(found)),
            Reply::Missing => Ok(None),
            Reply::Conflict => Err(ApplyError::Unexpected(what)),
            Reply::Invalid(message) => Err(ApplyError::Refused { what, status: 400, message }),
        }
    }

    /// Writes.
    pub(super) fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        what: &'static str,
    ) -> Result<Reply, ApplyError> {
        self.ask(method, path, Some(&body.to_string()), what)
    }

    /// Deletes; whether it was there. The answer to that has no body in newer ones.
    pub(super) fn delete(&self, path: &str, what: &'static str) -> Result<bool, ApplyError> {
        let answer = self.send(Method::DELETE, &format!("{}{path}", self.space), None)?;
        match answer.status {
            200..300 => Ok(true),
            404 => Ok(false),
            status => match judge(&answer, what)? {
                Reply::Invalid(message) => Err(ApplyError::Refused { what, status, message }),
                _ => Err(ApplyError::Unexpected(what)),
            },
        }
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
        what: &'static str,
    ) -> Result<Reply, ApplyError> {
        let answer = self.send(method, &format!("{}{path}", self.space), body)?;
        judge(&answer, what)
    }

    fn send(&self, method: Method, path: &str, body: Option<&str>) -> Result<Answer, ApplyError> {
        let headers = [("Authorization", &*self.authorization), ("kbn-xsrf", "webhookctl")];
        let url = format!("{}{path}", self.url);
        let answer = self.https.send(method, &url, &headers, body);
        let answer = answer.map_err(|why| ApplyError::Unreached { url: self.url.clone(), why })?;
        match (answer.status, &answer.location) {
            // The key is for nobody else.
            (300..400, to) => Err(ApplyError::Redirect {
                url: self.url.clone(),
                to: to.clone().unwrap_or_else(|| "another place".to_owned()),
            }),
            _ => Ok(answer),
        }
    }
}

fn judge(answer: &Answer, what: &'static str) -> Result<Reply, ApplyError> {
    let json: Option<Value> = serde_json::from_str(&answer.body).ok();
    let message = json.as_ref().and_then(|json| json.get("message")).and_then(Value::as_str);
    let message = message.unwrap_or("no reason given").to_owned();
    match answer.status {
        200..300 => json.map(Reply::Done).ok_or(ApplyError::Unexpected(what)),
        400 => Ok(Reply::Invalid(message)),
        401 => Err(ApplyError::WrongKey),
        403 if message.contains("license") => Err(ApplyError::Licence(message)),
        403 => Err(ApplyError::Privilege { what, message }),
        404 => Ok(Reply::Missing),
        409 => Ok(Reply::Conflict),
        status => Err(ApplyError::Refused { what, status, message }),
    }
}

/// The one that is there from the beginning.
pub(super) const DEFAULT_SPACE: &str = "default";
/// Whom Debian and Ubuntu trust (update-ca-certificates(8)).
const SYSTEMS: &str = "/etc/ssl/certs/ca-certificates.crt";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_judged_with_what_mends_it() {
        let judged = |status, body: &str| {
            let answer = Answer { status, location: None, body: body.to_owned() };
            judge(&answer, "make the connector")
        };
        let said = |text: &str| serde_json::json!({ "message": text }).to_string();
        assert!(matches!(judged(200, "{}"), Ok(Reply::Done(_))));
        assert!(matches!(judged(404, "<html>"), Ok(Reply::Missing)));
        assert!(matches!(judged(409, &said("there")), Ok(Reply::Conflict)));
        assert!(matches!(judged(400, &said("x")), Ok(Reply::Invalid(message)) if message == "x"));
        for (status, body, words) in [
            (200, "<html>".to_owned(), "cannot be understood: it did not make the connector"),
            (401, said(""), "does not accept the API key"),
            (403, said("your basic license does not support it"), "takes Gold or a trial"),
            (403, said("Unauthorized to create actions"), "may not make the connector (Unauth"),
            (500, said("\u{1b}[2Jboom"), "did not make the connector: 500 \\u{1b}[2Jboom"),
            (429, "{}".to_owned(), "429 no reason given"),
        ] {
            let error = judged(status, &body).err().unwrap().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
