//! packaging/elastic/kibana/dashboard.ndjson: it imports as a whole, and shows what the daemons write.

use std::collections::{BTreeMap, BTreeSet};

use logging::Action;
use serde_json::{Value, json};
use tests::audit_log::{FIELDS, PRIVD, WEBHOOKD, document, documents, logging_world};
use tests::detection::Query;
use tests::https::{JSON, request};
use tests::shipped;
use tests::world::ATTACKER;

/// A saved object's migrations end with its type's newest version; Kibana refuses what is newer than it
/// is. These are those of Kibana 8.8.
const VERSIONS: [(&str, &str); 3] =
    [("dashboard", "8.7.0"), ("index-pattern", "8.0.0"), ("visualization", "8.5.0")];

/// The fields that Elasticsearch's processor geoip adds for a city where it is told none (its
/// reference, "GeoIP processor", option `properties`).
const GEO: [(&str, &str); 7] = [
    ("city_name", "keyword"),
    ("continent_name", "keyword"),
    ("country_iso_code", "keyword"),
    ("country_name", "keyword"),
    ("location", "geo_point"),
    ("region_iso_code", "keyword"),
    ("region_name", "keyword"),
];

#[test]
fn each_object_is_of_kibana_8_8_and_refers_to_objects_of_the_file_alone() {
    let objects = objects();
    let mut ids = BTreeSet::new();
    for object in &objects {
        let (kind, id) = (object["type"].as_str().unwrap(), object["id"].as_str().unwrap());
        assert!(ids.insert((kind, id)), "{kind} {id} is there twice");
        let keys = [
            "type",
            "id",
            "attributes",
            "references",
            "coreMigrationVersion",
            "typeMigrationVersion",
        ];
        let there: BTreeSet<&str> =
            object.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(there, BTreeSet::from(keys), "{id}");
        let version = object["typeMigrationVersion"].as_str().unwrap();
        assert!(VERSIONS.contains(&(kind, version)), "{kind} {version}");
        assert_eq!(object["coreMigrationVersion"], "8.8.0");
    }
    for object in &objects {
        for reference in object["references"].as_array().unwrap() {
            let to = (reference["type"].as_str().unwrap(), reference["id"].as_str().unwrap());
            assert!(ids.contains(&to), "{} refers to {to:?}", object["id"]);
        }
    }
    // What imports has to be found: by the only dashboard, whose panels show every visualization once.
    let count = |kind: &str| ids.iter().filter(|(one, _)| *one == kind).count();
    assert_eq!((count("dashboard"), count("index-pattern")), (1, 1));
    let dashboard = objects.iter().find(|object| object["type"] == "dashboard").unwrap();
    let references = by_name(dashboard);
    let mut shown = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in inner(&dashboard["attributes"]["panelsJSON"]).as_array().unwrap() {
        let index = panel["panelIndex"].as_str().unwrap();
        let name = format!("{index}:{}", panel["panelRefName"].as_str().unwrap());
        assert!(shown.insert(references[&name].clone()), "{name} is there twice");
        let grid = |key: &str| panel["gridData"][key].as_u64().unwrap();
        assert!(panel["gridData"]["i"] == index && grid("x") + grid("w") <= 48, "{panel}");
        for x in grid("x")..grid("x") + grid("w") {
            for y in grid("y")..grid("y") + grid("h") {
                assert!(taken.insert((x, y)), "{name} lies over another");
            }
        }
    }
    assert_eq!((shown.len(), references.len()), (count("visualization"), count("visualization")));
}

