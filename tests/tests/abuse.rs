//! Whatever one source does to webhookd, a genuine alert from another is answered within a second.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use serde_json::json;
use tests::https::{self, Connection, JSON, exchange, read_answer, request};
use tests::processes::{descriptors, peak_memory};
use tests::world::ATTACKER;
use tests::{World, until};

/// In TEST-NET-1, where no test's host lives.
const ADDRESS: &str = "192.0.2.45";
const DOOR: &str = "10.9.0.1:5001";

/// A world whose attacker is one of two clients that are let in; Kibana's address is blocked already.
fn world() -> World {
    let mut world =
        World::without_daemons(&format!("ufw allow proto tcp from {ATTACKER} to any port 5001"));
    world.configure("", &format!("allow-clients = [\"10.9.0.2\", \"{ATTACKER}\"]"));
    world.attacker.sh("ip route add 10.9.0.1 via 203.0.113.1");
    world.start();
    world.block(ADDRESS);
    world
}

/// Lets `threads` of the attacker's do `abuse` over and over, and meanwhile asks as Kibana does.
/// Afterwards nothing is left of it, it has taken little memory, and the log has not been filled by it.
fn meanwhile(world: &World, threads: usize, abuse: impl Fn(usize) + Sync) {
    let before = descriptors(world.webhookd_pid());
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (stop, done, abuse) = (&stop, &done, &abuse);
            scope.spawn(move || {
                world.attacker.inside(|| {
                    while !stop.load(Ordering::Relaxed) {
                        abuse(thread);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
        }
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("the abuse is under way", 20, || done.load(Ordering::Relaxed) >= threads);
            let (began, mut worst) = (Instant::now(), Duration::ZERO);
            while began.elapsed() < MEANWHILE {
                let asked = Instant::now();
                let answer = world.post(&json!({ "ip": ADDRESS }));
                assert_eq!((answer.status, answer.outcomes()), (200, vec!["already-blocked"]));
                worst = worst.max(asked.elapsed());
                assert!(worst < Duration::from_secs(1), "answered after {worst:?}");
            }
            worst
        }));
        stop.store(true, Ordering::Relaxed);
        let worst = served.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        eprintln!(
            "abused {} times, answered after {worst:?} at most",
            done.load(Ordering::Relaxed)
        );
    });
    until("all connections of the abuse are closed", 40, || {
        descriptors(world.webhookd_pid()) <= before + TO_PRIVD
    });
    let peak = peak_memory(world.webhookd_pid());
    eprintln!("at most {peak} KiB of memory");
    assert!(peak < MEMORY_KIB, "webhookd took {peak} KiB");
    assert_eq!(world.post(&json!({ "ip": ADDRESS })).status, 200);
    let log = world.read("webhookd.log");
    // Kibana's own lines, and what is judged, are others.
    let others = |line: &&str| !line.contains(" webhook, ") && !line.contains("unauthorized");
    let lines: Vec<&str> = log.lines().filter(others).collect();
    assert!(lines.len() < 100, "{} lines, as {:?}", lines.len(), lines.last());
}

