# What is left of checkpoints once the build is there: run as `bash -ex /tmp/rules_after.sh`.
. /tmp/env_rules.sh
slot cargo build --workspace --locked
target/debug/dagbok-golden --show dates > /tmp/rules_dates.jsonl
python3 /tmp/rules_story.py /tmp/rules_dates.jsonl > /tmp/rules_checkpoints.jsonl
target/debug/dagbok-golden --add checkpoints /tmp/rules_checkpoints.jsonl
target/debug/dagbok-golden --outcome all     # look at the difference: rows have no other shape where nothing is kept
target/debug/dagbok-schemas
(cd services/ui/web && npm run build)
cargo fmt --all --check
slot cargo test --locked --workspace --test rules -- checkpoints
slot cargo test --locked --workspace --test executor -- keeps
slot cargo test --locked --workspace --test shelf --test house
$DAGBOK_PYTHON -m pytest -q tests/e2e/test_checkpoints.py
