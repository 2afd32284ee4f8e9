//! Renders the body of an action as Kibana does before it calls a webhook.
//!
//! | file | what it is |
//! |---|---|
//! | `value` | values as JavaScript has them |
//! | `variables` | what a template can name, prepared by Kibana |
//! | `template` | a template taken apart |
//! | `hjson` | what its ParseHjson reads |
//! | `budget` | how much all of it may take |
//!
//! Kibana escapes `{{x}}` for the inside of a JSON string, shows objects as JSON, lists with commas,
//! and gives each list an `asJSON`; a template that cannot be read becomes its error.

mod budget;
mod hjson;
mod template;
mod value;
mod variables;

use std::borrow::Cow;

pub(super) use crate::ctl::simulate::mustache::budget::{Budget, MOST_ALERTS, TooMuch};
use crate::ctl::simulate::mustache::template::{TemplateError, Token, is_blank, parse};
pub(super) use crate::ctl::simulate::mustache::value::Value;
use crate::ctl::simulate::mustache::value::quoted;
use crate::ctl::simulate::mustache::variables::PARSE_HJSON;
pub(super) use crate::ctl::simulate::mustache::variables::{expanded, object};

/// The text that a template renders to with these variables; a mistake in it is a text, too.
///
/// # Errors
/// It uses a function of Kibana's that is not known here, or takes too much.
pub(super) fn render(
    template: &str,
    variables: Value,
    budget: &Budget,
) -> Result<String, NotRendered> {
    let view = variables::prepared(variables, budget)?;
    let context = Context { view: &view, parent: None, budget };
    match context.render(template) {
        Ok(text) => Ok(text),
        Err(RenderError::Template(TemplateError(words))) => {
            Ok(format!("error rendering mustache template \"{template}\": {words}"))
        }
        Err(RenderError::Not(why)) => Err(why),
    }
}

/// What axios makes of a rendered body under `Content-Type: application/json`: JSON without the
/// blanks around it, and a JSON text of everything else.
pub(super) fn wired(body: &str) -> String {
    // JSON has fewer blanks than JavaScript.
    if serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok() {
        body.trim_matches(is_blank).to_owned()
    } else {
        quoted(body)
    }
}

/// Why a template is not rendered at all.
#[derive(Debug, thiserror::Error)]
pub(in crate::ctl) enum NotRendered {
    /// A function of Kibana's.
    #[error("the template uses Kibana's {0}, which cannot be simulated; only {PARSE_HJSON} can")]
    Unsupported(&'static str),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

enum RenderError {
    Template(TemplateError),
    Not(NotRendered),
}

impl From<TooMuch> for RenderError {
    fn from(much: TooMuch) -> Self {
        Self::Not(much.into())
    }
}

impl From<TemplateError> for RenderError {
    fn from(error: TemplateError) -> Self {
        Self::Template(error)
    }
}

/// The sections around a place, each with the value that it is about.
struct Context<'a> {
    view: &'a Value,
    parent: Option<&'a Self>,
    budget: &'a Budget,
}

impl Context<'_> {
    fn render(&self, template: &str) -> Result<String, RenderError> {
        let mut text = String::new();
        self.write(&parse(template)?, &mut text)?;
        Ok(text)
    }

