//! The master key: wraps the keys of values, and is one end of what services exchange about them.
use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use dagbok_events::{Rewrapped, Sealed, hex};
use ring::hmac;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Entry,
    aead::{KEY, Key, derive, open, random, seal},
};

/// What is sealed is filled up to a multiple of so many bytes: its length tells less.
const STEP: usize = 64;

/// A master key. Its id follows from it, and it does not from its id.
#[derive(Clone)]
pub struct MasterKey {
    id: String,
    pub(crate) secret: Key,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// Why a value can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// The master key is not at hand.
    #[error(
        "the {what} is encrypted by the master key {master}, which is not in the key file; put the file back that has it \
         (`secrets.key_file`), or set the {what} anew where that key is destroyed"
    )]
    NoKey {
        /// What can't be read.
        what: String,
        /// The id of the key.
        master: String,
    },
    /// It is not what was sealed.
    #[error(
        "the {what} can't be decrypted: it is not what was sealed by the master key {master}; set it anew"
    )]
    Damaged {
        /// What can't be read.
        what: String,
        /// The id of the key.
        master: String,
    },
}

impl MasterKey {
    /// A new one.
    pub fn generate() -> Self {
        Self::of(Zeroizing::new(random()))
    }

    fn of(secret: Key) -> Self {
        let named = derive(&*secret, &[b"name"]);
        let id = hex(&named[..8]);
        Self { id, secret }
    }

    /// Reads one as a file has it: 32 bytes in Base64, of either alphabet, as Airflow's Fernet keys are.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok();
        let bytes = Zeroizing::new(bytes?);
        let mut secret = Zeroizing::new([0; KEY]);
        if bytes.len() != KEY {
            return None;
        }
        secret.copy_from_slice(&bytes);
        Some(Self::of(secret))
    }

    /// As [`MasterKey::read`] reads it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE.encode(self.secret.as_slice()))
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A name of something secret: the same for the same, and nobody who has not the key can find by it what it names.
    pub fn fingerprint(&self, purpose: &[u8], of: &[u8]) -> String {
        let key =
            hmac::Key::new(hmac::HMAC_SHA256, &*derive(&*self.secret, &[b"name of", purpose]));
        hex(hmac::sign(&key, of).as_ref())
    }

    fn wrapping(&self) -> Key {
        derive(&*self.secret, &[b"wrap"])
    }

    /// Seals a value for what it belongs to.
    pub fn seal(&self, entry: Entry<'_>, value: &impl Serialize) -> Sealed {
        let id = hex(&random::<16>());
        let about = entry.about(&id);
        let own: Key = Zeroizing::new(random());
        let mut plain =
            Zeroizing::new(serde_json::to_vec(value).expect("texts and numbers have a form"));
        let whole = plain.len().next_multiple_of(STEP);
        let mut filled = Zeroizing::new(Vec::with_capacity(whole));
        filled.append(&mut plain);
        // JSON may end in spaces.
        filled.resize(whole, b' ');
        Sealed {
            master: self.id.clone(),
            key: seal(&self.wrapping(), &about, &*own),
            value: seal(&own, &about, &filled),
            id,
        }
    }

    fn own_key(&self, entry: Entry<'_>, sealed: &Sealed) -> Result<Key, OpenError> {
        let (what, master) = (entry.to_string(), sealed.master.clone());
        if sealed.master != self.id {
            return Err(OpenError::NoKey { what, master });
        }
        let about = entry.about(&sealed.id);
        let opened = open(&self.wrapping(), &about, &sealed.key);
        let opened = opened.filter(|key| key.len() == KEY);
        let opened = opened.ok_or(OpenError::Damaged { what, master })?;
        let mut own = Zeroizing::new([0; KEY]);
        own.copy_from_slice(&opened);
        Ok(own)
    }

    /// Reads a value.
    pub fn open<T: DeserializeOwned>(
        &self,
        entry: Entry<'_>,
        sealed: &Sealed,
    ) -> Result<T, OpenError> {
        let own = self.own_key(entry, sealed)?;
        let plain = open(&own, &entry.about(&sealed.id), &sealed.value);
        // What is wrong with its form is not said: that would show parts of it.
        plain
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .ok_or_else(|| OpenError::Damaged { what: entry.to_string(), master: self.id.clone() })
    }

    /// Wraps the key of a value, which `before` wraps, by this one.
    pub fn rewrap(
        &self,
        before: &Self,
        entry: Entry<'_>,
        sealed: &Sealed,
    ) -> Result<Rewrapped, OpenError> {
        let own = before.own_key(entry, sealed)?;
        let key = seal(&self.wrapping(), &entry.about(&sealed.id), &*own);
        Ok(Rewrapped { id: sealed.id.clone(), key })
    }
}

