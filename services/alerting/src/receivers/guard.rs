//! Keeps what users write into the configuration from reaching what only this machine and its network can: addresses of
//! one's own network, of this machine, of a cloud's metadata. Looked at when the connection is made, so that a name that
//! resolves to something else by then is looked at too; redirects are not followed at all.
//!
//! Where a proxy stands between (`HTTPS_PROXY`), it resolves the names: this looks at addresses that stand in the URL then,
//! and lets the proxy itself pass, which is internal nearly always and named by whoever runs this.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, RwLock},
    time::Duration,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use tokio::time::timeout;
use url::{Host, Url};

/// How long a name may take to be looked up where that only helps.
const LOOKED_UP: Duration = Duration::from_secs(5);

/// An address that is not gone to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{host}` is the internal address {address}: `[guard]` with `allow = [\"{host}\"]` lets it be told"
)]
pub(crate) struct Guarded {
    host: String,
    address: IpAddr,
}

/// One that may be gone to though it is internal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Net(IpNet),
    /// A host by its name, or with a dot before it all below.
    Host(String),
}

/// Which internal addresses may be gone to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guard {
    allowed: Vec<Allowed>,
}

impl Guard {
    /// Reads one entry: an address, a network as `10.1.0.0/16`, a host, or all below one as `*.example.org`.
    pub(crate) fn allow(&mut self, text: &str) -> Result<(), String> {
        let net = text.parse::<IpNet>().ok();
        let net = net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if let Some(net) = net {
            self.allowed.push(Allowed::Net(net));
            return Ok(());
        }
        let (below, host) = text.strip_prefix("*.").map_or((false, text), |host| (true, host));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(plain) || host.contains("..") {
            return Err(format!(
                "`{text}` is no address, no network as `10.1.0.0/16` and no host as `hooks.example.org` or `*.example.org`"
            ));
        }
        let host = host.to_ascii_lowercase();
        self.allowed.push(Allowed::Host(if below { format!(".{host}") } else { host }));
        Ok(())
    }

    fn is_allowed(&self, host: &str, address: IpAddr) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.allowed.iter().any(|it| match it {
            Allowed::Net(net) => net.contains(&plain(address)),
            Allowed::Host(name) if name.starts_with('.') => host.ends_with(name),
            Allowed::Host(name) => host == *name,
        })
    }

    fn check(&self, host: &str, address: IpAddr) -> Result<(), Guarded> {
        if is_internal(address) && !self.is_allowed(host, address) {
            return Err(Guarded { host: host.to_owned(), address });
        }
        Ok(())
    }

    /// Of a URL that has an address in place of a name: nobody resolves that.
    pub(crate) fn check_url(&self, url: &str) -> Result<(), Guarded> {
        let Ok(url) = Url::parse(url) else { return Ok(()) };
        match url.host() {
            Some(Host::Ipv4(it)) => self.check(&it.to_string(), IpAddr::V4(it)),
            Some(Host::Ipv6(it)) => self.check(&it.to_string(), IpAddr::V6(it)),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// An address without the clothes of another family.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(it) => it.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Whether an address is one that the public Internet does not lead to.
fn is_internal(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(it) => is_internal_v4(it),
        IpAddr::V6(it) => is_internal_v6(it),
    }
}

/// By the registry of special-purpose addresses (RFC 6890 and what came since).
fn is_internal_v4(it: Ipv4Addr) -> bool {
    let [a, b, c, _] = it.octets();
    it.is_private()
        || it.is_loopback()
        || it.is_link_local()
        || it.is_multicast()
        || it.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
}

fn is_internal_v6(it: Ipv6Addr) -> bool {
    let parts = it.segments();
    let [first, second, third, ..] = parts;
    let four = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_internal_v4(Ipv4Addr::new(a, b, c, d))
    };
    it.is_loopback()
        || it.is_unspecified()
        || it.is_multicast()
        || (first & 0xfe00) == 0xfc00
        || (first & 0xffc0) == 0xfe80
        || (first & 0xffc0) == 0xfec0
        || (first == 0x2001 && second == 0x0db8)
        // Addresses of the other family in here: NAT64, 6to4, and the old compatible form.
        || (first == 0x64 && second == 0xff9b && four(parts[6], parts[7]))
        || (first == 0x2002 && four(second, third))
        || (parts[..6] == [0; 6] && four(parts[6], parts[7]))
}

/// A guard that can be exchanged while connections are made by it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    guard: Arc<RwLock<Guard>>,
    /// Hosts of proxies that everything goes through.
    proxies: Arc<[String]>,
}

/// The host of a proxy as the environment names it: also without a scheme.
fn proxy_of(text: &str) -> Option<String> {
    let with_scheme = format!("http://{text}");
    let url = if text.contains("://") { text } else { &with_scheme };
    Url::parse(url).ok()?.host_str().map(str::to_ascii_lowercase)
}

