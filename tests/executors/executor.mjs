// An executor for Dagbok by its protocol alone (schemas/executor-protocol.json), in JavaScript: it runs tasks as commands.
//
// node executor.mjs --nats nats://127.0.0.1:4222 [--namespace NAME] [--queue NAME] [--name NAME] [--slots N] COMMAND...
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { decode, encode } from "@msgpack/msgpack";
import { connect, headers } from "@nats-io/transport-node";

const PROTOCOL = 2, LEASE = 10_000, HOST = hostname(), PAGE = 4096, INLINE = 4096, PIECE = 262_144;
const text = { type: "string" };
const { values: args, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    nats: { ...text, default: "nats://127.0.0.1:4222" }, namespace: { ...text, default: "default" },
    queue: { ...text, default: "default" }, name: { ...text, default: HOST }, slots: { ...text, default: "4" },
  },
});
const root = `dagbok.${args.namespace}.`, kv = `$KV.dagbok_${args.namespace}_state.`, slots = Number(args.slots);
const id = `javascript-${randomBytes(8).toString("hex")}`, key = (of) => JSON.stringify(of), now = () => Date.now() * 1000;
const escaped = (of, sign = "%", these = /[.*>%\x00- \x7f-\xff]/g) =>
  Buffer.from(of).toString("latin1").replace(these, (it) => sign + it.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0"));
const tokens = (of) => escaped(of, "=", /[^A-Za-z0-9_/-]/g).replaceAll("/", ".");
const NOTHING = { max_rss_bytes: 0, user_us: 0, system_us: 0 };
const held = new Map(), answers = new Map();
let beat = 0, cordon = null, found = null, leaving = false;

const nc = await connect({ servers: args.nats.split(","), maxReconnectAttempts: -1 });

/** Stores a message in a stream, and waits until it is there. */
async function store(subject, data, head = {}) {
  const h = headers();
  for (const [name, value] of Object.entries(head)) h.set(name, value);
  const answer = (await nc.request(subject, data, { timeout: 5_000, headers: h })).json();
  if (answer.error) throw new Error(answer.error.description);
}

async function last(stream, subject) {
  const it = await nc.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, new Uint8Array(), { timeout: 5_000 });
  const gone = it.headers?.code || it.headers?.get("KV-Operation") || it.headers?.get("Nats-Marker-Reason");
  return gone ? null : it;
}

const read = async (at) => (await last(`KV_dagbok_${args.namespace}_state`, kv + at))?.data ?? null;
const get = (name) => read(tokens(name));

/** The text of a value, wherever it lies: a large one is a blob, which may be in pieces. */
async function textOf(value) {
  if (value.Inline !== undefined) return value.Inline;
  const stream = `dagbok_${args.namespace}_blobs`, at = `${root}blobs.${value.Blob.digest}`, head = await last(stream, at);
  if (!head) throw new Error(`there is no blob ${value.Blob.digest}`);
  const count = Number(head.headers.get("Dagbok-Pieces")), pieces = [head.data];
  for (let n = 0; n < count; n++) pieces.push((await last(stream, `${at}.${n}`)).data);
  return Buffer.concat(pieces).toString();
}

/** Keeps bytes as a blob; its head comes last, so that what has a head is whole. */
async function keep(data) {
  const digest = createHash("sha256").update(data).digest("hex"), at = `${root}blobs.${digest}`;
  const count = data.length > PIECE ? Math.ceil(data.length / PIECE) : 0;
  for (let n = 0; n < count; n++) await store(`${at}.${n}`, data.subarray(n * PIECE, (n + 1) * PIECE));
  await store(at, count ? "" : data, { "Dagbok-Pieces": String(count) });
  return { digest, size: data.length };
}

/** Puts a command into the inbox, again until it is there; with `asks`, until it is answered. The id is the same. */
async function tell(body, asks = false) {
  const ident = randomBytes(16).toString("hex"), word = { id: ident, by: { Executor: id }, sent_at: now(), body };
  if (asks) word.reply_to = `answers.${id}.${ident}`;
  for (;;) {
    try {
      const answer = new Promise((resolve) => answers.set(ident, resolve));
      await store(`${root}inbox.${ident}`, encode(word, { ignoreUndefined: true }));
      const heard = asks ? await Promise.race([answer, sleep(5_000)]) : "sent";
      if (heard) return heard;
    } catch {
      await sleep(500);
    }
  }
}

