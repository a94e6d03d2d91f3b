//! Syslog messages (RFC 5424): over TLS (RFC 5425) and TCP with octet counting (RFC 6587), over UDP (RFC 5426), and in
//! datagrams to a Unix socket.
//!
//! Syslog has no answers. On a stream every push is a connection of its own, ended by us and then waited on to be ended by
//! the receiver, which says that it read everything; one that does not end it in time is believed. A datagram is as sure as
//! its network, and one that would be too large is told by its number and hash alone.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use marque_audit::Leaf;
use marque_audit::format::{Severity, severity};
use marque_registry::SyslogTarget;
use marque_spiffe::TrustDomain;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};
use tokio_rustls::TlsConnector;

use super::{NotTaken, Push};

/// Facility 13, "log audit" (RFC 5424 section 6.2.1).
const FACILITY: u8 = 13;
/// The most bytes of a datagram: what UDP over IPv4 carries at most is 65,507.
const MAX_DATAGRAM: usize = 60_000;
/// How long a receiver has to end the connection after us.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Syslog {
    target: SyslogTarget,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    trust_domain: TrustDomain,
}

/// A message, and what takes its place where it is too large.
struct Message {
    whole: String,
    short: String,
}

impl Syslog {
    pub(super) fn new(
        target: SyslogTarget,
        tls: Option<Arc<ClientConfig>>,
        trust_domain: TrustDomain,
    ) -> anyhow::Result<Self> {
        let tls = match (&target, tls) {
            (SyslogTarget::Tls(host, _), Some(tls)) => {
                Some((tls, ServerName::try_from(host.clone())?))
            }
            _ => None,
        };
        Ok(Self { target, tls, trust_domain })
    }

    pub(super) async fn push(&self, push: Push<'_>) -> Result<(), NotTaken> {
        let messages = self.messages(push)?;
        let sent = match (&self.target, &self.tls) {
            (SyslogTarget::Tls(host, port), Some((tls, name))) => {
                self.over_tls((host, *port), tls, name, &messages).await
            }
            (SyslogTarget::Tls(..), None) => Err(io::Error::other("there are no settings for TLS")),
            (SyslogTarget::Tcp(ip, port), _) => match TcpStream::connect((*ip, *port)).await {
                Ok(stream) => stream_to(stream, &messages).await,
                Err(error) => Err(error),
            },
            (SyslogTarget::Udp(ip, port), _) => {
                let local = if ip.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
                over_udp(local, (*ip, *port).into(), &messages).await
            }
            (SyslogTarget::Unix(path), _) => over_unix(path, &messages).await,
        };
        sent.map_err(NotTaken::Syslog)
    }

