//! Takes the pages of the error codes into the binary, so that `dagbok explain` needs no folder beside it.
use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/errors");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pages: Vec<_> = fs::read_dir(&folder)
        .expect("the pages of the error codes are in deploy/errors")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    pages.sort();
    let mut table = String::from("&[\n");
    for page in pages {
        let name = page.file_stem().and_then(|name| name.to_str()).expect("names are plain");
        let page = page.canonicalize().expect("it was just listed");
        let page = page.to_str().expect("names are plain");
        writeln!(table, "    ({name:?}, include_str!({page:?})),").expect("a string takes all");
    }
    table.push(']');
    let out = env::var_os("OUT_DIR").expect("cargo says where");
    fs::write(Path::new(&out).join("pages.rs"), table).expect("cargo's folder can be written");
}
