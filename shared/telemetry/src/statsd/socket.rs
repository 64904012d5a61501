//! Where values go: gathered into datagrams, never waited for, each line counted as sent or dropped once its datagram is.
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    os::unix::net::UnixDatagram,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use cadence::{MetricSink, UdpMetricSink, UnixMetricSink};

use crate::{TelemetryError, metrics};

/// What one datagram holds at most: it fits where networks are old.
const DATAGRAM: usize = 1_432;
/// How soon a socket that failed, or a host that has no address, is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often a host that has one is looked for again: it may have moved.
const MOVED: Duration = Duration::from_mins(1);
/// How long the start waits for a host's address.
const FIRST: Duration = Duration::from_secs(1);

/// A host's name and port, and the address that was found for it.
#[derive(Clone)]
struct Host {
    name: String,
    found: Arc<Mutex<Option<SocketAddr>>>,
    is_looked_for: Arc<AtomicBool>,
}

impl Host {
    /// Looks the name up on a thread of its own: a name server that is away takes seconds to say so.
    fn look(&self) -> mpsc::Receiver<()> {
        let (told, done) = mpsc::channel();
        if self.is_looked_for.swap(true, Ordering::Relaxed) {
            return done;
        }
        let host = self.clone();
        // Without a thread there is no address now, which is looked for again.
        let looking = thread::Builder::new().name("statsd-host".to_owned()).spawn(move || {
            if let Some(address) = host.name.to_socket_addrs().ok().and_then(|mut it| it.next()) {
                *host.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
            }
            host.is_looked_for.store(false, Ordering::Relaxed);
            // The start waits for it, and nobody later.
            let _ = told.send(());
        });
        if looking.is_err() {
            self.is_looked_for.store(false, Ordering::Relaxed);
        }
        done
    }