#[test]
fn each_panel_asks_for_fields_that_are_written_and_actions_that_there_are() {
    let known: BTreeMap<String, String> = FIELDS
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned()))
        .chain(added_by_the_pipeline())
        .collect();
    for panel in panels() {
        for (field, values) in panel.queries.iter().flat_map(|query| Query::parsed(query).0) {
            assert_eq!(
                known.get(field).map(String::as_str),
                Some("keyword"),
                "{}: {field}",
                panel.id
            );
            for value in values.into_iter().filter(|_| field == "event.action") {
                assert!(Action::named(value).is_some(), "{}: nobody says {value}", panel.id);
            }
        }
        for (kind, field) in &panel.fields {
            let of =
                known.get(field).unwrap_or_else(|| panic!("{}: {field} is no field", panel.id));
            let fits = match kind.as_str() {
                "date_histogram" | "max" => of == "date",
                // Only a keyword can have a bucket for documents without it.
                "terms" if panel.needed.contains(field) => of == "keyword" || of == "ip",
                "terms" => of == "keyword",
                "top_hits" => true,
                other => panic!("{}: {other} of {field}", panel.id),
            };
            assert!(fits, "{}: {kind} of {field}, which is a {of}", panel.id);
        }
    }
    // What fails is shown.
    let failures = panels().into_iter().find(|panel| panel.id == "webhookd-failures").unwrap();
    let queries: Vec<_> =
        failures.queries.iter().flat_map(|query| Query::parsed(query).0).collect();
    for action in Action::ALL.iter().map(|action| action.name()) {
        let shown = queries.iter().any(|(_, values)| values.contains(&action));
        assert_eq!(
            shown,
            action.ends_with("-failed") && action.starts_with("ip-")
                || ["ip-block-over-quota", "ip-block-pending", "ip-block-unavailable"]
                    .contains(&action),
            "{action}"
        );
    }
}

/// With documents of real daemons, through the pipeline: no panel stays empty.
#[test]
fn each_panel_shows_something_of_what_the_daemons_wrote() {
    let mut world = logging_world("block-for = \"1d\"\nmax-new-blocks-per-minute = 3");
    let alert = json!({ "ip": ATTACKER, "rule_name": "SSH brute force" });
    assert_eq!(world.post(&alert).status, 200);
    assert_eq!(world.post(&json!({ "ip": "127.0.0.1" })).status, 422);
    assert_eq!(world.post(&json!({ "ips": ["192.0.2.1", "192.0.2.2", "192.0.2.3"] })).status, 429);
    assert_eq!(world.ctl(&["unblock", ATTACKER]).1, 0);
    world.take_programs_away();
    assert_eq!(world.ctl(&["block", "192.0.2.9"]).1, 2);
    let wrong = [("Authorization", "Bearer wrong"), JSON];
    assert_eq!(world.send(&request("POST", "/blockip", &wrong, "{}")).status, 401);
    document(&world, WEBHOOKD, "webhook-auth-failed");
    document(&world, PRIVD, "ip-unblocked");
    world.stop_webhookd(nix::sys::signal::Signal::SIGTERM);
    let mut all: Vec<Value> =
        [PRIVD, WEBHOOKD].into_iter().flat_map(|log| documents(&world, log)).collect();
    for document in all.iter_mut().filter(|document| document["source.ip"].is_string()) {
        for (field, _) in added_by_the_pipeline() {
            document[field] = json!("somewhere");
        }
    }
    for panel in panels() {
        let [query, filters @ ..] = &panel.queries[..] else { panic!("{}", panel.id) };
        let query = Query::parsed(query);
        let found: Vec<&Value> = all.iter().filter(|document| query.finds(document)).collect();
        assert!(!found.is_empty(), "{} finds nothing", panel.id);
        // A document without one of these is in no bucket of the others.
        for document in &found {
            let lacks = panel.needed.iter().find(|field| document.get(field.as_str()).is_none());
            assert_eq!(lacks, None, "{} leaves out {document}", panel.id);
        }
        for (_, field) in &panel.fields {
            assert!(
                found.iter().any(|document| document.get(field).is_some()),
                "{}: {field}",
                panel.id
            );
        }
        for filter in filters {
            let filter = Query::parsed(filter);
            assert!(
                found.iter().any(|document| filter.finds(document)),
                "{}: {filter:?}",
                panel.id
            );
        }
    }
}

