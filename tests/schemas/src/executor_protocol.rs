//! The AsyncAPI 3 document of all that an executor says and hears: enough to write one.
use dagbok_protocol::{
    Answer, ApiQuestion, ApiReply, Command, Cordon, Order, PROTOCOL, Presence, TryLogQuery,
    TryLogSlice, TryUsageAnswer, TryUsageQuery, UsageSeries, WorkItem, limits,
};
use dagbok_runlog_jetstream::limits as nats;
use serde_json::{Map, Value, json};

use crate::documents::schema;

/// What is said first to whoever writes an executor.
const ABOUT: &str = "What a program must speak to run tries of Dagbok's tasks. Try yours with `dagbok executor \
    conformance`; `deploy/executor/WRITING.md` goes through it step by step, and `tests/executors` has small ones in \
    Python and in JavaScript.

Payloads are MessagePack with named fields; times are integers there, microseconds since 1970 in UTC. A variant without \
    fields is its name, any other an object of one key, its name. Fields and variants are only ever added: pass over \
    what you don't know. Lines of logs are JSON, and so are values that tasks hand on, as text.

An id that stands in a subject of a signal, or in a key, is percent-escaped: `.`, `*`, `>`, `%`, blanks, control \
    characters, and what is not ASCII. A part of any other subject (a queue, an item's key, each part of a key between \
    its slashes, which become dots) then has every byte outside `A-Za-z0-9_-` as `=XX`.

Life: read `protocol` and your `cordon`; listen to answers, orders and logs; put your presence; send ExecutorJoined; \
    pull. Of each item: report Started, run it, keep its log, report its end, and only then acknowledge it. While it is \
    in hand say `+WPI` on it and put your presence, each every quarter of the lease. Where neither went through for two \
    thirds of it, stop what you run, and kill it before the lease is over: another may be given it then.

State: the scheduler writes `protocol` last. Where it is missing the keyed state was lost and is being filled: a key that is \
    missing may come yet, so read it again then. A miss between two reads of `protocol` at one revision is to be believed.

Fence: the key of every report is the item's, its `try_number` and `leg` above all. Where the item says `ask`, was \
    delivered before, or `ask_after` has passed, send Started with `reply_to`, wait for the answer, and run nothing where \
    it is Refused; say `again` where it was delivered before, unless it was passed on.

Room: where you lack what an item's `resources` ask for (each label with its value; `gpus` and what is under `custom`, of \
    which you have none that you don't count; `memory` and `cpu_milli` where you count them), begin nothing, report \
    nothing, and pass it on: put the number of the delivery, in digits, under `passed/KEY` of the keyed state, where KEY is \
    the item's own key, with `Nats-TTL` of a day, and say `-NAK` with a delay that grows. An item whose `passed` is the \
    delivery before its own was begun by nobody.

Checkpoints, which an executor may leave out: a directory that a task keeps is a tar archive in pieces, each put as a blob, \
    and then named by a report Checkpoint, before the try's end; `checkpoint` of the next try's item names them again. A \
    report Progress is a fact each: send few.

Lineage, which an executor may leave out: where the item says `lineage`, report Lineage once, before the try's end, with what \
    the task read and wrote.

Versions: who speaks one more or one less than the scheduler works with it; else say so, and take nothing.";

/// Where something is said or heard.
struct Channel {
    id: &'static str,
    address: &'static str,
    about: String,
    message: &'static str,
}

