//! packaging/elastic: what is shipped for Filebeat, Elasticsearch, Kibana and ElastAlert fits what the
//! daemons write and take, and each other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tests::shipped;

#[test]
fn filebeat_ships_exactly_the_logs_that_the_shipped_configurations_name() {
    let [input] = &list(&shipped::yaml("filebeat/inputs.d/webhookd.yml"))[..] else {
        panic!("one input")
    };
    let named = ["webhookd.toml", "privd.toml"].map(|file| {
        let text = shipped::text(&format!("../config/{file}"));
        let log = text.lines().find_map(|line| line.strip_prefix("audit-log = "));
        log.unwrap_or_else(|| panic!("{file} has no audit-log")).replace('"', "")
    });
    assert_eq!(input["paths"], json!(named));
    // logrotate renames exactly these.
    let rotated = shipped::text("../debian/logrotate");
    for path in &named {
        let folder = Path::new(path).parent().unwrap().display();
        assert!(rotated.contains(&format!("{folder}/*.ndjson {{")), "{path}: {rotated}");
    }
    let parsing =
        json!({ "target": "", "overwrite_keys": true, "expand_keys": true, "add_error_key": true });
    assert_eq!(input["parsers"], json!([{ "ndjson": parsing }]));
    let keys = [
        "enabled",
        "file_identity.native",
        "id",
        "parsers",
        "paths",
        "pipeline",
        "prospector.scanner.fingerprint.enabled",
        "type",
    ];
    assert_eq!(names(input), keys);
    assert_eq!(input["type"], "filestream");
    assert_eq!(input["prospector.scanner.fingerprint.enabled"], false);
    // The README has it put there under this name.
    let put = format!("_ingest/pipeline/{}", input["pipeline"].as_str().unwrap());
    assert!(shipped::text("README.md").contains(&put), "{put}");
}

#[test]
fn the_module_reads_what_sshd_says_from_a_file_or_from_the_journal() {
    let module = |text: &str| -> Value { list(&shipped::parsed(text)).remove(0) };
    let text = shipped::text("filebeat/modules.d/system.yml");
    let expected =
        |fileset: Value| json!({ "module": "system", "syslog": fileset, "auth": fileset });
    assert_eq!(module(&text), expected(json!({ "enabled": true })));
    // What is commented out is right as well.
    let journal = text.replace("#var.", "var.");
    assert_eq!(module(&journal), expected(json!({ "enabled": true, "var.use_journald": true })));
}

/// What the guide changes in filebeat.yml: no path that the module or our input reads, no Logstash.
#[test]
fn nothing_is_shipped_twice_and_nothing_by_logstash() {
    let settings = shipped::yaml("filebeat/filebeat.yml");
    assert_eq!(
        names(&settings),
        [
            "filebeat.config.inputs",
            "filebeat.config.modules",
            "filebeat.inputs",
            "output.elasticsearch"
        ]
    );
    for (key, folder) in [("modules", "modules.d"), ("inputs", "inputs.d")] {
        let path = &settings[format!("filebeat.config.{key}")]["path"];
        assert_eq!(*path, format!("${{path.config}}/{folder}/*.yml"));
        assert!(shipped::path(&format!("filebeat/{folder}")).is_dir());
    }
    // Otherwise the folder is not looked at.
    assert_eq!(settings["filebeat.config.inputs"]["enabled"], true);
    for input in list(&settings["filebeat.inputs"]) {
        for path in list(&input["paths"]) {
            let path = path.as_str().unwrap();
            for read in [
                "auth.log",
                "secure",
                "syslog",
                "messages",
                "webhookd/audit.ndjson",
                "webhook-privd/audit.ndjson",
            ] {
                assert!(!fits(path, &format!("/var/log/{read}")), "{path} reads {read} again");
            }
        }
    }
    let output = &settings["output.elasticsearch"];
    assert_eq!(names(output), ["api_key", "hosts", "ssl.certificate_authorities"]);
    assert!(output["hosts"][0].as_str().unwrap().starts_with("https://"));
    let variable = output["api_key"].as_str().unwrap();
    let variable = variable.strip_prefix("${").and_then(|name| name.strip_suffix('}')).unwrap();
    assert!(shipped::text("README.md").contains(&format!("filebeat keystore add {variable}")));
}

#[test]
fn each_file_says_for_which_versions_it_was_written_and_the_readme_names_it() {
    let readme = shipped::text("README.md");
    for name in files() {
        let text = shipped::text(&name);
        assert!(!text.contains('\t'), "{name} has a tab");
        // What is for Kibana has a table of its own in kibana/README.md.
        let told = name.starts_with("kibana/")
            || name == "README.md"
            || readme.contains(&format!("`{name}`"));
        assert!(told, "README.md says nothing of {name}");
        if name.ends_with(".yml")
            || name.ends_with(".yaml")
            || name == "elasticsearch/pipeline.json"
        {
            assert!(text.contains(" 8.8 to 9.x") || text.contains("ElastAlert 2, "), "{name}");
        }
    }
    let of_kibana = shipped::text("kibana/README.md");
    for name in files().iter().filter_map(|name| name.strip_prefix("kibana/")) {
        assert!(name == "README.md" || of_kibana.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn the_package_brings_each_file_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let unpacked = Command::new("dpkg-deb")
        .arg("--extract")
        .args([tests::package::path(), directory.path()])
        .status();
    assert!(unpacked.unwrap().success());
    for name in files() {
        let installed = directory.path().join("usr/share/webhookd/elastic").join(&name);
        let text = fs::read_to_string(&installed).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(text, shipped::text(&name), "{name}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o111;
        assert_eq!(mode(&installed), mode(&shipped::path(&name)), "{name}");
    }
}

/// All that is shipped.
fn files() -> Vec<String> {
    let (mut folders, mut files) = (vec![shipped::path("")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(shipped::path("")).unwrap().display().to_string();
            if path.is_dir() { folders.push(path) } else { files.push(name) }
        }
    }
    files
}

/// Whether a path is one of a pattern's, in which a star stands for any part of a name.
fn fits(pattern: &str, path: &str) -> bool {
    let (patterns, names) = (pattern.split('/'), path.split('/'));
    patterns.clone().count() == names.clone().count()
        && patterns.zip(names).all(|(pattern, name)| match pattern.split_once('*') {
            None => pattern == name,
            Some((before, after)) => name.starts_with(before) && name.ends_with(after),
        })
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}")).clone()
}
