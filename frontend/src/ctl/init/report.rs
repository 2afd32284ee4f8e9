//! What `init` tells: what it made and kept, whom it protected, and what is next.

use serde::Serialize;

use crate::ctl::certificate::Certificate;
use crate::ctl::init::Changes;
use crate::ctl::init::folder::{Folder, Kind, old};
use crate::ctl::init::guide::Before;
use crate::ctl::init::protection::Entry;
use crate::ctl::kibana::{Guide, Here, Which};
use crate::ctl::machine::Machine;
use crate::ctl::never_block;
use crate::ctl::output::Line;
use crate::ctl::rules::command_for_kibana;
use crate::server::config::Config;
use crate::times::{self, rfc3339};

/// As JSON.
#[derive(Serialize)]
pub(super) struct Report {
    made: Vec<String>,
    replaced: Vec<String>,
    retired: Vec<String>,
    kept: Vec<String>,
    allowed: Vec<String>,
    protected: Vec<Entry>,
    notes: Vec<String>,
    #[serde(skip)]
    port: u16,
    /// None where the certificate cannot be read.
    certificate: Option<Served>,
    /// With --from-guide.
    #[serde(skip_serializing_if = "Option::is_none")]
    guide: Option<Before>,
    kibana: Guide,
}

#[derive(Serialize)]
struct Served {
    names: Vec<String>,
    until: String,
    #[serde(skip)]
    ends: u64,
}

impl Report {
    /// Looks at the folder as it is now.
    pub(super) fn new(
        folder: &Folder,
        host: &Machine,
        changes: Changes,
        token: Option<String>,
        guide: Option<Before>,
    ) -> Self {
        let shown = |kind: Kind| folder.file(kind).display().to_string();
        let written = |kind: Kind| changes.files.iter().find(|new| new.kind == kind);
        let all = |wanted: fn(Option<bool>) -> bool| {
            let kinds = Kind::ALL.into_iter().filter(|kind| folder.has(*kind));
            let kinds = kinds.filter(|kind| wanted(written(*kind).map(|new| new.replaces)));
            kinds.map(shown).collect()
        };
        let there = folder.read(Kind::Cert).ok().and_then(|text| Certificate::read(&text));
        let own = host.sans();
        let best = there.as_ref().and_then(Certificate::first_name);
        let best = best.or_else(|| own.first());
        let best = best.map_or_else(|| "HOST".to_owned(), |name| name.in_url());
        let listen = Config::load(&folder.file(Kind::Webhookd)).map(|config| config.listen);
        let port = listen.map_or(DEFAULT_PORT, |listen| listen.port());
        let here = Here::new(
            &host.name,
            &format!("{best}:{port}"),
            folder.file(Kind::Token),
            folder.has(Kind::CaCert).then(|| folder.file(Kind::CaCert)),
            // What is wrong with the file, check tells.
            never_block::networks(&folder.file(Kind::Privd)).unwrap_or_default(),
        );
        Self {
            port,
            guide,
            made: all(|written| written == Some(false)),
            replaced: all(|written| written == Some(true)),
            retired: changes.retired.iter().map(|kind| shown(*kind)).collect(),
            kept: all(|written| written.is_none()),
            kibana: Guide::new(&here, token, Which::Wide, None),
            certificate: there.map(|there| Served {
                names: there.names.iter().map(ToString::to_string).collect(),
                until: rfc3339(there.until),
                ends: there.until,
            }),
            allowed: changes.allowed,
            protected: changes.protected,
            notes: changes.notes,
        }
    }

    /// For people.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        let before = |path: &String| old(path.as_ref()).display().to_string();
        lines.extend(self.made.iter().map(|path| format!("made      {path}").into()));
        for path in &self.replaced {
            lines.push(format!("replaced  {path}, the old one is {}", before(path)).into());
        }
        for path in &self.retired {
            lines.push(format!("moved     {path} to {}", before(path)).into());
        }
        lines.extend(self.kept.iter().map(|path| format!("kept      {path}").into()));
        for own in &self.allowed {
            lines.push(format!("allow-clients: {own}, an address of this host").into());
        }
        for Entry { address, why } in &self.protected {
            lines.push(format!("never-block: {address}, {why}").into());
        }
        lines.extend(self.notes.iter().map(Line::from));
        if let Some(served) = &self.certificate {
            let sentence = format!(
                "The certificate is good until {} for",
                times::told(served.ends, times::now())
            );
            lines.push(sentence.into());
            lines.extend(served.names.iter().map(|name| Line::Whole(format!("  {name}"))));
        }
        if let Some(guide) = &self.guide {
            lines.push(String::new().into());
            lines.extend(guide.lines());
        }
        lines.push(String::new().into());
        lines.extend(self.kibana.lines());
        lines.push(String::new().into());
        lines.push("Next:".to_owned().into());
        if !self.replaced.is_empty() {
            let privd = if self.protected_anew() { " webhook-privd" } else { "" };
            let command = format!("  sudo systemctl reload-or-restart webhookd{privd}");
            lines.push(Line::Whole(command));
        }
        lines.push(Line::Whole(format!("  {}", command_for_kibana(self.port))));
        lines.push(Line::Whole("  sudo webhookctl check".to_owned()));
        lines.push(Line::Whole("  webhookctl kibana apply --help".to_owned()));
        lines
    }

    fn protected_anew(&self) -> bool {
        self.replaced.iter().any(|path| path.ends_with(Kind::Privd.name()))
    }
}

/// Where the configuration cannot be read.
const DEFAULT_PORT: u16 = 5001;
