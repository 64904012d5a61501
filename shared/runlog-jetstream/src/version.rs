//! Which server this is, and whether it will do.
use std::fmt;

use crate::{
    error::ConnectError,
    limits::{NEWEST_SERVER, OLDEST_SERVER},
};

/// A nats-server's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// 2 in 2.15.1.
    pub major: u32,
    /// 15 in 2.15.1.
    pub minor: u32,
    /// 1 in 2.15.1.
    pub patch: u32,
}

impl ServerVersion {
    /// Reads `2.15.1`, `v2.15.1` or `2.15.1-beta.1`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next()?;
        let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        Some(Self { major, minor, patch: patch[..digits].parse().ok()? })
    }

    /// Whether the tests run on servers as new as this one.
    pub fn is_tested(self) -> bool {
        (self.major, self.minor) <= NEWEST_SERVER
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Refuses a server that ignores what the ports need, and warns of one that nobody has tried.
pub(crate) fn check(said: &str) -> Result<ServerVersion, ConnectError> {
    let version = ServerVersion::parse(said)
        .filter(|version| (version.major, version.minor) >= OLDEST_SERVER)
        .ok_or_else(|| ConnectError::TooOld { version: said.to_owned() })?;
    if !version.is_tested() {
        let (major, minor) = NEWEST_SERVER;
        tracing::warn!(
            server = %version,
            "this nats-server is newer than {major}.{minor}, the newest that Dagbok is tested on"
        );
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let version = |text| ServerVersion::parse(text).map(|v| (v.major, v.minor, v.patch));
        assert_eq!(version("2.15.1"), Some((2, 15, 1)));
        assert_eq!(version("v2.11.0-RC.1"), Some((2, 11, 0)));
        assert_eq!(version("3.0.12+abc"), Some((3, 0, 12)));
        for bad in ["", "2", "2.15", "2.x.1", "two", "2.15.x"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn old_servers_are_refused_and_new_ones_are_not() {
        for good in ["2.11.0", "2.15.9", "2.16.0", "3.0.0"] {
            check(good).unwrap();
        }
        for old in ["2.10.26", "2.9.10", "1.99.0", "nonsense"] {
            let said = check(old).unwrap_err().to_string();
            assert!(said.contains(old) && said.contains("2.11"), "{said}");
        }
        assert!(ServerVersion::parse("2.15.1").unwrap().is_tested());
        assert!(!ServerVersion::parse("2.16.0").unwrap().is_tested());
    }
}
