//! Authenticated encryption of short texts: nonce and ciphertext in Base64.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY: usize = 32;

/// A key, wiped from memory when it goes.
pub(crate) type Key = Zeroizing<[u8; KEY]>;

/// Bytes that nobody can foretell.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system's source of chance gives some");
    bytes
}

/// Another key that follows from a key, for one purpose.
pub(crate) fn derive(key: &[u8], purpose: &[&[u8]]) -> Key {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            KEY
        }
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"dagbok secrets 1");
    let mut derived = Zeroizing::new([0; KEY]);
    let filled = salt.extract(key).expand(purpose, Length).and_then(|okm| okm.fill(&mut *derived));
    filled.expect("32 bytes are within what is derived");
    derived
}

fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &**key).expect("a key has 32 bytes"))
}

/// Encrypts, bound to what it stands for.
pub(crate) fn seal(key: &Key, about: &[u8], plain: &[u8]) -> String {
    let nonce: [u8; NONCE_LEN] = random();
    let mut sealed = Zeroizing::new(plain.to_vec());
    // Grown before it is encrypted, memory would be copied and the plain bytes left behind.
    let tag = cipher(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(about),
            &mut sealed,
        )
        .expect("a value is short");
    STANDARD.encode([&nonce[..], &sealed[..], tag.as_ref()].concat())
}

/// Decrypts; `None` where the key is another, or a byte is.
pub(crate) fn open(key: &Key, about: &[u8], sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, rest) = bytes.split_at_checked(NONCE_LEN)?;
    let mut rest = Zeroizing::new(rest.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
    let plain = cipher(key).open_in_place(nonce, Aad::from(about), &mut rest).ok()?.len();
    rest.truncate(plain);
    Some(rest)
}