#[cfg(test)]
mod tests {
    use dagbok_events::{ConnId, VariableKey};

    use super::*;

    #[test]
    fn a_value_opens_for_its_own_entry_and_key_alone() {
        let (key, other) = (MasterKey::generate(), MasterKey::generate());
        let name = VariableKey::new("token").unwrap();
        let entry = Entry::Variable(&name);
        let sealed = key.seal(entry, &"hunter2");
        assert_eq!(key.open::<String>(entry, &sealed).unwrap(), "hunter2");
        let again = MasterKey::read(&key.text()).unwrap();
        assert_eq!(again.open::<String>(entry, &sealed).unwrap(), "hunter2");
        assert_eq!(again.id(), key.id());

        let error = other.open::<String>(entry, &sealed).unwrap_err();
        assert_eq!(error, OpenError::NoKey { what: entry.to_string(), master: key.id().into() });
        // Under a forged id it is not the key all the same.
        let forged = Sealed { master: other.id().into(), ..sealed.clone() };
        let error = other.open::<String>(entry, &forged).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }));
        for (variable, conn) in [("tokens", None), ("token", Some("token"))] {
            let (variable, conn) =
                (VariableKey::new(variable).unwrap(), conn.map(|id| ConnId::new(id).unwrap()));
            let entry = conn.as_ref().map_or(Entry::Variable(&variable), Entry::Connection);
            assert!(key.open::<String>(entry, &sealed).is_err(), "{entry}");
        }
    }

    #[test]
    fn two_seals_of_one_value_have_nothing_in_common_and_one_length() {
        let key = MasterKey::generate();
        let name = VariableKey::new("token").unwrap();
        let seal = |value: &str| key.seal(Entry::Variable(&name), &value);
        let (one, two, long) = (seal("hunter2"), seal("hunter2"), seal(&"x".repeat(60)));
        assert!(one.id != two.id && one.key != two.key && one.value != two.value);
        assert_eq!(one.value.len(), long.value.len());
    }

    #[test]
    fn a_key_wrapped_anew_opens_by_the_new_master_alone() {
        let (before, after) = (MasterKey::generate(), MasterKey::generate());
        let name = VariableKey::new("token").unwrap();
        let entry = Entry::Variable(&name);
        let sealed = before.seal(entry, &"hunter2");
        let rewrapped = after.rewrap(&before, entry, &sealed).unwrap();
        let moved = Sealed { master: after.id().into(), key: rewrapped.key, ..sealed };
        assert_eq!(after.open::<String>(entry, &moved).unwrap(), "hunter2");
        assert!(before.open::<String>(entry, &moved).is_err());
    }

    #[test]
    fn a_fingerprint_is_of_one_key_and_purpose() {
        let (key, other) = (MasterKey::generate(), MasterKey::generate());
        let told = key.fingerprint(b"request", b"hunter2");
        assert_eq!(told, MasterKey::read(&key.text()).unwrap().fingerprint(b"request", b"hunter2"));
        for another in [
            key.fingerprint(b"request", b"hunter3"),
            key.fingerprint(b"answer", b"hunter2"),
            other.fingerprint(b"request", b"hunter2"),
        ] {
            assert_ne!(told, another);
        }
    }

    #[test]
    fn neither_a_key_nor_an_error_shows_what_is_secret() {
        let key = MasterKey::generate();
        assert!(!format!("{key:?}").contains(key.text().as_str()));
    }
}