/** Reads whether work may be taken, and puts the presence, which lives for two leases. */
async function show() {
  const word = await get(`cordon/${args.name}`);
  cordon = word ? decode(word) : null;
  if (cordon?.drain && cordon.seq !== found) leaving = true;
  const presence = {
    executor: id, name: args.name, hostname: HOST, version: "1", protocol: PROTOCOL, slots, queues: [args.queue],
    lease_ms: LEASE, beat: ++beat, cordoned: cordon !== null, draining: leaving, at: now(),
    holds: [...held.values()].map((it) => ({ key: it.key, pid: it.pid })),
  };
  await store(`${kv}presence.${id}`, encode(presence), { "Nats-TTL": "20" });
  return presence;
}

/** Keeps presence and leases; where that fails for too long, ends what others may have been given. */
async function renew() {
  for (let good = Date.now(); ; await sleep(LEASE / 4)) {
    try {
      await show();
      for (const it of held.values()) nc.publish(it.reply, "+WPI");
      await nc.flush();
      good = Date.now();
    } catch {
      if (Date.now() - good > (LEASE * 2) / 3) held.forEach((it) => end(it, "fenced"));
    }
  }
}

function end(it, why) {
  if (why) it.lost ??= { Lost: { why } };
  try {
    if (it.pid) process.kill(-it.pid, "SIGKILL");
  } catch { /* It is over. */ }
}

/** Takes in answers, questions for a log, and orders. */
async function hear(kind) {
  for await (const message of nc.subscribe(`${root}signals.${kind}`)) {
    const word = decode(message.data);
    if (kind.startsWith("answers.")) answers.get(message.subject.split(".").at(-1))?.(word);
    else if (kind.startsWith("logs.")) {
      const it = held.get(key(word.key)), part = it ? it.log.subarray(word.offset, word.offset + word.max) : Buffer.alloc(0);
      const lines = part.subarray(0, part.lastIndexOf(10) + 1);
      message.respond(encode({ next_offset: word.offset + lines.length, lines: lines.toString(), complete: !it }));
    } else if (word === "LookAtCordon") await show().catch(() => {});
    else if (word.Kill && held.has(key(word.Kill.key))) end(held.get(key(word.Kill.key)), "ordered");
  }
}

/** Brings a try to its end, reports that, and only then lets the item go. */
async function take(message, item) {
  const name = key(item.key), nth = Number(message.reply.split(".").at(-5)), wants = item.resources ?? {};
  if (held.has(name)) return void (held.get(name).reply = message.reply);
  const passed = `passed.${message.subject.split(".").at(-1)}`, some = (of) => Object.keys(of ?? {}).length > 0;
  if (some(wants.labels) || wants.gpus || some(wants.custom)) { // There is none of it here.
    await store(kv + passed, String(nth), { "Nats-TTL": "86400" });
    return void nc.publish(message.reply, `-NAK {"delay": ${2 ** Math.min(nth, 8) * 250_000_000}}`);
  }
  const it = { ...item, reply: message.reply, pid: 0, log: Buffer.alloc(0) }, asks = nth > 1 || item.ask === true;
  held.set(name, it);
  try {
    await work(it, asks, nth > 1 && Buffer.from((await read(passed)) ?? "").toString() !== String(nth - 1));
    await nc.request(it.reply, "+ACK", { timeout: 5_000 });
  } finally { // Not acknowledged it comes again, and is asked for.
    held.delete(name);
    end(it);
  }
  await show();
}

async function work(it, asks, again) {
  // The try's number is the fence.
  const report = (body, asks) => tell({ Report: { key: it.key, executor: id, at: now(), body } }, asks);
  const answer = await report({ Started: { hostname: HOST, pid: 0, inputs: {}, again } }, asks);
  if (!asks || !answer.Refused) {
    const failed = (error) => ({ kind: "executor", fault: "system", message: `the executor failed: ${error}` });
    // Unsaid, its lease would be renewed for nobody.
    const over = await run(it).catch((error) => ({ Failed: { xcoms: [], usage: NOTHING, log: null, failure: failed(error) } }));
    await report(it.lost ?? over);
  }
}

