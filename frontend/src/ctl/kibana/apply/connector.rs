//! This host's connector in Kibana: found, compared, made or brought up to date.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::ctl::https::Method;
use crate::ctl::kibana::apply::ApplyError;
use crate::ctl::kibana::apply::api::{Api, Reply};

/// The connector as it is to be.
pub(super) struct Connector {
    /// `webhookd-` and the host's name.
    pub(super) name: String,
    /// Kibana never gives a secret back: this in the connector's name tells which it is.
    pub(super) mark: String,
    /// What it is made with.
    pub(super) body: Value,
    /// Another host's URL may stand in one that is there.
    pub(super) replace: bool,
}

/// A connector that is there.
pub(super) struct Found {
    pub(super) id: String,
    /// What is not as it is to be.
    pub(super) differs: Vec<String>,
}

impl Connector {
    /// Looks for it under each id that it may have.
    pub(super) fn find(&self, api: &Api, space: &str) -> Result<Option<Found>, ApplyError> {
        for id in self.ids(space) {
            if let Some(there) = api.get(&path(&id), "look at the connector")? {
                let differs = self.compare(&there)?;
                return Ok(Some(Found { id, differs }));
            }
        }
        Ok(None)
    }

    /// Makes it, under its own name where Kibana takes that for an id; which id it got.
    pub(super) fn create(&self, api: &Api, space: &str) -> Result<String, ApplyError> {
        let what = "make the connector";
        let mut body = self.body.clone();
        self.put_name(&mut body);
        let mut refused = ApplyError::Unexpected(what);
        for id in self.ids(space) {
            refused = match api.write(Method::POST, &path(&id), &body, what)? {
                Reply::Done(_) => return Ok(id),
                Reply::Missing => return Err(ApplyError::Unexpected(what)),
                // In another space there may be one of that id.
                Reply::Conflict => ApplyError::NoWebhook(id),
                Reply::Invalid(message) => {
                    let is_for_id = message.contains("UUID");
                    let refused = ApplyError::Refused { what, status: 400, message };
                    if !is_for_id {
                        return Err(refused);
                    }
                    refused
                }
            };
        }
        Err(refused)
    }

    /// Replaces all of one that is there, its secret too.
    pub(super) fn update(&self, api: &Api, id: &str) -> Result<(), ApplyError> {
        let what = "change the connector";
        let mut body = self.body.clone();
        self.put_name(&mut body);
        if let Some(body) = body.as_object_mut() {
            body.remove("connector_type_id");
        }
        match api.write(Method::PUT, &path(id), &body, what)? {
            Reply::Done(_) => Ok(()),
            Reply::Invalid(message) => Err(ApplyError::Refused { what, status: 400, message }),
            Reply::Missing | Reply::Conflict => Err(ApplyError::Unsettled),
        }
    }

    /// Takes it out; whether it was there still.
    pub(super) fn remove(api: &Api, id: &str) -> Result<bool, ApplyError> {
        api.delete(&path(id), "remove the connector")
    }

    fn put_name(&self, body: &mut Value) {
        if let Some(name) = body.get_mut("name") {
            *name = self.marked().into();
        }
    }

    fn marked(&self) -> String {
        format!("{} ({})", self.name, self.mark)
    }

    fn compare(&self, there: &Value) -> Result<Vec<String>, ApplyError> {
        let text = |place| there.pointer(place).and_then(Value::as_str).unwrap_or_default();
        let (kind, theirs) = (text("/connector_type_id"), text("/config/url"));
        if kind != ".webhook" {
            return Err(ApplyError::NoWebhook(self.name.clone()));
        }
        let place = "/config/url";
        let ours = self.body.pointer(place).and_then(Value::as_str).unwrap_or_default();
        if theirs != ours && !self.replace {
            return Err(ApplyError::OtherHost {
                connector: self.name.clone(),
                theirs: theirs.to_owned(),
                ours: ours.to_owned(),
            });
        }
        let mut differs = Vec::new();
        let ours = self.body.get("config").and_then(Value::as_object);
        for (key, value) in ours.into_iter().flatten() {
            // What is not there is nothing.
            let theirs = there.get("config").and_then(|config| config.get(key));
            if theirs.unwrap_or(&Value::Null) != value {
                differs.push(key.clone());
            }
        }
        let name = text("/name");
        let missing = there.get("is_missing_secrets").and_then(Value::as_bool) == Some(true);
        if missing || !name.ends_with(&format!("({})", self.mark)) {
            differs.push("secret".to_owned());
        } else if name != self.marked() {
            differs.push("name".to_owned());
        }
        Ok(differs)
    }