#[expect(clippy::too_many_lines, reason = "one entry a channel, and each says all of it")]
fn channels() -> Vec<Channel> {
    let one = |id, address, message, about: &str| Channel {
        id,
        address,
        message,
        about: about.to_owned(),
    };
    let work = format!(
        "Work items, in the work-queue stream `dagbok_{{namespace}}_work`, each on a subject of its own. They are pulled by \
         a durable consumer for each queue, of the queue's name: explicit acknowledgement, `max_deliver` -1, \
         `max_ack_pending` {}, `max_waiting` {}, `ack_wait` the lease, which is at least 1 s. Acknowledge (`+ACK`, and wait \
         for the answer) after the last report is in the inbox. An item that can't be read is handed back (`-NAK`) with a \
         delay.",
        nats::IN_FLIGHT_PER_QUEUE,
        nats::WAITING_PULLS,
    );
    let inbox = format!(
        "Commands and reports, in the stream `dagbok_{{namespace}}_inbox`; `id` is the command's own. The same id again is \
         the same command: send it until the stream has it. At most {} bytes; above {} bytes as one Zstandard frame. With \
         `Nats-Expected-Last-Subject-Sequence: 0` a second copy is refused while the first is there.",
        limits::RECORD_BYTES,
        limits::COMMAND_PLAIN_BYTES,
    );
    let blobs = format!(
        "Bytes by their SHA-256 digest, in the stream `dagbok_{{namespace}}_blobs`: logs, bundles (a tar as a Zstandard \
         frame), values above {} bytes. The header `Dagbok-Pieces` is 0 where the message has the bytes; else their \
         pieces of {} bytes stand before it, on `{{digest}}.{{n}}` from 0. The bundles that work items name are always here. \
         Where the installation has an object store (`[blobs]`), other bytes may lie there alone, as \
         `{{url}}/{{namespace}}/{{first two digits}}/{{digest}}`; what an executor puts here is found.",
        limits::INLINE_PAYLOAD_BYTES,
        nats::PIECE,
    );
    vec![
        one("items", "dagbok.{namespace}.work.{queue}.{key}", "WorkItem", &work),
        one("inbox", "dagbok.{namespace}.inbox.{id}", "Command", &inbox),
        one(
            "answers",
            "dagbok.{namespace}.signals.answers.{executor}.{id}",
            "Answer",
            "What became of a command that named this subject, less `dagbok.{namespace}.signals.`, as `reply_to`. An answer may \
             be lost: send the command again.",
        ),
        one(
            "orders",
            "dagbok.{namespace}.signals.orders.{executor}",
            "Order",
            "Orders to one executor; repeated while its presence shows that they were not heard. After Kill report the try \
             as Lost, `ordered`.",
        ),
        one(
            "logs",
            "dagbok.{namespace}.signals.logs.{executor}",
            "TryLogQuery",
            "Requests for the log of a try that is in hand; answered with whole lines of JSON (`LogLine`).",
        ),
        one(
            "usage",
            "dagbok.{namespace}.signals.usage.{executor}",
            "TryUsageQuery",
            "Requests for what a running try uses; may be left unanswered.",
        ),
        one(
            "questions",
            "dagbok.{namespace}.signals.questions",
            "ApiQuestion",
            "Requests to whoever serves the API, for a task that asks.",
        ),
        one(
            "presence",
            "$KV.dagbok_{namespace}_state.presence.{executor}",
            "Presence",
            "A key of the keyed state, put every quarter of a lease with a `beat` that rises and the header `Nats-TTL` of two \
             leases in seconds; deleted when the executor leaves (an empty message with `KV-Operation: DEL`).",
        ),
        one(
            "cordon",
            "$KV.dagbok_{namespace}_state.cordon.{name}",
            "Cordon",
            "A key of the keyed state, by the executor's name: while it is there, pull nothing. Read at the start, at each \
             renewal, and by the order LookAtCordon. One with `drain` that was not there at the start says: end what you run \
             within `limit_ms`, report what you end then as Lost, `drained`, send ExecutorLeft, delete your presence, leave.",
        ),
        one(
            "protocol",
            "$KV.dagbok_{namespace}_state.protocol",
            "Version",
            "A key of the keyed state: the version of this protocol that the scheduler speaks, in digits.",
        ),
        one(
            "values",
            "$KV.dagbok_{namespace}_state.xcom.{dag_id}.{run_id}.{task_id}.{map_index}.{value}",
            "Value",
            "A value that a task handed on, as JSON of a Payload, for the tasks after it; `return_value` is what it returned. \
             Read only: values are handed on in reports.",
        ),
        one("blobs", "dagbok.{namespace}.blobs.{digest}", "Bytes", &blobs),
    ]
}

/// What the parts of addresses stand for.
fn parameter(name: &str) -> &'static str {
    match name {
        "namespace" => "The namespace: letters, digits, `_` and `-`.",
        "queue" => "The queue, escaped.",
        "key" => "The item's key, escaped: the ids of its try, joined by dots.",
        "id" => "The command's id.",
        "executor" => "The executor's id: one life of it.",
        "name" => "What the executor is called over its lives.",
        "digest" => "SHA-256 of the bytes, 64 lower-case hexadecimal digits.",
        "dag_id" => "Id of the DAG, escaped twice.",
        "run_id" => "Id of the run, escaped twice.",
        "task_id" => "Id of the task that handed it on, escaped twice.",
        "map_index" => "Which of its copies; -1 where it is not mapped.",
        "value" => "The value's name, escaped twice.",
        other => unreachable!("`{other}` stands in an address and is not described"),
    }
}