impl Gate {
    /// One that lets pass the proxies that are named in the environment by `variable`.
    pub(crate) fn beside(variable: impl Fn(&str) -> Option<String>) -> Self {
        let names =
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
        let proxies = names.into_iter().filter_map(variable).filter_map(|it| proxy_of(&it));
        Self { proxies: proxies.collect(), ..Self::default() }
    }

    /// From now on this one holds.
    pub(crate) fn put(&self, guard: Guard) {
        *self.guard.write().unwrap_or_else(std::sync::PoisonError::into_inner) = guard;
    }

    /// See [`Guard::check_url`].
    pub(crate) fn check_url(&self, url: &str) -> Result<(), Guarded> {
        self.guard.read().unwrap_or_else(std::sync::PoisonError::into_inner).check_url(url)
    }

    /// Why a URL is not gone to, as far as that is known before it is: its name is looked up now.
    pub(crate) async fn refuses(&self, url: &str) -> Option<Guarded> {
        if let Err(guarded) = self.check_url(url) {
            return Some(guarded);
        }
        // A proxy looks names up itself.
        if !self.proxies.is_empty() {
            return None;
        }
        let host = Url::parse(url).ok()?.host_str()?.to_owned();
        let found = timeout(LOOKED_UP, tokio::net::lookup_host((host.as_str(), 0))).await;
        self.pass(&host, found.ok()?.ok()?.collect()).err()
    }

    fn pass(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Guarded> {
        if self.proxies.iter().any(|it| *it == host.to_ascii_lowercase()) {
            return Ok(found);
        }
        let guard = self.guard.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        // All of them: which one is taken is chance, and a name with one of each is no accident.
        for address in &found {
            guard.check(host, address.ip())?;
        }
        Ok(found)
    }
}

impl Resolve for Gate {
    fn resolve(&self, name: Name) -> Resolving {
        let gate = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let passed: Addrs = Box::new(gate.pass(&host, found)?.into_iter());
            Ok(passed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        let mut guard = Guard::default();
        for it in allowed {
            guard.allow(it).unwrap();
        }
        guard
    }

    #[test]
    fn what_is_internal_is_so_in_each_of_its_forms() {
        for text in [
            "127.0.0.1",
            "10.2.3.4",
            "172.31.255.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert!(is_internal(text.parse().unwrap()), "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"]
        {
            assert!(!is_internal(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_number_in_place_of_a_name_is_looked_at_however_it_is_written() {
        let none = guard(&[]);
        for url in [
            "http://127.0.0.1:80/x",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(none.check_url(url).is_err(), "{url}");
        }
        assert_eq!(
            none.check_url("https://hooks.example.org/"),
            Ok(()),
            "that is looked at once it is resolved"
        );
        let said = none.check_url("http://10.1.2.3/").unwrap_err().to_string();
        assert!(said.contains("10.1.2.3") && said.contains("[guard]"), "{said}");
        let some = guard(&["127.0.0.0/8", "10.1.2.3"]);
        assert_eq!(some.check_url("http://127.9.9.9/"), Ok(()));
        assert_eq!(some.check_url("http://10.1.2.3/"), Ok(()));
        assert!(some.check_url("http://10.1.2.4/").is_err());
        assert_eq!(some.check_url("http://[::ffff:127.0.0.1]/"), Ok(()));
    }

    #[test]
    fn a_host_that_is_allowed_may_be_anywhere_and_one_bad_address_is_enough() {
        let gate = Gate::default();
        gate.put(guard(&["hooks.corp", "*.example.org"]));
        let at = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|it| SocketAddr::new(it.parse().unwrap(), 0)).collect()
        };
        assert!(gate.pass("hooks.corp", at("10.0.0.1")).is_ok());
        assert!(gate.pass("HOOKS.corp.", at("10.0.0.1")).is_ok());
        assert!(gate.pass("a.b.example.org", at("127.0.0.1")).is_ok());
        assert!(gate.pass("example.org", at("127.0.0.1")).is_err());
        assert!(gate.pass("other.corp", at("8.8.8.8 10.0.0.1")).is_err());
        assert!(gate.pass("other.corp", at("8.8.8.8")).is_ok());
        assert!(Guard::default().allow("http://x/").is_err());
    }

    #[test]
    fn the_proxy_that_everything_goes_through_may_be_internal() {
        let named = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://user:word@Proxy.corp:3128".to_owned()),
            "all_proxy" => Some("other.corp:8080".to_owned()),
            _ => None,
        };
        let gate = Gate::beside(named);
        let inside = || vec![SocketAddr::new("10.0.0.1".parse().unwrap(), 0)];
        assert!(gate.pass("proxy.corp", inside()).is_ok());
        assert!(gate.pass("other.corp", inside()).is_ok());
        assert!(gate.pass("hooks.corp", inside()).is_err());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_gone_to() {
        let gate = Gate::default();
        let name = || "localhost".parse::<Name>().unwrap();
        let refused = gate.resolve(name()).await.err().expect("it is internal");
        assert!(refused.downcast_ref::<Guarded>().is_some(), "{refused}");
        gate.put(guard(&["localhost"]));
        assert!(gate.resolve(name()).await.is_ok());
    }
}
