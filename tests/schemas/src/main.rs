//! `cargo run -p dagbok-schemas`: writes `schemas/` anew.
fn main() -> anyhow::Result<()> {
    dagbok_schemas::write()
}