/// What is done where: the operation, whether it sends, the channel, what is answered where it is a request, and why.
const OPERATIONS: [(&str, &str, &str, Option<&str>, &str); 13] = [
    ("takeWork", "receive", "items", None, "Pulls tries to run, as many as there are free slots."),
    (
        "report",
        "send",
        "inbox",
        None,
        "Says that the executor comes or goes, and what becomes of tries.",
    ),
    (
        "hearAnswer",
        "receive",
        "answers",
        None,
        "Hears whether a try may begin, and whether the executor is taken.",
    ),
    (
        "hearOrder",
        "receive",
        "orders",
        None,
        "Ends tries that are over by the log; looks whether work may be taken.",
    ),
    ("serveLog", "receive", "logs", Some("TryLogSlice"), "Shows lines while a task runs."),
    (
        "serveUsage",
        "receive",
        "usage",
        Some("TryUsageAnswer"),
        "Shows what a task uses while it runs.",
    ),
    (
        "ask",
        "send",
        "questions",
        Some("ApiReply"),
        "Asks for a task about other runs, variables and connections.",
    ),
    (
        "keepPresence",
        "send",
        "presence",
        None,
        "Shows that the executor is there, and what it holds.",
    ),
    (
        "readCordon",
        "receive",
        "cordon",
        None,
        "Learns that it is to take nothing new, or to leave.",
    ),
    ("readProtocol", "receive", "protocol", None, "Learns which version the scheduler speaks."),
    ("readValue", "receive", "values", None, "Reads what other tasks handed on."),
    ("keepBlob", "send", "blobs", None, "Keeps a log, or a value that is large."),
    ("readBlob", "receive", "blobs", None, "Reads the DAG files, or a value that is large."),
];

/// The whole document.
pub(crate) fn executor_protocol() -> Value {
    let mut schemas = executor_schemas();
    schemas.values_mut().for_each(rewrite);
    let mut messages = Map::new();
    for name in MESSAGES {
        let payload = json!({ "$ref": format!("#/components/schemas/{name}") });
        messages.insert(name.to_owned(), json!({ "name": name, "payload": payload }));
    }
    let plain = |content: &str, about: &str, payload: Value| json!({ "contentType": content, "summary": about, "payload": payload });
    messages.insert(
        "Version".into(),
        plain(
            "text/plain",
            "A whole number, in digits.",
            json!({ "type": "string", "pattern": "^[0-9]+$" }),
        ),
    );
    messages.insert(
        "Bytes".into(),
        plain("application/octet-stream", "Any bytes.", json!({ "type": "string" })),
    );
    let payload = json!({ "$ref": "#/components/schemas/Payload" });
    messages.insert(
        "Value".into(),
        plain("application/json", "A value's JSON text, or where that lies.", payload),
    );
    let of_channels = channels();
    let operations: Map<String, Value> =
        OPERATIONS.iter().map(|it| (it.0.to_owned(), operation(&of_channels, *it))).collect();
    let mut told: Map<String, Value> =
        of_channels.iter().map(|it| (it.id.to_owned(), channel(it))).collect();
    for (id, reply) in OPERATIONS.iter().filter_map(|it| Some((it.0, it.3?))) {
        let message = json!({ "$ref": format!("#/components/messages/{reply}") });
        let about = "The answer: on the subject that the request names as its reply.";
        told.insert(
            format!("{id}Reply"),
            json!({ "address": null, "description": about, "messages": { reply: message } }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Dagbok executor protocol",
            "version": format!("{PROTOCOL}.0.0"),
            "license": { "name": "Apache-2.0" },
            "description": ABOUT
        },
        "defaultContentType": "application/msgpack",
        "channels": told,
        "operations": operations,
        "components": { "schemas": schemas, "messages": messages }
    })
}

/// What stands on the wire by itself, in MessagePack.
const MESSAGES: [&str; 13] = [
    "WorkItem",
    "Command",
    "Answer",
    "Order",
    "Presence",
    "Cordon",
    "TryLogQuery",
    "TryLogSlice",
    "TryUsageQuery",
    "TryUsageAnswer",
    "UsageSeries",
    "ApiQuestion",
    "ApiReply",
];

