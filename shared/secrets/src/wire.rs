//! Questions about variables and connections, and their answers, as they pass a broker: sealed for whoever holds the
//! master key, and for whoever asked.
//!
//! The public half of the asked one's key follows from the master key, so that each replica of a service can answer. The
//! asker makes a key for one question. Both come to the same two keys, one for each way.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use curve25519_dalek::MontgomeryPoint;
use dagbok_protocol::{SealedQuestion, SecretAsk};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    MasterKey,
    aead::{KEY, Key, derive, open, random, seal},
};

/// The public half of a key that questions are sealed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// The id of the master key that it follows from.
    pub master: String,
    /// The half itself, in Base64.
    pub half: String,
}

/// Opens the answer to one question.
pub struct Answering(Key);

impl std::fmt::Debug for Answering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answering(***)")
    }
}

fn point(half: &str) -> Option<MontgomeryPoint> {
    let bytes: [u8; KEY] = STANDARD.decode(half).ok()?.try_into().ok()?;
    Some(MontgomeryPoint(bytes))
}

/// The keys there and back. `None` where a half is one of the few that come to the same with every key.
fn keys(own: &Key, theirs: MontgomeryPoint, from: &str, to: &str) -> Option<(Key, Key)> {
    let shared = Zeroizing::new(theirs.mul_clamped(**own).to_bytes());
    if shared.iter().all(|byte| *byte == 0) {
        return None;
    }
    let way = |way: &[u8]| derive(&*shared, &[way, from.as_bytes(), to.as_bytes()]);
    Some((way(b"question"), way(b"answer")))
}

/// Seals a question; `None` where the key is none.
pub fn ask(to: &PublicKey, ask: &SecretAsk) -> Option<(SealedQuestion, Answering)> {
    let own: Key = Zeroizing::new(random());
    let half = STANDARD.encode(MontgomeryPoint::mul_base_clamped(*own).to_bytes());
    let (there, back) = keys(&own, point(&to.half)?, &half, &to.half)?;
    let plain = Zeroizing::new(serde_json::to_vec(ask).expect("texts have a form in JSON"));
    let sealed = seal(&there, b"question", &plain);
    Some((SealedQuestion { master: to.master.clone(), half, sealed }, Answering(back)))
}

impl Answering {
    /// Seals the answer.
    pub fn seal(&self, answer: &[u8]) -> String {
        seal(&self.0, b"answer", answer)
    }

    /// Reads the answer; `None` where somebody else gave it.
    pub fn open(&self, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
        open(&self.0, b"answer", sealed)
    }
}

impl MasterKey {
    fn exchange(&self) -> Key {
        derive(&*self.secret, &[b"exchange"])
    }

    /// What questions are sealed for.
    pub fn public(&self) -> PublicKey {
        let half = MontgomeryPoint::mul_base_clamped(*self.exchange()).to_bytes();
        PublicKey { master: self.id().to_owned(), half: STANDARD.encode(half) }
    }

    /// Reads a question; `None` where it is none that was sealed for this key.
    pub fn asked(&self, question: &SealedQuestion) -> Option<(SecretAsk, Answering)> {
        let public = self.public();
        let (there, back) =
            keys(&self.exchange(), point(&question.half)?, &question.half, &public.half)?;
        let plain = open(&there, b"question", &question.sealed)?;
        // What is wrong with its form is not said: that would show parts of it.
        Some((serde_json::from_slice(&plain).ok()?, Answering(back)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_its_answer_are_read_by_those_two_alone() {
        let (key, other) = (MasterKey::generate(), MasterKey::generate());
        let wanted = SecretAsk::GetVariable { key: "token".to_owned() };
        let (question, answering) = ask(&key.public(), &wanted).unwrap();
        assert!(!format!("{question:?}").contains("token"));
        let (got, replying) = key.asked(&question).unwrap();
        assert_eq!(got, wanted);
        assert_eq!(&**answering.open(&replying.seal(b"hunter2")).unwrap(), b"hunter2");

        assert!(other.asked(&question).is_none());
        let (elsewhere, stranger) = ask(&key.public(), &wanted).unwrap();
        assert_ne!(elsewhere.half, question.half);
        assert!(stranger.open(&replying.seal(b"hunter2")).is_none());
        // What was asked is no answer.
        assert!(answering.open(&question.sealed).is_none());
    }

    #[test]
    fn a_half_that_comes_to_the_same_with_every_key_is_refused() {
        let nought = PublicKey { master: "m".into(), half: STANDARD.encode([0; KEY]) };
        assert!(ask(&nought, &SecretAsk::GetVariable { key: "k".into() }).is_none());
        let short = PublicKey { master: "m".into(), half: "AA==".into() };
        assert!(ask(&short, &SecretAsk::GetVariable { key: "k".into() }).is_none());
    }
}
