//! Names that are looked up often, compared by their first bytes before the rest.

/// The first sixteen bytes of a name as a number, in the order of the names: most names differ in them, and
/// numbers are compared without a look at where each name lies.
pub(crate) fn head(name: &str) -> u128 {
    let mut first = [0; 16];
    let length = name.len().min(first.len());
    first[..length].copy_from_slice(&name.as_bytes()[..length]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::head;

    #[test]
    fn heads_stand_in_the_order_of_the_names() {
        let long = "a name that is longer than that";
        let names = ["", "a", "a name that is", long, "a!", "b", "bb", "é"];
        for (one, other) in names.iter().zip(&names[1..]) {
            assert!(one < other && head(one) < head(other), "{one} {other}");
        }
        assert_eq!(head(long), head(&long[..16]));
    }
}