/// A visualization as far as it asks for something.
struct Panel {
    id: String,
    /// Its query, then those of its filters.
    queries: Vec<String>,
    /// Kind of aggregation and field.
    fields: Vec<(String, String)>,
    /// Those without which a document is left out.
    needed: Vec<String>,
}

fn panels() -> Vec<Panel> {
    let visualizations = objects().into_iter().filter(|object| object["type"] == "visualization");
    visualizations
        .map(|object| {
            let id = object["id"].as_str().unwrap().to_owned();
            let attributes = &object["attributes"];
            let source = inner(&attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]);
            let view = source["indexRefName"].as_str().unwrap();
            assert_eq!(by_name(&object)[view], "webhookd-audit", "{id}");
            assert_eq!(source["query"]["language"], "kuery");
            let mut queries = vec![source["query"]["query"].as_str().unwrap().to_owned()];
            assert!(queries[0].starts_with("event.dataset : \"webhookd.audit\" and "), "{id}");
            let state = inner(&attributes["visState"]);
            assert_eq!(state["title"], attributes["title"]);
            let (mut fields, mut needed) = (Vec::new(), Vec::new());
            let mut numbers = BTreeSet::new();
            for aggregation in state["aggs"].as_array().unwrap() {
                assert!(numbers.insert(aggregation["id"].as_str().unwrap()), "{id}: {aggregation}");
                let (kind, of) = (aggregation["type"].as_str().unwrap(), &aggregation["params"]);
                match kind {
                    "count" => {}
                    "filters" => {
                        queries.extend(
                            of["filters"].as_array().unwrap().iter().map(|filter| {
                                filter["input"]["query"].as_str().unwrap().to_owned()
                            }),
                        )
                    }
                    _ => fields.push((kind.to_owned(), of["field"].as_str().unwrap().to_owned())),
                }
                if kind == "terms" && of["missingBucket"] == false {
                    needed.push(of["field"].as_str().unwrap().to_owned());
                }
                // What orders terms is an aggregation of its own.
                assert!(kind != "terms" || of["orderBy"] == state["aggs"][0]["id"], "{id}");
            }
            Panel { id, queries, fields, needed }
        })
        .collect()
}

/// What pipeline.json makes of a document with a `source.ip`: each field with its type.
fn added_by_the_pipeline() -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for processor in shipped::json("elasticsearch/pipeline.json")["processors"].as_array().unwrap()
    {
        let (kind, of) = processor.as_object().unwrap().iter().next().unwrap();
        let text = |key: &str| of[key].as_str().unwrap();
        assert_eq!(of["ignore_missing"], true, "a document about a network has no source.ip");
        match (kind.as_str(), &of["properties"]) {
            ("geoip", Value::Null) => {
                assert_eq!(text("field"), "source.ip");
                let to = text("target_field");
                fields.extend(GEO.map(|(name, kind)| (format!("{to}.{name}"), kind.to_owned())));
            }
            ("geoip", Value::Array(chosen)) => {
                assert_eq!(
                    (text("field"), text("database_file")),
                    ("source.ip", "GeoLite2-ASN.mmdb")
                );
                for name in chosen.iter().map(|name| name.as_str().unwrap()) {
                    let kind = if name == "asn" { "long" } else { "keyword" };
                    fields.insert(format!("{}.{name}", text("target_field")), kind.to_owned());
                }
            }
            ("rename", Value::Null) => {
                let kind = fields.remove(text("field")).unwrap_or_else(|| panic!("{of}"));
                fields.insert(text("target_field").to_owned(), kind);
            }
            other => panic!("{other:?}"),
        }
    }
    fields
}

fn objects() -> Vec<Value> {
    let text = shipped::text("kibana/dashboard.ndjson");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// JSON within a text.
fn inner(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// The id that each reference of an object is to.
fn by_name(object: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let references = object["references"].as_array().unwrap().iter();
    references.map(|reference| (text(&reference["name"]), text(&reference["id"]))).collect()
}
