/** Events: the log itself, as far as it is about a run, about a DAG, or all of it; a record a row. */
import { A, useSearchParams } from "@solidjs/router";
import { createEffect, createSignal, For, type JSX, on, Show } from "solid-js";
import { apiUrl, type Query } from "../base";
import { kept, pulse, seq } from "../live";
import { Crumbs, dagPath, Nothing, Read, runPath } from "../parts";
import { day, second, short } from "../time";
import { Places } from "./places";

interface Fact {
  type: string;
  task_id?: string;
  map_index?: number;
  try_number?: number;
  [name: string]: unknown;
}
interface Entry {
  seq: number;
  at: string;
  by: string;
  reason?: string;
  dag_id?: string;
  run_id?: string;
  file?: string;
  executor?: string;
  facts: Fact[];
}

/** Records of a run that are shown at once. */
const OF_RUN = 500;

async function read(query: Query, signal: AbortSignal): Promise<Entry[]> {
  const response = await fetch(apiUrl("dagbok/events", query), { signal });
  if (!response.ok) throw new Error(response.statusText);
  const text = await response.text();
  return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line) as Entry);
}

/** Records that are shown at once of a DAG or of all. */
const PAGE = 100;
/** How far back one looks of a DAG first; twice as far each time where little is found, so often. Of all records what is shown is read. */
const STRETCH = 500;
const LOOKS = 7;

/** The newest records before one, the newest first, and where it was looked from. */
async function back(dag: string | undefined, before: number, signal: AbortSignal): Promise<{ entries: Entry[]; from: number }> {
  let found: Entry[] = [];
  let from = before;
  for (let looks = 0; looks < LOOKS && found.length < PAGE && from > 1; looks++) {
    const start = Math.max(1, from - (dag ? STRETCH * 2 ** looks : PAGE));
    found = [...found, ...(await read({ from: start, to: from - 1, dag_id: dag }, signal)).reverse()];
    from = start;
  }
  return newest(found, from);
}

/** As many as a page has, and from where on there are older ones. */
function newest(found: Entry[], from: number): { entries: Entry[]; from: number } {
  const entries = found.slice(0, PAGE);
  return { entries, from: found.length > PAGE ? (entries[entries.length - 1]?.seq ?? from) : from };
}

/** `TryFailed` of train as `train: try failed`. */
function words(fact: Fact): string {
  const verb = fact.type.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase().replace("xcom", "XCom").replace(/^x com/, "XCom");
  const copy = fact.map_index !== undefined && fact.map_index >= 0 ? `[${fact.map_index}]` : "";
  const of = fact.task_id ? `${fact.task_id}${copy}: ` : "";
  return `${of}${verb}${(fact.try_number ?? 0) > 1 ? ` (try ${fact.try_number})` : ""}`;
}
const actor = (by: string): string => by.replace(/^executor:(executor-[0-9a-f]{8}).*/, "$1").replace(/^user:/, "");

/** A run's records from one on. What was read stays: only what came since is asked for. */
export function Events(props: { dag: string; run: string; seq: number }) {
  const [from, setFrom] = createSignal(1);
  createEffect(on(() => [props.dag, props.run], () => setFrom(1), { defer: true }));
  const of = () => [props.dag, props.run, from()];
  let had: { of: string; entries: Entry[] } | undefined;
  const page = kept(
    of,
    async (signal) => {
      const key = JSON.stringify(of());
      const before = had?.of === key ? had.entries : [];
      const room = OF_RUN - before.length;
      const next = (before[before.length - 1]?.seq ?? from() - 1) + 1;
      const fresh = room ? await read({ dag_id: props.dag, run_id: props.run, from: next, limit: room }, signal) : [];
      had = { of: key, entries: [...before, ...fresh] };
      return [...had.entries];
    },
    { key: "seq", whose: () => [props.dag, props.run], when: () => props.seq, apart: 500 },
  );
  const last = (all: Entry[]) => all[all.length - 1]?.seq ?? 0;
  return (
    <Read of={page} what="The log can't be read.">
      {(it) => (
        <Show when={it().length} fallback={<Nothing>The log has nothing about it.</Nothing>}>
          <Show when={from() > 1 || (it().length === OF_RUN && last(it()) < props.seq)}>
            <p class="filter padded">
              <span class="dim">Records {(it()[0]?.seq ?? 0).toLocaleString("en")} to {last(it()).toLocaleString("en")} of the run</span>
              <Show when={from() > 1}><button type="button" onClick={() => setFrom(1)}>First</button></Show>
              <Show when={it().length === OF_RUN && last(it()) < props.seq}>
                <button type="button" onClick={() => setFrom(last(it()) + 1)}>Next</button>
                <button type="button" onClick={() => setFrom(Math.max(1, props.seq - OF_RUN + 2))}>Last</button>
              </Show>
            </p>
          </Show>
          <Rows of={it()} />
        </Show>
      )}
    </Read>
  );
}