    /// Its name, and a UUID made of that: before 9.4 Kibana takes no other id (its pull request
    /// 255922), whose own form takes 36 characters; and an id counts in all spaces.
    pub(super) fn ids(&self, space: &str) -> Vec<String> {
        let own = (self.name.len() <= LONGEST_ID).then(|| self.name.clone());
        own.into_iter().chain([uuid(&format!("{space}/{}", self.name))]).collect()
    }
}

fn path(id: &str) -> String {
    format!("/api/actions/connector/{id}")
}

/// In the form of version 4 (RFC 9562), always the same for a name.
fn uuid(name: &str) -> String {
    let digest = digest(&SHA256, name.as_bytes());
    let bytes = digest.as_ref().iter().take(16);
    let number = bytes.fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let number = number & !VERSION_AND_VARIANT | VERSION_4_VARIANT_1;
    let digits = format!("{number:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    parts.into_iter().filter_map(|part| digits.get(part)).collect::<Vec<_>>().join("-")
}

const VERSION_AND_VARIANT: u128 = 0xf << 76 | 0b11 << 62;
const VERSION_4_VARIANT_1: u128 = 0x4 << 76 | 0b10 << 62;
const LONGEST_ID: usize = 36;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn connector() -> Connector {
        Connector {
            name: "webhookd-web-01".to_owned(),
            mark: "token init 3fa9".to_owned(),
            body: json!({
                "name": "webhookd-web-01",
                "config": { "url": "https://a:5001/blockip", "hasAuth": false, "authType": null },
                "secrets": {},
            }),
            replace: false,
        }
    }

    fn there() -> Value {
        json!({
            "name": "webhookd-web-01 (token init 3fa9)",
            "connector_type_id": ".webhook",
            "config": { "url": "https://a:5001/blockip", "hasAuth": false, "new": "default" },
            "is_missing_secrets": false,
        })
    }

    #[test]
    fn what_differs_is_named_and_what_kibana_adds_does_not_differ() {
        assert!(connector().compare(&there()).unwrap().is_empty());
        for (place, value, differs) in [
            ("/name", json!("webhookd-web-01 (token old 0000)"), "secret"),
            ("/name", json!("webhookd-web-01"), "secret"),
            ("/name", json!("ours (token init 3fa9)"), "name"),
            ("/is_missing_secrets", json!(true), "secret"),
            ("/config/hasAuth", json!(true), "hasAuth"),
        ] {
            let mut there = there();
            *there.pointer_mut(place).unwrap() = value;
            assert_eq!(connector().compare(&there).unwrap(), [differs], "{there}");
        }
        let mut there = there();
        there["config"]["authType"] = json!("webhook-authentication-basic");
        assert_eq!(connector().compare(&there).unwrap(), ["authType"]);
    }

    #[test]
    fn another_hosts_connector_is_left_alone_unless_told_otherwise() {
        let mut there = there();
        there["config"]["url"] = json!("https://b:5001/blockip");
        let error = connector().compare(&there).unwrap_err().to_string();
        assert!(error.contains("posts to https://b:5001/blockip, not to https://a"), "{error}");
        let replacing = Connector { replace: true, ..connector() };
        assert_eq!(replacing.compare(&there).unwrap(), ["url"]);
        there["connector_type_id"] = json!(".email");
        assert!(matches!(replacing.compare(&there), Err(ApplyError::NoWebhook(_))));
    }

    #[test]
    fn an_id_is_the_name_or_a_uuid_that_is_the_same_each_time_and_another_in_each_space() {
        let ids = connector().ids("default");
        assert_eq!(ids[0], "webhookd-web-01");
        let [one, other] = [&ids[1], &connector().ids("lab")[1]];
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!((one.chars().nth(14), &connector().ids("default")[1]), (Some('4'), one));
        assert!("89ab".contains(one.chars().nth(19).unwrap()), "{one}");
        let long = Connector { name: format!("webhookd-{}", "a".repeat(63)), ..connector() };
        assert_eq!(long.ids("default").len(), 1);
    }
}