fn plain() -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&DOOR.parse().unwrap(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// A connection with TLS, if it is let in.
fn secure(world: &World) -> Option<Connection> {
    let stream = plain().ok()?;
    let mut connection = https::Client::trusting(&world.directory.path().join("cert.pem"))
        .handshake(stream, "10.9.0.1");
    connection.conn.complete_io(&mut connection.sock).ok()?;
    Some(connection)
}

/// Keeps so many connections open, each in the state that `open` leaves it in, and does `more` to
/// each in turn; where that fails it is opened anew.
fn hold<T>(
    many: usize,
    held: &mut Vec<T>,
    open: impl Fn() -> Option<T>,
    more: impl Fn(&mut T) -> ControlFlow<()>,
) {
    held.retain_mut(|one| more(one).is_continue());
    while held.len() < many {
        match open() {
            Some(one) => held.push(one),
            None => break,
        }
    }
}

/// The bytes of a client's first flight.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("10.9.0.1").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

const fn lasting(result: &io::Result<()>) -> ControlFlow<()> {
    if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

#[test]
fn a_thousand_slow_connections() {
    let world = world();
    let held = std::sync::Mutex::new((Vec::new(), Vec::new()));
    let hello = client_hello();
    let right = world.bearer();
    let head = request("POST", "/blockip", &[("Authorization", &right), JSON], "");
    meanwhile(&world, 1, |_| {
        let (silent, slow) = &mut *held.lock().unwrap();
        // The beginning of a handshake, byte by byte.
        hold(
            1000,
            silent,
            || plain().ok().map(|stream| (stream, 0)),
            |(stream, sent)| {
                *sent += 1;
                lasting(&stream.write_all(&hello[*sent - 1..*sent]))
            },
        );
        // The beginning of a request.
        hold(
            20,
            slow,
            || secure(&world).map(|one| (one, 0)),
            |(connection, sent)| {
                *sent += 1;
                lasting(&connection.write_all(&head.as_bytes()[*sent - 1..*sent]))
            },
        );
    });
    let log = world.read("webhookd.log");
    assert!(log.contains("its source has a quarter of limits.max-connections"), "{log}");
}

#[test]
fn a_flood_of_handshakes() {
    let world = world();
    let hello = client_hello();
    meanwhile(&world, 8, |_| {
        // The server has done its part when it says something.
        let flight = plain().and_then(|mut stream| {
            stream.write_all(&hello)?;
            stream.read(&mut [0; 1])
        });
        drop(flight);
    });
}

#[test]
fn ten_thousand_bad_tokens() {
    let world = world();
    let counts: [AtomicUsize; 3] = Default::default();
    let began = Instant::now();
    let bad = request("POST", "/blockip", &[("Authorization", "Bearer wrong"), JSON], "");
    meanwhile(&world, 8, |_| {
        let Some(mut connection) = secure(&world) else { return };
        for _ in 0..250 {
            let Ok(answer) = exchange(&mut connection, &bad) else { return };
            let kind = match answer.status {
                401 => 0,
                429 => {
                    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
                    assert_eq!(answer.json["reason"], "too many failed attempts");
                    assert!(answer.message().contains("too many failed attempts"), "{answer:?}");
                    1
                }
                _ => 2,
            };
            counts[kind].fetch_add(1, Ordering::Relaxed);
        }
    });
    let [judged, slowed, other] = counts.map(AtomicUsize::into_inner);
    assert_eq!(other, 0);
    assert!(judged + slowed > 10_000, "{judged} and {slowed} are too few");
    let free = 300 + usize::try_from(began.elapsed().as_millis()).unwrap() / 100;
    assert!((300..=free).contains(&judged), "{judged} tokens were compared, {free} are free");
    // Nobody is locked out: in a moment the right token of that source is one again.
    until("the right token lets in", 5, || {
        world.attacker.inside(|| {
            let right = world.bearer();
            let request = request("GET", "/", &[("Authorization", &right)], "");
            exchange(&mut world.connect_here(), &request).unwrap().status == 404
        })
    });
}

#[test]
fn a_misconfigured_kibana_is_told_of_each_alert_what_is_wrong() {
    let world = world();
    let wrong = request("POST", "/blockip", &[("Authorization", "Bearer x"), JSON], "{}");
    for _ in 0..300 {
        assert_eq!(world.send(&wrong).status, 401);
    }
    // Mended, it is let in at once.
    assert_eq!(world.post(&json!({ "ip": ADDRESS })).status, 200);
}

#[test]
fn bodies_at_the_cap() {
    let world = world();
    let right = world.bearer();
    let headers = [("Authorization", right.as_str()), JSON];
    let open = format!("{{\"ip\":\"{ADDRESS}\",\"x\":[");
    let with = |filling: &str, times: usize| {
        request("POST", "/blockip", &headers, &format!("{open}{}0]}}", filling.repeat(times)))
    };
    let cap = (8 << 20) - 100;
    let bodies = [
        with(" ", cap),
        with(&format!("\"{}\",", "x".repeat(1000)), cap / 1003),
        // A tree of these would take a hundred times their own size.
        with("0,", cap / 2),
        with("{\"\":0},", cap / 7),
    ];
    let answered = AtomicUsize::new(0);
    meanwhile(&world, bodies.len(), |thread| {
        let Some(mut connection) = secure(&world) else { return };
        connection.sock.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let answer = exchange(&mut connection, &bodies[thread]).unwrap();
        // Late for its one place, it is 503.
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        answered.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
    });
    assert!(answered.into_inner() > bodies.len());
}

/// `Upgrade` makes the library read on beyond the length that was announced.
#[test]
fn bodies_that_pass_for_an_upgrade() {
    let world = world();
    let right = world.bearer();
    let headers = [("Authorization", right.as_str()), JSON, ("Upgrade", "websocket")];
    let announced = request("POST", "/blockip", &headers, "{\"ip\":\"\"}");
    let more = vec![b' '; 8 << 20];
    meanwhile(&world, 8, |_| {
        let Some(mut connection) = secure(&world) else { return };
        // It ends as soon as it is too much.
        let _ =
            connection.write_all(announced.as_bytes()).and_then(|()| connection.write_all(&more));
    });
}

#[test]
fn strangers_have_one_share_together() {
    let mut world =
        World::without_daemons("ufw allow proto tcp from 203.0.113.0/24 to any port 5001");
    world.configure("", "allow-clients = [\"10.9.0.2\"]");
    world.start();
    let mut held = Vec::new();
    for host in 7..11 {
        world.attacker.sh(&format!(
            "ip addr replace 203.0.113.{host}/24 dev eth0
             ip route replace 10.9.0.1 via 203.0.113.1 src 203.0.113.{host}"
        ));
        world.attacker.inside(|| held.extend((0..40).map_while(|_| secure(&world))));
    }
    assert!((40..=64).contains(&held.len()), "strangers hold {} connections", held.len());
    assert_eq!(world.block(ADDRESS).outcomes(), ["blocked"]);
}

#[test]
fn slow_bodies() {
    let world = world();
    let right = world.bearer();
    let headers = [("Authorization", right.as_str()), JSON];
    let announced =
        request("POST", "/blockip", &headers, "").replace("Length: 0", "Length: 8388608");
    let held = std::sync::Mutex::new(Vec::new());
    // A large one of Kibana's finds a place, too, however many the other asks for.
    let large = format!("{{\"ip\":\"{ADDRESS}\"}}{}", " ".repeat(200_000));
    meanwhile(&world, 1, |_| {
        hold(
            60,
            &mut held.lock().unwrap(),
            || {
                let mut connection = secure(&world)?;
                connection.write_all(announced.as_bytes()).ok()?;
                Some(connection)
            },
            |connection| lasting(&connection.write_all(b" ")),
        );
        let asked = Instant::now();
        let answer = world.post_text(&large);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(asked.elapsed() < Duration::from_secs(1), "after {:?}", asked.elapsed());
    });
}

#[test]
fn garbage() {
    let world = world();
    let noise: Vec<u8> =
        (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    meanwhile(&world, 4, |thread| {
        let sent = if thread % 2 == 0 {
            plain().and_then(|mut stream| stream.write_all(&noise).map(|()| stream).map(drop))
        } else {
            let garbage = secure(&world).map(|mut connection| {
                let _ = connection.write_all(&noise);
                let mut heard = Vec::new();
                let _ = connection.read_to_end(&mut heard);
                let heard = String::from_utf8_lossy(&heard).to_ascii_lowercase();
                // Nothing is said of what is inside, and then nothing more.
                assert!(heard.is_empty() || heard.starts_with("http/1.1 4"), "{heard}");
                assert!(heard.is_empty() || heard.contains("\r\ncontent-length: 0\r\n"), "{heard}");
            });
            garbage.map(drop).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
        };
        drop(sent);
    });
}

#[test]
fn half_closed_sockets() {
    let world = world();
    let right = world.bearer();
    let headers = [("Authorization", right.as_str()), JSON];
    let announced = request("POST", "/blockip", &headers, "").replace("Length: 0", "Length: 90");
    let held = std::sync::Mutex::new((Vec::new(), Vec::new()));
    meanwhile(&world, 1, |_| {
        let (bare, begun) = &mut *held.lock().unwrap();
        let closed = |stream: &TcpStream| stream.shutdown(Shutdown::Write);
        hold(
            200,
            bare,
            || plain().ok().filter(|stream| closed(stream).is_ok()),
            |_| ControlFlow::Continue(()),
        );
        hold(
            40,
            begun,
            || {
                let mut connection = secure(&world)?;
                connection.write_all(announced.as_bytes()).ok()?;
                closed(&connection.sock).ok()?;
                Some(connection)
            },
            // As long as nothing is heard.
            |connection| {
                connection.sock.set_nonblocking(true).unwrap();
                match connection.sock.peek(&mut [0; 1]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Break(()),
                }
            },
        );
        bare.clear();
    });
}

#[test]
fn who_stalls_in_any_state_is_ended() {
    let world = world();
    let right = world.bearer();
    let token = ("Authorization", right.as_str());
    let good = request("GET", "/", &[token], "");
    let texts: Vec<String> = (0..10_000).map(|n| format!("{n}{}", "x".repeat(50))).collect();
    let long = request("POST", "/blockip", &[token, JSON], &json!({ "ips": texts }).to_string());
    let chunked = request("POST", "/blockip", &[JSON, ("Transfer-Encoding", "chunked")], "")
        .replace("Content-Length: 0\r\n", "");
    let body = request("POST", "/blockip", &[token, JSON], "").replace("Length: 0", "Length: 9000");
    let cases: [(&str, &str, &str, u64); 6] = [
        ("a head", "POST /blo", "x", 7),
        ("a head after another request", &format!("{good}POST /blo"), "x", 7),
        ("a body", &body, " ", 27),
        ("a body that is not wanted", &body.replace(&right, "Bearer x"), " ", 12),
        ("chunks that nobody reads", &chunked, "1\r\nx\r\n", 12),
        ("nothing after a request", &good, "", 37),
    ];
    std::thread::scope(|scope| {
        for (what, first, more, seconds) in cases {
            let mut connection = world.connection();
            scope.spawn(move || {
                connection.write_all(first.as_bytes()).unwrap();
                let began = Instant::now();
                connection.sock.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                while began.elapsed() < Duration::from_secs(seconds) {
                    let sent =
                        connection.write_all(more.as_bytes()).and_then(|()| connection.flush());
                    let read = connection.read(&mut [0; 4096]);
                    let waits = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
                    if sent.is_err() || matches!(read, Ok(0)) || read.is_err_and(|e| !waits(&e)) {
                        eprintln!("{what}: ended after {:?}", began.elapsed());
                        return;
                    }
                }
                panic!("{what}: goes on after {seconds} s");
            });
        }
        // Answers that are not taken.
        let mut connection = world.connection();
        let long = &long;
        scope.spawn(move || {
            connection.sock.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let began = Instant::now();
            while connection.write_all(long.as_bytes()).is_ok() {}
            // Not one byte is read, and still the end is seen.
            connection.sock.set_nonblocking(true).unwrap();
            until("the connection ends", 60, || {
                let sent = connection.sock.write(b"x");
                sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
            });
            eprintln!("answers that are not taken: ended after {:?}", began.elapsed());
        });
    });
}

#[test]
fn who_goes_on_sending_still_reads_that_it_is_too_much() {
    let world = world();
    let right = world.bearer();
    let headers = [("Authorization", right.as_str()), JSON];
    let length = 30_usize << 20;
    let head = request("POST", "/blockip", &headers, "")
        .replace("Length: 0", &format!("Length: {length}"));
    let mut connection = world.connection();
    connection.write_all(head.as_bytes()).unwrap();
    // As most clients do: first all of the body, then the answer.
    let chunk = vec![b' '; 1 << 20];
    for _ in 0..length / chunk.len() {
        connection.write_all(&chunk).expect("the server takes what it does not want");
    }
    let answer = read_answer(&mut connection).unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
}

/// Connections to webhook-privd that may have been opened meanwhile, and are kept.
const TO_PRIVD: usize = 2;
/// How long each abuse goes on.
const MEANWHILE: Duration = Duration::from_secs(4);
/// What webhookd takes at most, whatever is done to it.
const MEMORY_KIB: usize = 80 << 10;
