//! A way to the server that can be closed.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::config::Host;

/// What the way lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Those who are connected, and nobody new.
    NobodyNew,
    Closed,
}

/// Hands on what comes to a port of its own.
pub(crate) struct Proxy {
    way: watch::Sender<Way>,
    url: String,
}

impl Proxy {
    /// To the server at `url`, which must be reached by TCP.
    pub(crate) async fn to(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let Some(Host::Tcp(host)) = config.get_hosts().first() else { panic!("not TCP: {url}") };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let server = format!("{host}:{port}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let (way, watched) = watch::channel(Way::Open);
        tokio::spawn(accept(listener, server, watched));
        Self { way, url: url_at(&config, here) }
    }

    /// The address by which the server is reached through here.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

fn url_at(config: &tokio_postgres::Config, at: SocketAddr) -> String {
    let mut url = format!("host={} port={}", at.ip(), at.port());
    if let Some(user) = config.get_user() {
        url.push_str(&format!(" user={user}"));
    }
    if let Some(password) = config.get_password() {
        url.push_str(&format!(" password='{}'", String::from_utf8_lossy(password)));
    }
    if let Some(name) = config.get_dbname() {
        url.push_str(&format!(" dbname={name}"));
    }
    url
}

async fn accept(listener: TcpListener, server: String, way: watch::Receiver<Way>) {
    while let Ok((mut client, _)) = listener.accept().await {
        if *way.borrow() != Way::Open {
            continue;
        }
        let (server, mut way) = (server.clone(), way.clone());
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = way.wait_for(|way| *way == Way::Closed) => {}
            }
        });
    }
}
