//! What a body of JSON would take up in memory, before it is understood: a tree of many tiny values is
//! a hundred times the size of its text (measured: 8 MiB of `{"":0},` took 800 MB).

/// Whether it is of a weight that webhookd takes up.
#[must_use]
pub fn is_bearable(body: &[u8]) -> bool {
    weigh(body) <= MOST
}

/// Bytes, rather too many than too few. What is no JSON has a weight, too.
fn weigh(body: &[u8]) -> usize {
    let (mut weight, mut in_text, mut escaped) = (body.len(), false, false);
    for byte in body {
        let more = match byte {
            _ if escaped => {
                escaped = false;
                0
            }
            b'\\' => {
                escaped = in_text;
                0
            }
            b'"' => {
                in_text = !in_text;
                0
            }
            b'{' if !in_text => OBJECT,
            b'[' | b',' if !in_text => VALUE,
            _ => 0,
        };
        weight = weight.saturating_add(more);
    }
    weight
}

/// Three times the hundred whole alert documents that Kibana puts into one body at most.
const MOST: usize = 24 << 20;
/// Of an object: serde_json's has room for eleven members from the first on.
const OBJECT: usize = 600;
/// Of another value: its place in a list that has just doubled.
const VALUE: usize = 88;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_weigh_and_what_stands_in_a_text_does_not() {
        for (body, expected) in [
            ("", 0),
            ("{}", OBJECT),
            ("[0,0,0]", 3 * VALUE),
            (r#"{"a":{"b":[1,2]},"c":3}"#, 2 * OBJECT + 3 * VALUE),
            (r#""{[,""#, 0),
            (r#""\"{[,""#, 0),
            (r#"["\\",{}]"#, 2 * VALUE + OBJECT),
        ] {
            assert_eq!(weigh(body.as_bytes()), body.len() + expected, "{body}");
        }
    }

    #[test]
    fn documents_as_kibana_sends_them_are_bearable_and_many_tiny_values_are_not() {
        let field = |number| {
            (
                format!("kibana.alert.some.field_{number}"),
                json!("a value of some length, as most have"),
            )
        };
        let mut document: serde_json::Map<_, _> = (0..150).map(field).collect();
        for number in 0..30 {
            document.insert(format!("object_{number}"), json!({ "a": ["b"], "c": 1 }));
        }
        let document = serde_json::Value::from(document).to_string();
        let whole =
            |one: &str, many: usize| format!("{{\"alerts\":[{}]}}", vec![one; many].join(","));
        assert!(is_bearable(whole(&document, 300).as_bytes()));
        for tiny in ["0", "{}", "[]", r#"{"":0}"#] {
            let many = (8 << 20) / (tiny.len() + 1);
            assert!(!is_bearable(whole(tiny, many).as_bytes()), "{tiny}");
        }
        let addresses: Vec<String> = (0..10_000).map(|n| format!("2001:db8::{n:x}")).collect();
        assert!(is_bearable(json!({ "ips": addresses }).to_string().as_bytes()));
    }
}