    async fn over_tls(
        &self,
        (host, port): (&str, u16),
        tls: &Arc<ClientConfig>,
        name: &ServerName<'static>,
        messages: &[Message],
    ) -> io::Result<()> {
        let stream = TcpStream::connect((host, port)).await?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name.clone(), stream).await?;
        stream_to(stream, messages).await
    }

    fn messages(&self, push: Push<'_>) -> Result<Vec<Message>, NotTaken> {
        match push {
            Push::Checkpoint(size, text) | Push::Cosigned(size, text) => {
                // A note is several lines, a message one.
                let said = json!({ "size": size, "checkpoint": text }).to_string();
                let now = "-";
                let whole = self.message(6, now, "checkpoint", &said);
                Ok(vec![Message { short: whole.clone(), whole }])
            }
            Push::Records(leaves, format) => {
                let message = |leaf: &Leaf| {
                    let short = json!({
                        "seq": leaf.seq(),
                        "type": leaf.event().kind.as_str(),
                        "leaf_hash": leaf.hash().to_string(),
                        "left_out": "the record is too large for a datagram",
                    });
                    Ok(Message {
                        whole: self.record(leaf, &format.line(leaf)?),
                        short: self.record(leaf, &short.to_string()),
                    })
                };
                leaves.iter().map(message).collect()
            }
        }
    }

    fn record(&self, leaf: &Leaf, said: &str) -> String {
        let kind = leaf.event().kind;
        let time = leaf.event().time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let name = kind.as_str().strip_prefix("org.marque.").unwrap_or_default();
        self.message(level(severity(kind)), &time, name, said)
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD MSG`; the host is the trust domain.
    fn message(&self, severity: u8, time: &str, id: &str, said: &str) -> String {
        let priority = FACILITY * 8 + severity;
        let mut message = format!("<{priority}>1 {time} {} marque - {id} - ", self.trust_domain);
        // A record is on one line; what is not becomes a blank, so that nobody begins a message of their own.
        let line = said.chars().map(|c| if c.is_control() { ' ' } else { c });
        message.extend(line);
        message
    }
}

/// The severities of RFC 5424 section 6.2.1, table 2.
fn level(severity: Severity) -> u8 {
    match severity {
        Severity::High => 4,
        Severity::Medium | Severity::Low => 5,
        Severity::Informational => 6,
    }
}

/// Each message behind its length, and then the end of the connection from both sides.
async fn stream_to(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    messages: &[Message],
) -> io::Result<()> {
    let mut bytes = String::new();
    for Message { whole, short: _ } in messages {
        write!(bytes, "{} {whole}", whole.len()).map_err(io::Error::other)?;
    }
    stream.write_all(bytes.as_bytes()).await?;
    stream.shutdown().await?;
    let mut said = [0; 512];
    let ending = async {
        loop {
            match stream.read(&mut said).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // A receiver over TLS may close without a word of it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    tokio::time::timeout(LINGER, ending).await.unwrap_or(Ok(()))
}

fn fitting(message: &Message) -> &str {
    if message.whole.len() <= MAX_DATAGRAM { &message.whole } else { &message.short }
}

async fn over_udp(
    local: &str,
    target: std::net::SocketAddr,
    messages: &[Message],
) -> io::Result<()> {
    let socket = UdpSocket::bind(local).await?;
    // A connected socket is told when nobody listens.
    socket.connect(target).await?;
    for message in messages {
        socket.send(fitting(message).as_bytes()).await?;
    }
    Ok(())
}

async fn over_unix(path: &std::path::Path, messages: &[Message]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    for message in messages {
        socket.send(fitting(message).as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use marque_audit::format::Format;
    use marque_audit::{Event, EventKind};

    use super::*;

    fn leaf(bytes: usize) -> Leaf {
        let event = Event::new(EventKind::Kill, jiff::Timestamp::UNIX_EPOCH)
            .with_detail("pad", "x".repeat(bytes))
            .with_detail("lines", "one\r\n<104>1 - forged - - - - two");
        let trust_domain = "prod.example.org".parse().unwrap();
        Leaf::seal(event, &trust_domain, 7, jiff::Timestamp::UNIX_EPOCH).unwrap()
    }

    fn to(target: SyslogTarget) -> Syslog {
        Syslog::new(target, None, "prod.example.org".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_record_that_is_too_large_for_a_datagram_is_told_by_its_number_and_hash() {
        let syslog = to(SyslogTarget::Unix("/dev/log".into()));
        let told = |bytes| {
            let leaf = leaf(bytes);
            let messages = syslog.messages(Push::Records(&[leaf], Format::CloudEvents)).unwrap();
            fitting(&messages[0]).to_owned()
        };
        assert!(told(100).contains("specversion"));
        let short = told(MAX_DATAGRAM);
        assert!(short.len() < 500 && short.contains("\"seq\":7") && short.contains("left_out"));
        assert!(short.contains(&leaf(MAX_DATAGRAM).hash().to_string()), "{short}");
    }

    #[test]
    fn a_message_is_one_line_whatever_a_record_says() {
        let syslog = to(SyslogTarget::Unix("/dev/log".into()));
        for format in Format::ALL {
            let messages = syslog.messages(Push::Records(&[leaf(1)], format)).unwrap();
            let message = &messages[0].whole;
            assert!(message.starts_with("<108>1 1970-01-01T00:00:00.000000Z prod.example.org"));
            assert!(!message.contains(char::is_control), "{message}");
        }
        let note = syslog.messages(Push::Checkpoint(7, "a\n7\n\n\u{2014} a b\n")).unwrap();
        assert!(!note[0].whole.contains('\n'), "{}", note[0].whole);
    }

    #[tokio::test]
    async fn a_receiver_that_does_not_end_the_connection_is_believed_in_the_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let begun = Instant::now();
        let accepted = tokio::spawn(async move { listener.accept().await });
        let leaves = [leaf(1)];
        let syslog = to(SyslogTarget::Tcp(address.ip(), address.port()));
        syslog.push(Push::Records(&leaves, Format::Cadf)).await.unwrap();
        assert!(begun.elapsed() >= LINGER);
        drop(accepted);
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_takes_nothing() {
        let leaves = [leaf(1)];
        let tcp = to(SyslogTarget::Tcp("127.0.0.1".parse().unwrap(), 9));
        let unix = to(SyslogTarget::Unix("/nonexistent/log".into()));
        for syslog in [tcp, unix] {
            let pushed = syslog.push(Push::Records(&leaves, Format::Cadf)).await;
            assert!(matches!(pushed, Err(NotTaken::Syslog(_))), "{pushed:?}");
        }
    }
}
