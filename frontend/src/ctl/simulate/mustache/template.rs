//! A template taken apart, as mustache.js 4.2.0 does it, which Kibana renders with.
//!
//! No crate was found that could stand in: they escape for HTML alone, know neither Kibana's texts of
//! objects and lists nor its functions, and word mistakes differently, which is what Kibana sends.

/// A piece of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// As it is.
    Text(&'a str),
    /// `{{name}}`.
    Escaped(&'a str),
    /// `{{{name}}}` and `{{&name}}`.
    Raw(&'a str),
    /// `{{#name}}...{{/name}}`; the text between is what Kibana's functions get.
    Section { name: &'a str, inner: Vec<Self>, text: &'a str },
    /// `{{^name}}...{{/name}}`.
    Inverted { name: &'a str, inner: Vec<Self> },
}

/// Takes a template apart.
///
/// # Errors
/// mustache.js's own words.
pub(super) fn parse(template: &str) -> Result<Vec<Token<'_>>, TemplateError> {
    let mut scanner = Scanner {
        template,
        tail: template,
        open: "{{".to_owned(),
        close: "}}".to_owned(),
        sections: Vec::new(),
        pieces: Vec::new(),
        line: Line::default(),
    };
    while scanner.tag()? {}
    scanner.end_line();
    match scanner.sections.pop() {
        Some(name) => {
            Err(scanner.error(&format!("Unclosed section \"{name}\""), scanner.position()))
        }
        None => Ok(nested(template, &scanner.pieces)),
    }
}

/// mustache.js's words for a template that cannot be read.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct TemplateError(pub(super) String);

/// What stands one after the other.
enum Piece<'a> {
    /// Part of one line.
    Text(&'a str),
    /// A tag by its sign, a blank for none, and the bytes where it begins and ends.
    Tag { sign: char, name: &'a str, start: usize, end: usize },
    /// Blanks that were taken out.
    Nothing,
}

struct Scanner<'a> {
    template: &'a str,
    tail: &'a str,
    open: String,
    close: String,
    /// Those that are open, by name.
    sections: Vec<&'a str>,
    pieces: Vec<Piece<'a>>,
    line: Line,
}

/// What stands in a line: one with nothing but blanks and a section's tag leaves nothing behind.
#[derive(Default)]
struct Line {
    /// Places of the texts in it.
    texts: Vec<usize>,
    has_tag: bool,
    has_more: bool,
}

impl<'a> Scanner<'a> {
    /// Reads up to the end of the next tag; whether there was one.
    fn tag(&mut self) -> Result<bool, TemplateError> {
        let (open, close) = (self.open.clone(), self.close.clone());
        let text = self.tail.find(&open).unwrap_or(self.tail.len());
        self.text(text);
        let start = self.position();
        if !self.skip(&open) {
            return Ok(false);
        }
        self.skip_blanks();
        self.line.has_tag = true;
        let sign = self.tail.chars().next().filter(|sign| SIGNS.contains(*sign)).unwrap_or(' ');
        self.skip(sign.encode_utf8(&mut [0; 4]));
        self.skip_blanks();
        let name = match sign {
            '=' => {
                let name = self.until("=");
                self.skip_after_blanks("=");
                self.until(&close);
                name
            }
            '{' => {
                let name = self.until(&format!("}}{close}"));
                self.skip_after_blanks("}");
                self.until(&close);
                name
            }
            _ => self.until(&close),
        };
        if !self.skip_after_blanks(&close) {
            return Err(self.error("Unclosed tag", self.position()));
        }
        self.pieces.push(Piece::Tag { sign, name, start, end: self.position() });
        match sign {
            '#' | '^' if self.sections.len() >= MAX_DEPTH => {
                let words = format!("more than {MAX_DEPTH} sections in each other");
                return Err(self.error(&words, start));
            }
            '#' | '^' => self.sections.push(name),
            '/' => match self.sections.pop() {
                None => return Err(self.error(&format!("Unopened section \"{name}\""), start)),
                Some(open) if open != name => {
                    return Err(self.error(&format!("Unclosed section \"{open}\""), start));
                }
                Some(_) => {}
            },
            '=' => self.delimiters(name)?,
            '!' | '>' => {}
            _ => self.line.has_more = true,
        }
        Ok(true)
    }

    /// Takes so many bytes as text, line by line.
    fn text(&mut self, bytes: usize) {
        for part in self.take(bytes).split_inclusive('\n') {
            self.line.has_more |= !part.chars().all(is_blank);
            self.line.texts.push(self.pieces.len());
            self.pieces.push(Piece::Text(part));
            if part.ends_with('\n') {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.has_tag && !line.has_more {
            for place in line.texts {
                if let Some(piece) = self.pieces.get_mut(place) {
                    *piece = Piece::Nothing;
                }
            }
        }
    }

    fn delimiters(&mut self, text: &str) -> Result<(), TemplateError> {
        let mut words = text.split(is_blank).filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some(open), Some(close)) => {
                self.open = open.to_owned();
                self.close = close.to_owned();
                Ok(())
            }
            _ => Err(TemplateError(format!("Invalid tags: {text}"))),
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, tail) = self.tail.split_at_checked(bytes).unwrap_or((self.tail, ""));
        self.tail = tail;
        taken
    }

    /// What stands ahead of a mark and of the blanks around it; all where there is none.
    fn until(&mut self, mark: &str) -> &'a str {
        let end = self.tail.find(mark).map(|at| self.tail.get(..at).unwrap_or_default());
        let bytes = end.map_or(self.tail.len(), |text| text.trim_end_matches(is_blank).len());
        self.take(bytes)
    }

    fn skip(&mut self, mark: &str) -> bool {
        let tail = self.tail.strip_prefix(mark);
        self.tail = tail.unwrap_or(self.tail);
        tail.is_some()
    }

    fn skip_after_blanks(&mut self, mark: &str) -> bool {
        let tail = self.tail.trim_start_matches(is_blank).strip_prefix(mark);
        self.tail = tail.unwrap_or(self.tail);
        tail.is_some()
    }

    fn skip_blanks(&mut self) {
        self.tail = self.tail.trim_start_matches(is_blank);
    }

    /// Bytes that were read.
    fn position(&self) -> usize {
        self.template.len().saturating_sub(self.tail.len())
    }

    /// JavaScript counts in units of UTF-16.
    fn error(&self, words: &str, at: usize) -> TemplateError {
        let at = self.template.get(..at).unwrap_or_default().encode_utf16().count();
        TemplateError(format!("{words} at {at}"))
    }
}

/// Puts what stands in a section into it.
fn nested<'a>(template: &'a str, pieces: &[Piece<'a>]) -> Vec<Token<'a>> {
    let mut tokens = Vec::new();
    let mut around = Vec::new();
    for piece in pieces {
        match *piece {
            Piece::Nothing => {}
            Piece::Text(text) => tokens.push(Token::Text(text)),
            Piece::Tag { sign: sign @ ('#' | '^'), end, .. } => {
                around.push((std::mem::take(&mut tokens), sign, end));
            }
            Piece::Tag { sign: '/', name, start, .. } => {
                // The scanner has seen to it that one is open.
                let Some((outer, sign, begin)) = around.pop() else { continue };
                let inner = std::mem::replace(&mut tokens, outer);
                let text = template.get(begin..start).unwrap_or_default();
                tokens.push(match sign {
                    '^' => Token::Inverted { name, inner },
                    _ => Token::Section { name, inner, text },
                });
            }
            Piece::Tag { sign: '{' | '&', name, .. } => tokens.push(Token::Raw(name)),
            // A comment, other delimiters, or another template, of which Kibana has none.
            Piece::Tag { sign: '!' | '=' | '>', .. } => {}
            Piece::Tag { name, .. } => tokens.push(Token::Escaped(name)),
        }
    }
    tokens
}

/// What JavaScript takes for white space: Unicode's, with the byte order mark and without U+0085.
pub(super) fn is_blank(character: char) -> bool {
    character == '\u{feff}' || (character.is_whitespace() && character != '\u{85}')
}

/// What a tag may begin with.
const SIGNS: &str = "#^/>{&=!";
/// Sections in each other; no template needs more than a handful.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_mustaches_words_and_places() {
        for (template, expected) in [
            (r#"{"ip":"{{context.alerts.0.source.ip}"}"#, "Unclosed tag at 38"),
            ("é🙂{{x}", "Unclosed tag at 7"),
            ("{{{x}}", "Unclosed tag at 6"),
            ("{{#a}}x", "Unclosed section \"a\" at 7"),
            ("x{{/a}}", "Unopened section \"a\" at 1"),
            ("{{#a}}{{#b}}{{/a}}", "Unclosed section \"b\" at 12"),
            ("{{=<%=}}", "Invalid tags: <%"),
            ("{{= <% ", "Unclosed tag at 7"),
        ] {
            assert_eq!(parse(template), Err(TemplateError(expected.to_owned())), "{template}");
        }
        let deep = "{{#a}}".repeat(100_000);
        assert!(parse(&deep).unwrap_err().0.starts_with("more than 64 sections"));
    }

    #[test]
    fn a_line_of_its_own_for_a_section_leaves_nothing_behind() {
        let section = |inner| Token::Section { name: "a", inner, text: "\n x\n " };
        let expected =
            vec![Token::Text("-\n"), section(vec![Token::Text(" x\n")]), Token::Text("-")];
        assert_eq!(parse("-\n {{# a }}\n x\n {{/a}} \n-"), Ok(expected));
        let names = vec![Token::Text(" "), Token::Escaped("a"), Token::Text(" \n")];
        assert_eq!(parse(" {{a}} \n"), Ok(names));
    }

    #[test]
    fn delimiters_comments_and_raw_values_are_known() {
        let expected =
            vec![Token::Raw("a"), Token::Raw("b"), Token::Text("{{c}}"), Token::Escaped("d")];
        assert_eq!(parse("{{{ a }}}{{& b }}{{! c }}{{> c}}{{=<% %>=}}{{c}}<% d %>"), Ok(expected));
    }
}