    fn write(&self, tokens: &[Token<'_>], out: &mut String) -> Result<(), RenderError> {
        for token in tokens {
            let before = out.len();
            match token {
                Token::Text(text) => out.push_str(text),
                Token::Raw(name) => {
                    if let Some(value) = self.value(name)? {
                        out.push_str(&value.shown());
                    }
                }
                Token::Escaped(name) => {
                    if let Some(value) = self.value(name)? {
                        out.push_str(inside(&quoted(&value.shown())));
                    }
                }
                Token::Inverted { name, inner } => {
                    let value = self.lookup(name)?;
                    let empty =
                        matches!(value.as_deref(), Some(Value::List(list)) if list.is_empty());
                    if empty || !value.is_some_and(|value| value.is_truthy()) {
                        self.write(inner, out)?;
                    }
                }
                Token::Section { name, inner, text } => {
                    if let Some(value) = self.lookup(name)?.filter(|value| value.is_truthy()) {
                        self.section(&value, inner, text, out)?;
                        // What is in it was counted piece by piece.
                        self.budget.spend(0)?;
                        continue;
                    }
                }
            }
            self.budget.spend(out.len().saturating_sub(before))?;
        }
        Ok(())
    }

    fn section(
        &self,
        value: &Value,
        inner: &[Token<'_>],
        text: &str,
        out: &mut String,
    ) -> Result<(), RenderError> {
        let within = |view| Context { view, parent: Some(self), budget: self.budget };
        match value {
            Value::List(values) => {
                for value in values {
                    within(value).write(inner, out)?;
                }
                Ok(())
            }
            Value::Object(_) | Value::Text(_) | Value::Number(_) => within(value).write(inner, out),
            Value::Lambda(PARSE_HJSON) => {
                out.push_str(&parsed(&self.render(text.trim_matches(is_blank))?));
                Ok(())
            }
            Value::Lambda(name) => Err(RenderError::Not(NotRendered::Unsupported(name))),
            Value::Null | Value::Bool(_) => self.write(inner, out),
        }
    }

    /// A value that is written; nothing for what is missing.
    fn value(&self, name: &str) -> Result<Option<Cow<'_, Value>>, RenderError> {
        match self.lookup(name)?.as_deref() {
            Some(Value::Lambda(name)) => Err(RenderError::Not(NotRendered::Unsupported(name))),
            _ => self.lookup(name),
        }
    }

    /// The innermost value with this name.
    fn lookup(&self, name: &str) -> Result<Option<Cow<'_, Value>>, RenderError> {
        if name == "." {
            return Ok(Some(Cow::Borrowed(self.view)));
        }
        let dotted = name.find('.').is_some_and(|at| at > 0);
        let mut context = Some(self);
        while let Some(Context { view, parent, .. }) = context {
            let found = if dotted {
                let (path, last) = name.rsplit_once('.').unwrap_or(("", name));
                let start = Some(Cow::Borrowed(*view));
                let holder = path
                    .split('.')
                    .try_fold(start, |value, key| value.map(|value| property(value, key)));
                holder.flatten().and_then(|holder| property(holder, last))
            } else {
                match view {
                    Value::Null => {
                        let words = format!("Cannot read properties of null (reading '{name}')");
                        return Err(TemplateError(words).into());
                    }
                    Value::Object(_) | Value::List(_) => property(Cow::Borrowed(*view), name),
                    _ => None,
                }
            };
            if found.is_some() {
                return Ok(found);
            }
            context = *parent;
        }
        Ok(None)
    }
}

/// A property in JavaScript, as Kibana has prepared its values.
fn property<'a>(value: Cow<'a, Value>, key: &str) -> Option<Cow<'a, Value>> {
    let made = match (&*value, key) {
        (Value::List(values), "asJSON") => Some(Value::Text(Value::List(values.clone()).json())),
        (Value::List(values), "length") => Some(count(values.len())),
        (Value::Text(text), "length") => Some(count(text.encode_utf16().count())),
        (Value::Object(object), "toString") if object.get(key).is_none() => {
            Some(Value::Text(value.json()))
        }
        _ => None,
    };
    if let Some(made) = made {
        return Some(Cow::Owned(made));
    }
    match value {
        Cow::Borrowed(value) => member(value, key).map(Cow::Borrowed),
        Cow::Owned(value) => member(&value, key).cloned().map(Cow::Owned),
    }
}

fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(object) => object.get(key),
        Value::List(values) => {
            let index: usize = key.parse().ok()?;
            values.get(index).filter(|_| index.to_string() == key)
        }
        _ => None,
    }
}

fn count(count: usize) -> Value {
    // No list here has 2^32 members.
    Value::Number(f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// What stands between the quotes.
fn inside(quoted: &str) -> &str {
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted)
}

/// Kibana's `ParseHjson`.
fn parsed(text: &str) -> String {
    match hjson::parse(text) {
        Ok(value) => value.json(),
        Err(error) => format!("error parsing Hjson \"{text}\": {error}"),
    }
}
