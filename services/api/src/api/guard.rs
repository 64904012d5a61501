//! Who may ask: a browser does what any page tells it, so requests by a foreign name or from a foreign
//! page are refused. This machine's own names are known; others have to be configured.
use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::errors::ApiError;

/// The names that the API goes by, and the pages that may ask it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    hosts: Arc<[String]>,
    origins: Arc<[String]>,
}

impl Names {
    /// Besides this machine's loopback names: `hosts` without a port, `origins` as browsers say them
    /// (`https://dagbok.example`). `*` stands for any.
    pub fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |all: &[String]| all.iter().map(|one| one.trim().to_lowercase()).collect();
        Self { hosts: lower(hosts), origins: lower(origins) }
    }

    fn has_host(&self, authority: &str) -> bool {
        let host = host_of(authority).to_lowercase();
        is_loopback(&host) || self.hosts.iter().any(|known| known == "*" || *known == host)
    }

    fn has_origin(&self, origin: &str) -> bool {
        let origin = origin.to_lowercase();
        if self.origins.iter().any(|known| known == "*" || *known == origin) {
            return true;
        }
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        rest.is_some_and(|authority| is_loopback(host_of(authority)))
    }
}

/// An authority without its port; an IPv6 address without its brackets.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        },
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Refuses what is foreign.
pub(crate) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    // The page behind a signed link asks for no login: the link is all that counts, and browsers that hide where
    // they are from say so in the origin.
    let is_signed = request.uri().path().starts_with(super::alerts::link::PREFIX);
    match foreign(
        &names,
        request.uri().authority().map(axum::http::uri::Authority::as_str),
        request.headers(),
        is_signed,
    ) {
        Some(why) => ApiError::Forbidden(why).into_response(),
        None => next.run(request).await,
    }
}

/// Why the request is refused, where it is.
fn foreign(
    names: &Names,
    authority: Option<&str>,
    headers: &HeaderMap,
    is_signed: bool,
) -> Option<String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("�"));
    for host in [authority, text(header::HOST)].into_iter().flatten() {
        if !names.has_host(host) {
            return Some(format!(
                "`{host}` is no name of this API: ask it by `localhost`, or add the name to `ui.allowed_hosts`"
            ));
        }
    }
    let origin = text(header::ORIGIN).filter(|_| !is_signed)?;
    (!names.has_origin(origin)).then(|| {
        format!(
            "pages of `{origin}` may not ask this API; add it to `ui.allowed_origins` if they may"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_names_are_known_and_others_are_not() {
        let names = Names::new(&["Dagbok.Example".to_owned()], &[]);
        for (host, known) in [
            ("localhost:8793", true),
            ("LOCALHOST", true),
            ("127.0.0.1:8793", true),
            ("127.8.9.1", true),
            ("[::1]:8793", true),
            ("[::ffff:127.0.0.1]:8793", true),
            ("dagbok.example:80", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.1.4:8793", false),
            ("", false),
        ] {
            assert_eq!(names.has_host(host), known, "{host}");
        }
    }

    #[test]
    fn pages_from_elsewhere_are_foreign() {
        let names = Names::new(&[], &["https://dagbok.example".to_owned()]);
        for (origin, known) in [
            ("http://localhost:8793", true),
            ("http://127.0.0.1:5173", true),
            ("https://dagbok.example", true),
            ("https://dagbok.example:444", false),
            ("http://dagbok.example", false),
            ("http://evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://localhost:x@evil.example", false),
            ("null", false),
            ("file://", false),
        ] {
            assert_eq!(names.has_origin(origin), known, "{origin}");
        }
    }
}