fn channel(it: &Channel) -> Value {
    let names = it.address.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let parameters: Map<String, Value> =
        names.map(|name| (name.to_owned(), json!({ "description": parameter(name) }))).collect();
    let message = json!({ "$ref": format!("#/components/messages/{}", it.message) });
    json!({ "address": it.address, "description": it.about, "parameters": parameters, "messages": { it.message: message } })
}

fn operation(
    channels: &[Channel],
    (id, action, of, reply, about): (&str, &str, &str, Option<&str>, &str),
) -> Value {
    let channel = channels.iter().find(|it| it.id == of).expect("an operation is on a channel");
    let message = format!("#/channels/{of}/messages/{}", channel.message);
    let mut told = json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{of}") },
        "summary": about,
        "messages": [{ "$ref": message }]
    });
    if let Some(reply) = reply {
        let channel = format!("#/channels/{id}Reply");
        told["reply"] = json!({
            "channel": { "$ref": channel },
            "messages": [{ "$ref": format!("{channel}/messages/{reply}") }]
        });
    }
    told
}

/// The schemas of the messages, of a log's lines, and of all that they are made of.
fn executor_schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut add = |name: &str, mut root: Value| {
        // Definitions are shared by all messages: lifted out, once each.
        if let Some(Value::Object(defs)) =
            root.as_object_mut().and_then(|root| root.remove("$defs"))
        {
            schemas.extend(defs);
        }
        if let Some(root) = root.as_object_mut() {
            root.remove("$schema");
        }
        schemas.insert(name.to_owned(), root);
    };
    add("WorkItem", schema::<WorkItem>("WorkItem", "One try to run."));
    add("Command", schema::<Command>("Command", "To the scheduler's inbox; reports are commands."));
    add("Answer", schema::<Answer>("Answer", "What became of a command."));
    add("Order", schema::<Order>("Order", "To one executor."));
    add(
        "Presence",
        schema::<Presence>("Presence", "That an executor is there, and what it holds."),
    );
    add("Cordon", schema::<Cordon>("Cordon", "That an executor takes nothing new, or leaves."));
    add("TryLogQuery", schema::<TryLogQuery>("TryLogQuery", "Asks for a running try's log."));
    add("TryLogSlice", schema::<TryLogSlice>("TryLogSlice", "A slice of it."));
    add("TryUsageQuery", schema::<TryUsageQuery>("TryUsageQuery", "Asks what a running try uses."));
    add("TryUsageAnswer", schema::<TryUsageAnswer>("TryUsageAnswer", "The answer to that."));
    add(
        "UsageSeries",
        schema::<UsageSeries>(
            "UsageSeries",
            "What a try used over its time: the blob that its log's reference names.",
        ),
    );
    add("ApiQuestion", schema::<ApiQuestion>("ApiQuestion", "What a task asks about other runs."));
    add("ApiReply", schema::<ApiReply>("ApiReply", "The API's answer to that."));
    schemas.values_mut().for_each(times_are_integers);
    // A line is JSON, where times are text.
    let mut add = |name: &str, mut root: Value| {
        let root = root.as_object_mut().expect("a schema of an object");
        root.remove("$schema");
        if let Some(Value::Object(defs)) = root.remove("$defs") {
            schemas.extend(defs);
        }
        schemas.insert(name.to_owned(), Value::Object(root.clone()));
    };
    add("LogLine", schema::<dagbok_executor::LogLine>("LogLine", "One line of a try's log."));
    schemas
}

/// As MessagePack has them.
fn times_are_integers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("format").is_some_and(|format| format == "date-time") {
                fields.insert("format".to_owned(), json!("int64"));
                let integer = |kind: &mut Value| {
                    if kind == "string" {
                        *kind = json!("integer");
                    }
                };
                match fields.get_mut("type") {
                    Some(Value::Array(kinds)) => kinds.iter_mut().for_each(integer),
                    Some(kind) => integer(kind),
                    None => {}
                }
            }
            fields.values_mut().for_each(times_are_integers);
        }
        Value::Array(items) => items.iter_mut().for_each(times_are_integers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn rewrite(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix("#/$defs/") {
                *text = format!("#/components/schemas/{name}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        Value::Object(fields) => fields.values_mut().for_each(rewrite),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
