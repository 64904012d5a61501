//! Puts what `npm run build` made of `web` into the binary. Where it was not built, the binary is built without it
//! and its pages say so: `cargo test` needs no Node.
use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() {
    let dist =
        PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("web/dist");
    // A path that is not there counts as changed at every build: where there is no `dist`, its folder says when it comes.
    let watched = if dist.is_dir() { "web/dist" } else { "web" };
    println!("cargo::rerun-if-changed={watched}");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("files.rs");
    fs::write(out, written(&dist)).expect("cargo's own folder can be written");
}

/// The source of the two statics that the library reads.
fn written(dist: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(dist.join("assets"))
        .into_iter()
        .flatten()
        .filter_map(|found| found.ok()?.file_name().into_string().ok())
        .filter(|name| {
            !matches!(Path::new(name).extension().and_then(|it| it.to_str()), Some("br" | "gz"))
        })
        .collect();
    names.sort_unstable();
    let mut source = String::from("pub(crate) static FILES: &[crate::File] = &[\n");
    for name in names {
        let bytes = |end: &str| {
            let path = dist.join("assets").join(format!("{name}{end}"));
            format!("include_bytes!({:?})", path.display().to_string())
        };
        writeln!(
            source,
            "crate::File {{ name: {name:?}, plain: {}, brotli: {}, gzip: {} }},",
            bytes(""),
            bytes(".br"),
            bytes(".gz")
        )
        .expect("a text can be written to");
    }
    source.push_str("];\npub(crate) static ENTRIES: &[(&str, &str)] = &[\n");
    // A line for each file that the page names: what it is, and its name.
    for line in fs::read_to_string(dist.join("entry.txt")).unwrap_or_default().lines() {
        if let Some((kind, name)) = line.split_once(' ') {
            writeln!(source, "({kind:?}, {name:?}),").expect("a text can be written to");
        }
    }
    source.push_str("];\n");
    source
}
