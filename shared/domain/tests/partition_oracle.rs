//! Real Airflow's answers about partition mappers, recorded by `oracle/record_partitions.py`: ours are the same.
use dagbok_domain::partition;
use dagbok_events::PartitionMapper;
use serde_json::Value;

#[test]
fn keys_become_what_they_become_in_airflow() {
    let told = include_str!("oracle/partitions.json");
    let cases: Vec<Value> = serde_json::from_str(told).expect("JSON");
    let (mut checked, mut differ) = (0, Vec::new());
    for case in &cases {
        let form = case["mapper"].clone();
        let mapper: PartitionMapper = serde_json::from_value(form).expect("a mapper");
        for answer in case["answers"].as_array().expect("answers") {
            let key = answer["key"].as_str().expect("a key");
            let theirs: Option<Vec<String>> =
                serde_json::from_value(answer["down"].clone()).expect("keys");
            // A window of minutes that is written in hours names an hour sixty times; it counts once there, too.
            let theirs = theirs.map(|keys| {
                let mut once = std::collections::BTreeSet::new();
                keys.into_iter().filter(|key| once.insert(key.clone())).collect::<Vec<_>>()
            });
            let ours = partition::to_downstream(&mapper, key).ok();
            checked += 1;
            if ours != theirs {
                differ.push(format!("{mapper:?} of {key}: {theirs:?} there, {ours:?} here"));
                continue;
            }
            let Some(first) = ours.as_ref().and_then(|keys| keys.first()) else { continue };
            let date = partition::date_of(&mapper, first).ok().flatten().map(|at| at.to_string());
            let wanted = answer["date"].as_str().map(str::to_owned);
            if date != wanted {
                differ.push(format!("{mapper:?}: {first} begins {wanted:?} there, {date:?} here"));
            }
            if let Some(needed) = partition::to_upstream(&mapper, first) {
                let needed = needed.ok().map(|(keys, _)| keys);
                let wanted: Option<Vec<String>> =
                    serde_json::from_value(answer["up"].clone()).expect("keys");
                if needed != wanted {
                    differ.push(format!(
                        "{mapper:?}: {first} needs {wanted:?} there, {needed:?} here"
                    ));
                }
            }
        }
    }
    assert!(checked > 1_500, "only {checked} answers");
    assert!(
        differ.is_empty(),
        "{} of {checked}: {}",
        differ.len(),
        differ[..differ.len().min(10)].join("\n")
    );
}
