//! Without a licence for Kibana's connector: ElastAlert 2 posts, or a script of root's blocks. Both count
//! what the guide's rule counts.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tests::audit_log::{WEBHOOKD, check, document, logging_world};
use tests::detection::Query;
use tests::https::request;
use tests::world::{ATTACKER, SERVER};
use tests::{World, shipped, until};

#[test]
fn what_elastalert_posts_blocks_the_source() {
    let rule = shipped::yaml("elastalert/webhookd.yaml");
    let world = logging_world("");
    // What its HTTPPostAlerter (2.19.0, elastalert/alerters/httppost.py) makes of the rule and of a
    // document: the static part, then each key with its field, and Python's blanks.
    let mut pairs: Vec<String> = Vec::new();
    for (key, text) in rule["http_post_static_payload"].as_object().unwrap() {
        pairs.push(format!("\"{key}\": {text}"));
    }
    for (key, field) in rule["http_post_payload"].as_object().unwrap() {
        assert_eq!(field, "source.ip", "{key}");
        pairs.push(format!("\"{key}\": \"{ATTACKER}\""));
    }
    let body = format!("{{{}}}", pairs.join(", "));
    assert_eq!(body, format!("{{\"rule_name\": \"SSH brute force\", \"ip\": \"{ATTACKER}\"}}"));
    let bearer = rule["http_post_headers"]["Authorization"].as_str().unwrap();
    let bearer = bearer.replace("TOKEN", &world.token);
    let headers = [
        ("User-Agent", "python-requests/2.34.2"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Accept", "application/json;charset=utf-8"),
        ("Connection", "keep-alive"),
        ("Content-Type", "application/json"),
        ("Authorization", &*bearer),
    ];
    let url = rule["http_post_url"].as_str().unwrap();
    let path = url.strip_prefix("https://HOST:5001").unwrap();
    let answer = world.send(&request("POST", path, &headers, &body));
    assert_eq!((answer.status, answer.message()), (200, &*format!("Blocked IP: {ATTACKER}")));
    assert!(!world.attacker_connects(SERVER));
    check(&document(&world, WEBHOOKD, "webhook-accepted"), json!({ "webhookd.token": "kibana" }));
    assert_eq!(world.ctl_json("list")[0]["rule_name"], "SSH brute force");
}

#[test]
fn the_other_ways_count_what_the_rule_of_the_guide_counts() {
    let rule = shipped::json("kibana/rule-guide.json");
    let terms = Query::parsed(rule["query"].as_str().unwrap()).0;
    let (field, most) = (&rule["threshold"]["field"][0], &rule["threshold"]["value"]);

    let elastalert = shipped::yaml("elastalert/webhookd.yaml");
    let lucene = terms.iter().map(|(field, values)| format!("{field}:\"{}\"", values[0]));
    let lucene = lucene.collect::<Vec<_>>().join(" AND ");
    let filter = json!([{ "query": { "query_string": { "query": lucene } } }]);
    for (key, expected) in [
        ("type", &json!("frequency")),
        ("name", &rule["name"]),
        ("index", &rule["index"][0]),
        ("filter", &filter),
        ("query_key", field),
        ("num_events", most),
    ] {
        assert_eq!(&elastalert[key], expected, "{key}");
    }
    let minutes = &elastalert["timeframe"]["minutes"];
    assert_eq!(rule["from"], format!("now-{minutes}m"));

    let query = shipped::json("script/query.json");
    let mut filters: Vec<Value> =
        terms.iter().map(|(field, values)| json!({ "term": { *field: values[0] } })).collect();
    filters.push(json!({ "range": { "@timestamp": { "gt": rule["from"], "lte": rule["to"] } } }));
    let groups = json!({ "field": field, "min_doc_count": most, "size": rule["max_signals"] });
    let expected = json!({
        "size": 0,
        "query": { "bool": { "filter": filters } },
        "aggs": { "sources": { "terms": groups } },
    });
    assert_eq!(query, expected);
}

#[test]
fn a_script_of_roots_blocks_what_elasticsearch_counts_and_nothing_that_is_no_address() {
    let world = World::new();
    let found = |keys: &[&str]| {
        let buckets: Vec<Value> = keys.iter().map(|key| json!({ "key": key })).collect();
        json!({ "aggregations": { "sources": { "buckets": buckets } } })
    };
    assert!(world.attacker_connects(SERVER));
    for (status, answer, code, blocked) in [
        ("200 OK", json!({}), 0, 0),
        ("200 OK", found(&["--all", "x; reboot", "$(id)"]), 0, 0),
        ("200 OK", found(&[ATTACKER, "2001:db8:1::7"]), 0, 2),
        // Blocked already.
        ("200 OK", found(&[ATTACKER]), 0, 2),
        // Of what is protected the others are blocked all the same.
        ("200 OK", found(&["127.0.0.1", "198.51.100.9"]), 1, 3),
        // curl's own status.
        ("403 Forbidden", found(&["198.51.100.10"]), 22, 3),
    ] {
        assert_eq!(asked(&world, status, &answer), code, "{answer}");
        let list = world.ctl_json("list");
        assert_eq!(list.as_array().unwrap().len(), blocked, "{answer}: {list}");
    }
    assert!(!world.attacker_connects(SERVER));
    assert_eq!(world.ctl_json("list")[0]["reason"], "10 failed passwords in 5 minutes");
}

/// Runs the script beside an Elasticsearch that answers so, once; its exit status.
fn asked(world: &World, status: &str, answer: &Value) -> i32 {
    let elasticsearch = world.server.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("http://{}", elasticsearch.local_addr().unwrap());
    world.write("curl.conf", "header = \"Authorization: ApiKey abc\"\n");
    let script = shipped::path("script/block-brute-force").display().to_string();
    let command = format!("PATH=/mnt:$PATH exec {script} {url} {}", world.path("curl.conf"));
    std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(&elasticsearch, status, answer));
        let output = world.confined.run(&["sh", "-c", &command]);
        let question = served.join().unwrap();
        let (head, body) = question.split_once("\r\n\r\n").unwrap();
        let path = "/filebeat-*/_search?filter_path=aggregations.sources.buckets.key";
        assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("\r\nAuthorization: ApiKey abc\r\n"), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, shipped::json("script/query.json"));
        output.status.code().unwrap()
    })
}

/// Answers one question; what it was.
fn serve(listener: &TcpListener, status: &str, answer: &Value) -> String {
    listener.set_nonblocking(true).unwrap();
    let mut stream = None;
    until("the script asks", 20, || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (mut stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut question = String::new();
    let length = |head: &str| -> Option<usize> {
        let head = head.to_ascii_lowercase();
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
    };
    let mut buffer = [0; 4096];
    while question
        .split_once("\r\n\r\n")
        .is_none_or(|(head, body)| length(head).is_some_and(|length| body.len() < length))
    {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the question ends early: {question}");
        question += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", answer.len());
    stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
    question
}