    fn address(&self) -> Option<SocketAddr> {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Place {
    Udp(Host),
    Unix(String),
}

/// A socket, and what is gathered for it.
pub(super) struct Socket {
    place: Place,
    sink: Option<(Box<dyn MetricSink + Send>, Option<SocketAddr>)>,
    looked: Instant,
    gathered: String,
    lines: u64,
    /// Lines that the socket took, and those that it did not.
    counts: (u64, u64),
}

impl Socket {
    /// Takes `udp://host:port` or `unix:///path`. Nobody need listen yet, nor need the host have an address.
    pub(super) fn new(address: &str) -> Result<Self, TelemetryError> {
        let place = place(address)?;
        if let Place::Udp(host) = &place {
            // What comes later goes as soon as there is an address.
            let _ = host.look().recv_timeout(FIRST);
        }
        let (looked, gathered) = (Instant::now(), String::with_capacity(DATAGRAM));
        let mut socket = Self { place, sink: None, looked, gathered, lines: 0, counts: (0, 0) };
        socket.open();
        Ok(socket)
    }

    /// Adds lines that belong together to a datagram.
    pub(super) fn add(&mut self, lines: &str) {
        if self.lines > 0 && self.gathered.len() + 1 + lines.len() > DATAGRAM {
            self.flush();
        }
        if self.lines > 0 {
            self.gathered.push('\n');
        }
        self.gathered.push_str(lines);
        self.lines += 1;
    }

    /// Sends what is gathered.
    pub(super) fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        self.look_again();
        let lines = std::mem::take(&mut self.lines);
        let sent = match &self.sink {
            Some((sink, _)) => sink.emit(&self.gathered).map(|_| ()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        self.gathered.clear();
        match sent {
            Ok(()) => {
                self.counts.0 += lines;
                metrics().statsd_sent(lines);
            }
            Err(error) => {
                self.counts.1 += lines;
                metrics().statsd_dropped(lines);
                // Who is slow is there; who is gone is looked for again.
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.sink = None;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) const fn counts(&self) -> (u64, u64) {
        self.counts
    }

    fn look_again(&mut self) {
        let (is_open, since) = (self.sink.is_some(), self.looked.elapsed());
        if since >= if is_open { MOVED } else { LOOK_AGAIN } {
            self.looked = Instant::now();
            if let Place::Udp(host) = &self.place {
                drop(host.look());
            }
            if !is_open {
                self.open();
            }
        }
        if let (Place::Udp(host), Some((_, at))) = (&self.place, &self.sink)
            && host.address() != *at
        {
            self.open();
        }
    }

    fn open(&mut self) {
        self.sink = open(&self.place).ok();
    }
}

fn open(place: &Place) -> io::Result<(Box<dyn MetricSink + Send>, Option<SocketAddr>)> {
    Ok(match place {
        Place::Udp(host) => {
            let to = host.address().ok_or(io::ErrorKind::NotFound)?;
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            let sink = UdpMetricSink::from(to, socket).map_err(io::Error::other)?;
            (Box::new(sink), Some(to))
        }
        Place::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            (Box::new(UnixMetricSink::from(path, socket)), None)
        }
    })
}

fn place(address: &str) -> Result<Place, TelemetryError> {
    let wrong = || {
        let why = "write `udp://host:8125` or `unix:///run/statsd.sock`";
        super::bad("telemetry.statsd", address, why)
    };
    if let Some(path) = address.strip_prefix("unix://") {
        let is_absolute = path.starts_with('/');
        return is_absolute.then(|| Place::Unix(path.to_owned())).ok_or_else(wrong);
    }
    let name = address.strip_prefix("udp://").ok_or_else(wrong)?.trim_end_matches('/');
    let (host, port) = name.rsplit_once(':').ok_or_else(wrong)?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
    if !is_port || !is_host {
        return Err(wrong());
    }
    let found = Arc::new(Mutex::new(name.parse().ok()));
    Ok(Place::Udp(Host { name: name.to_owned(), found, is_looked_for: Arc::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        let at = std::env::temp_dir().join(format!("dagbok-statsd-{}", std::process::id()));
        std::fs::create_dir_all(&at).unwrap();
        at
    }

    #[test]
    fn what_nobody_takes_is_counted_line_by_line_and_costs_nothing_else() {
        let nobody = folder().join("nobody.sock");
        let mut socket = Socket::new(&format!("unix://{}", nobody.display())).unwrap();
        let begin = Instant::now();
        for n in 0..10_000 {
            socket.add(&format!("airflow.ti.finish:{n}|c"));
            if n % 100 == 99 {
                socket.flush();
            }
        }
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert_eq!(socket.counts(), (0, 10_000));
    }

    #[test]
    fn what_a_slow_reader_has_no_room_for_is_dropped_and_the_rest_arrives() {
        let path = folder().join("slow.sock");
        // What an earlier run of this test left.
        let _ = std::fs::remove_file(&path);
        let reader = UnixDatagram::bind(&path).unwrap();
        reader.set_nonblocking(true).unwrap();
        let mut socket = Socket::new(&format!("unix://{}", path.display())).unwrap();
        let mut heard = 0;
        let mut hear = || {
            let mut bytes = [0; 2 * DATAGRAM];
            while let Ok(length) = reader.recv(&mut bytes) {
                heard += bytes.get(..length).unwrap().split(|byte| *byte == b'\n').count() as u64;
            }
            heard
        };
        let mut added = 0;
        while socket.counts().1 == 0 {
            socket.add("airflow.ti.start:1|c");
            added += 1;
            socket.flush();
        }
        let (sent, dropped) = socket.counts();
        assert_eq!((hear(), sent + dropped), (sent, added));
        assert!(sent > 0);
        // It is not looked for again: that it was slow is no reason.
        socket.add("airflow.ti.start:1|c");
        socket.flush();
        assert_eq!((hear(), socket.counts().1), (sent + 1, dropped));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_host_that_has_no_address_yet_is_no_error() {
        let mut socket = Socket::new("udp://statsd.invalid:8125").unwrap();
        socket.add("airflow.ti.start:1|c");
        socket.flush();
        assert_eq!(socket.counts(), (0, 1));
        for wrong in
            ["udp://h", "udp://:8125", "udp://h:0", "udp://h:port", "tcp://h:1", "unix://run"]
        {
            assert!(Socket::new(wrong).is_err(), "{wrong}");
        }
    }
}