function Rows(props: { of: Entry[]; dated?: boolean }) {
  return (
    <ol class="events" classList={{ dated: props.dated ?? false }}>
      <For each={props.of}>
        {(entry) => (
          <li>
            <Opened of={entry}>
              <summary>
                <code class="dim">{entry.seq}</code>
                <time dateTime={entry.at} title={`${day(entry.at)} ${entry.at}`}>{props.dated ? `${short(entry.at)}${second(entry.at).slice(5)}` : second(entry.at)}</time>
                <span class="dim clip" title={entry.by}>{actor(entry.by)}</span>
                <span><Show when={props.dated && scope(entry)}>{(of) => <b>{of()} </b>}</Show>{entry.facts.map(words).join(" · ")}{entry.reason ? ` — ${entry.reason}` : ""}</span>
              </summary>
            </Opened>
          </li>
        )}
      </For>
    </ol>
  );
}

/** All of a record, once somebody opens it. */
function Opened(props: { of: Entry; children: JSX.Element }) {
  const [is, setIs] = createSignal(false);
  return (
    <details onToggle={(event) => setIs(event.currentTarget.open)}>
      {props.children}
      <Show when={is()}>
        <Show when={props.of.dag_id}>{(dag) => <p class="of"><A href={props.of.run_id ? runPath(dag(), props.of.run_id) : dagPath(dag())}>{props.of.run_id ? "The run" : "The DAG"}</A></p>}</Show>
        <pre class="value">{JSON.stringify(props.of, null, 2)}</pre>
      </Show>
    </details>
  );
}

/** What a record is about. */
const scope = (entry: Entry): string => [entry.dag_id, entry.run_id, entry.file, entry.executor?.slice(0, 17)].filter(Boolean).join(" ");

/** The newest records about a DAG, or of the whole log; a filter over what is at hand. */
export function Newest(props: { dag?: string }) {
  const [before, setBefore] = createSignal<number>();
  const [query, setQuery] = useSearchParams<{ find?: string }>();
  const find = () => query.find ?? "";
  const setFind = (to: string) => setQuery({ find: to || null }, { replace: true });
  let had: { dag: string | undefined; entries: Entry[]; from: number; upto: number } | undefined;
  const page = kept(
    // Up to which record there are any is known once the page is.
    () => (seq() > 0 ? [props.dag, before()] : undefined),
    async (signal) => {
      const at = before();
      if (at !== undefined) return await back(props.dag, at, signal);
      const upto = seq();
      // What was read stays; only what came since is asked for, where that is not too much to be worth it.
      const known = had?.dag === props.dag && upto - (had?.upto ?? 0) <= STRETCH * 4 ? had : undefined;
      if (known && upto <= known.upto) return { entries: [...known.entries], from: known.from };
      const fresh = known && (await read({ from: known.upto + 1, to: upto, dag_id: props.dag }, signal)).reverse();
      const found = known && fresh ? newest([...fresh, ...known.entries], known.from) : await back(props.dag, upto + 1, signal);
      had = { ...found, dag: props.dag, upto };
      return { entries: [...found.entries], from: found.from };
    },
    { key: "seq", whose: () => props.dag, when: () => before() === undefined && seq() },
  );
  const shown = () => {
    const text = find().toLowerCase();
    const all = page.latest?.entries ?? [];
    return text ? all.filter((one) => JSON.stringify(one).toLowerCase().includes(text)) : all;
  };
  return (
    <>
      <div class="filter padded">
        <input type="search" aria-label="Find records" placeholder="a task, a name, TryFailed" value={find()} onInput={(event) => setFind(event.currentTarget.value)} />
        <Show when={before() !== undefined}><button type="button" onClick={() => setBefore(undefined)}>Newest</button></Show>
        <Show when={(page.latest?.from ?? 0) > 1}><button type="button" onClick={() => setBefore(page.latest?.from)}>Older</button></Show>
        <span class="dim">{before() === undefined ? "the newest" : `before ${before()?.toLocaleString("en")}`}, {shown().length} of {(page.latest?.entries ?? []).length} shown{(page.latest?.from ?? 0) > 1 ? `, looked back to ${page.latest?.from.toLocaleString("en")}` : ""}</span>
        <Show when={shown().length}><a class="go" href={apiUrl("dagbok/events", { dag_id: props.dag, from: shown()[shown().length - 1]?.seq, to: shown()[0]?.seq })} download={`${props.dag ?? "dagbok"}-events.jsonl`} target="_self" title="every record between the first and the last that are shown, as JSON, a line each">download these</a></Show>
      </div>
      <Read of={page} what="The log can't be read.">
        {() => <Show when={shown().length} fallback={<Nothing>{find() ? "No record here has that in it." : (page.latest?.from ?? 0) > 1 ? "The log has nothing about it so far back; look at older records." : "The log has nothing about it."}</Nothing>}><Rows of={shown()} dated /></Show>}
      </Read>
    </>
  );
}

/** All that was decided, by whom, and why. */
export function AuditView() {
  pulse();
  return (
    <>
      <Crumbs of={[{ text: "Audit" }]} />
      <Places here="/audit" />
      <Newest />
    </>
  );
}
