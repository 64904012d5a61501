/** Events: the log itself, as far as it is about a run, about a DAG, or all of it; a record a row. */
import { A } from "@solidjs/router";
import { createSignal, For, Show } from "solid-js";
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

/** Records of a run that are read at once. */
const MOST = 1_000;

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
  const kept = found.slice(0, PAGE);
  return { entries: kept, from: found.length > PAGE ? (kept[kept.length - 1]?.seq ?? from) : from };
}

/** `TryFailed` of train as `train: try failed`. */
function words(fact: Fact): string {
  const verb = fact.type.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase().replace("xcom", "XCom").replace(/^x com/, "XCom");
  const copy = fact.map_index !== undefined && fact.map_index >= 0 ? `[${fact.map_index}]` : "";
  const of = fact.task_id ? `${fact.task_id}${copy}: ` : "";
  return `${of}${verb}${(fact.try_number ?? 0) > 1 ? ` (try ${fact.try_number})` : ""}`;
}
const actor = (by: string): string => by.replace(/^executor:(executor-[0-9a-f]{8}).*/, "$1").replace(/^user:/, "");

export function Events(props: { dag: string; run: string; seq: number }) {
  const [most, setMost] = createSignal(MOST);
  const all = kept(() => [props.dag, props.run, most()], (signal) => read({ dag_id: props.dag, run_id: props.run, limit: most() }, signal), { key: "seq", when: () => props.seq, apart: 500 });
  return (
    <Read of={all} what="The log can't be read.">
      {(it) => (
        <Show when={it().length} fallback={<Nothing>The log has nothing about it.</Nothing>}>
          <Rows of={it()} />
          <Show when={it().length === most()}><p class="foot dim">The first {most().toLocaleString("en")} records. <button type="button" class="link" onClick={() => setMost(most() * 4)}>Show more</button></p></Show>
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
            <details>
              <summary>
                <code class="dim">{entry.seq}</code>
                <time dateTime={entry.at} title={`${day(entry.at)} ${entry.at}`}>{props.dated ? `${short(entry.at)}${second(entry.at).slice(5)}` : second(entry.at)}</time>
                <span class="dim clip" title={entry.by}>{actor(entry.by)}</span>
                <span><Show when={props.dated && scope(entry)}>{(of) => <b>{of()} </b>}</Show>{entry.facts.map(words).join(" · ")}{entry.reason ? ` — ${entry.reason}` : ""}</span>
              </summary>
              <Show when={props.dated && entry.dag_id}>{(dag) => <p class="of"><A href={entry.run_id ? runPath(dag(), entry.run_id) : dagPath(dag())}>{entry.run_id ? "The run" : "The DAG"}</A></p>}</Show>
              <pre class="value">{JSON.stringify(entry, null, 2)}</pre>
            </details>
          </li>
        )}
      </For>
    </ol>
  );
}

/** What a record is about. */
const scope = (entry: Entry): string => [entry.dag_id, entry.run_id, entry.file, entry.executor?.slice(0, 17)].filter(Boolean).join(" ");

/** The newest records about a DAG, or of the whole log; a filter over what is at hand. */
export function Newest(props: { dag?: string }) {
  const [before, setBefore] = createSignal<number>();
  const [find, setFind] = createSignal("");
  const page = kept(
    // Up to which record there are any is known once the page is.
    () => (seq() > 0 ? [props.dag, before()] : undefined),
    (signal) => back(props.dag, before() ?? seq() + 1, signal),
    { key: "seq", when: () => before() === undefined && seq() },
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
