/** Events: the log itself, as far as it is about a run, a record a row. */
import { createResource, For, Show } from "solid-js";
import { apiUrl } from "../base";
import { Fault, Nothing } from "../parts";
import { day, second } from "../time";

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
  facts: Fact[];
}

/** Records that are read at most. */
const MOST = 1_000;

async function read(dag: string, run: string): Promise<Entry[]> {
  const response = await fetch(apiUrl("dagbok/events", { dag_id: dag, run_id: run, limit: MOST }));
  if (!response.ok) throw new Error(response.statusText);
  const text = await response.text();
  return text.split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line) as Entry);
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
  const [entries] = createResource(() => ({ dag: props.dag, run: props.run, seq: props.seq }), (of) => read(of.dag, of.run));
  return (
    <>
      <Show when={entries.error as Error | undefined}>{(error) => <Fault what="The log can't be read." error={error()} />}</Show>
      <Show when={!entries.error && entries.latest}>
        {(all) => (
          <Show when={all().length} fallback={<Nothing>The log has nothing about it.</Nothing>}>
            <ol class="events">
              <For each={all()}>
                {(entry) => (
                  <li>
                    <details>
                      <summary>
                        <code class="dim">{entry.seq}</code>
                        <time dateTime={entry.at} title={`${day(entry.at)} ${entry.at}`}>{second(entry.at)}</time>
                        <span class="dim clip">{actor(entry.by)}</span>
                        <span>{entry.facts.map(words).join(" · ")}{entry.reason ? ` — ${entry.reason}` : ""}</span>
                      </summary>
                      <pre class="value">{JSON.stringify(entry.facts, null, 2)}</pre>
                    </details>
                  </li>
                )}
              </For>
            </ol>
          </Show>
        )}
      </Show>
    </>
  );
}