/** Runs a task as a process of its own, which reads on stdin of its task: how it ended. */
async function run(it) {
  const conf = await textOf(it.run.conf ?? { Inline: "{}" }), place = `xcom/${escaped(it.key.dag_id)}/${escaped(it.key.run_id)}`;
  const value = await get(`${place}/succeed/-1/return_value`), xcoms = [];
  const told = { key: it.key, conf: JSON.parse(conf), succeed: value && (await textOf(JSON.parse(Buffer.from(value)))) };
  const child = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const exit = new Promise((resolve) => child.on("close", resolve).on("error", () => resolve(127)));
  // At once: what nobody reads when the process is over is thrown away.
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  child.stdin.on("error", () => {}); // It need not read what it is told.
  it.pid = child.pid ?? 0;
  if (it.lost) end(it);
  child.stdin.end(JSON.stringify(told));
  await show();
  const limit = it.limits?.memory ?? Infinity, watching = setInterval(async () => {
    const pages = Number((await readFile(`/proc/${it.pid}/statm`, "utf8").catch(() => "0 0")).split(" ")[1]);
    if (pages * PAGE > limit) end(it, (it.large = `it used more than its ${limit} bytes of memory`) && undefined);
  }, 100);
  exit.then(() => clearInterval(watching));
  for await (const line of said) {
    if (line.startsWith("\0")) {
      const bytes = Buffer.from(line.slice(1)), value = bytes.length > INLINE ? { Blob: await keep(bytes) } : { Inline: line.slice(1) };
      xcoms.push({ key: "return_value", value });
    } else {
      const entry = JSON.stringify({ t: new Date().toISOString(), s: "stdout", l: "info", m: line });
      if (it.log.length + entry.length < 4_000_000) it.log = Buffer.concat([it.log, Buffer.from(`${entry}\n`)]);
    }
  }
  const code = await exit;
  const log = { ...(await keep(it.log)), lines: it.log.toString().split("\n").length - 1, dropped: 0 };
  const over = { xcoms, usage: NOTHING, log };
  if (code === 0) return { Succeeded: over };
  const failure = { kind: it.large ? "out_of_memory" : "exit", fault: "user", message: it.large ?? `it ended with ${code}` };
  return { Failed: { ...over, failure } };
}

/** Asks for work, as many as there is room for, and waits for half a second. */
async function* pull(queue, batch) {
  const inbox = `_INBOX.${randomBytes(12).toString("hex")}`, answers = nc.subscribe(inbox, { max: batch + 1 });
  const asked = JSON.stringify({ batch, expires: 500_000_000 });
  nc.publish(`$JS.API.CONSUMER.MSG.NEXT.dagbok_${args.namespace}_work.${queue}`, asked, { reply: inbox });
  const over = setTimeout(() => answers.unsubscribe(), 1_000);
  for await (const message of answers) {
    if (message.headers?.code) break;
    yield message;
    if (--batch === 0) break;
  }
  clearTimeout(over);
}

["answers.%.*", "orders.%", "logs.%"].forEach((kind) => void hear(kind.replace("%", id)));
await nc.flush();
const before = await get(`cordon/${args.name}`), spoken = Number(Buffer.from((await get("protocol")) ?? "1"));
found = before ? decode(before).seq : null;
if (Math.abs(spoken - PROTOCOL) > 1) {
  console.error(`the scheduler speaks version ${spoken} of the protocol, and this executor version ${PROTOCOL}`);
  process.exit(1);
}
process.on("SIGTERM", () => (leaving = true));
await tell({ ExecutorJoined: { executor: id, presence: await show() } });
void renew();
const queue = tokens(args.queue), tries = new Set(), stream = `dagbok_${args.namespace}_work`, filter = `${root}work.${queue}.*`;
const config = { durable_name: queue, name: queue, filter_subject: filter, ack_policy: "explicit", deliver_policy: "all",
  max_deliver: -1, ack_wait: LEASE * 1e6, max_ack_pending: 10_000, max_waiting: 2_048, replay_policy: "instant" };
await store(`$JS.API.CONSUMER.CREATE.${stream}.${queue}.${filter}`, JSON.stringify({ stream_name: stream, config }));
while (!leaving) {
  if (cordon || held.size >= slots) await sleep(50);
  else for await (const message of pull(queue, slots - held.size)) {
    try {
      const item = decode(message.data), taking = take(message, item).catch((error) => console.error(error));
      tries.add(taking);
      void taking.then(() => tries.delete(taking));
    } catch { // A newer executor may read it.
      nc.publish(message.reply, '-NAK {"delay": 30000000000}');
    }
  }
}
await Promise.race([Promise.all(tries), sleep(cordon?.limit_ms ?? 60_000)]);
held.forEach((it) => end(it, "drained"));
await Promise.all(tries);
await tell({ ExecutorLeft: { executor: id } });
await store(`${kv}presence.${id}`, "", { "KV-Operation": "DEL" });
process.exit(0);
