//! Connections to hosts by their names. Names are looked up here and not by the C library, because
//! a statically linked binary has none that could: no NSS, nothing to install beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::net::NetError;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::net::TcpStream;

/// Why there is no connection. The message names the host and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("there is no host {host}\nhint: check the name, or put it into /etc/hosts")]
    UnknownHost { host: String },
    #[error(
        "the address of {host} cannot be found: {error}\nhint: check /etc/resolv.conf and the network, or use the host's address instead of its name"
    )]
    Lookup { host: String, error: NetError },
    #[error(
        "no connection to {host} ({address}), port {port}: {error}\nhint: is the server running, and does no firewall stand between?"
    )]
    Connection { host: String, address: IpAddr, port: u16, error: std::io::Error },
}

/// Tries the addresses of `host`, a name or an address without brackets, one after the other.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let mut failure = DialError::UnknownHost { host: host.to_owned() };
    for address in addresses(host).await? {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = DialError::Connection { host: host.to_owned(), address, port, error },
        }
    }
    Err(failure)
}

/// The addresses of `host`, a name or an address without brackets, at least one.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, DialError> {
    if let Ok(literal) = host.parse() {
        return Ok(vec![literal]);
    }
    // Always this machine (RFC 6761 section 6.3).
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let no_answer = |error| DialError::Lookup { host: host.to_owned(), error };
    // As the system is configured: /etc/hosts first, then the servers of /etc/resolv.conf.
    let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build).map_err(no_answer)?;
    match resolver.lookup_ip(host).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) if error.is_nx_domain() || error.is_no_records_found() => {
            Err(DialError::UnknownHost { host: host.to_owned() })
        }
        Err(error) => Err(no_answer(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn addresses_and_this_machine_need_no_lookup() {
        assert_eq!(addresses("192.0.2.1").await.unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses("2001:db8::1").await.unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert!(addresses("LocalHost").await.unwrap().iter().all(IpAddr::is_loopback));
    }

    #[tokio::test]
    async fn the_hosts_file_counts() {
        let file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        for line in file.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next().and_then(|address| address.parse::<IpAddr>().ok()) else { continue };
            for name in words {
                assert!(addresses(name).await.unwrap().contains(&address), "{name} is {address}");
            }
        }
    }

    #[tokio::test]
    async fn who_cannot_be_reached_is_named_with_what_to_do() {
        // No name below it exists, and no server needs to be asked for that (RFC 6761 section 6.4).
        let unknown = connect("nowhere.invalid", 443).await.unwrap_err().to_string();
        assert!(unknown.contains("nowhere.invalid") && unknown.contains("\nhint: "), "{unknown}");
        // Taken, but not listened on.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refused = connect("localhost", silent.local_addr().unwrap().port()).await.unwrap_err().to_string();
        assert!(refused.contains("localhost") && refused.contains("\nhint: "), "{refused}");
    }
}
