/** The list of DAGs: one row each, with its last runs as bars. */
import { A, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, createSignal, For, type JSX, on, onCleanup, Show } from "solid-js";
import { askPause } from "../acts";
import { prefix, type Shapes } from "../base";
import { live } from "../live";
import { Beyond, Crumbs, dagPath, Fault, Nothing, Pages, runPath, Time, useOffset } from "../parts";
import { schedule } from "../cron";
import { look } from "../states";
import { askTrigger } from "../trigger";
import { length, short } from "../time";

const HINTS = ["is:failed", "is:running", "is:paused", "is:active"];

/** Rows of a page, as many as the server gives where no number is said. */
const PAGE = 50;

export default function DagsView() {
  const [query, setQuery] = useSearchParams<{ q?: string; page?: string }>();
  const q = () => query.q ?? "";
  const offset = useOffset(PAGE);
  const held = live(() => ["dags", q(), offset()] as ["dags", string, number]);
  const [typed, setTyped] = createSignal(q());
  let timer: number | undefined;
  const type = (to: string) => {
    setTyped(to);
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      timer = undefined;
      setQuery({ q: to || null, page: null }, { replace: true });
    }, 150);
  };
  // Who goes back is at other words; what is typed just now stays.
  createEffect(on(q, (now) => timer === undefined && setTyped(now), { defer: true }));
  onCleanup(() => clearTimeout(timer));
  const toggle = (word: string) => {
    const words = typed().split(/\s+/).filter(Boolean);
    type(words.includes(word) ? words.filter((one) => one !== word).join(" ") : [...words, word].join(" "));
  };
  /** A head by which the list is sorted: once, the other way round, and not. The order is a word of the query like others. */
  const Sort = (props: { by: string; class?: string; children: JSX.Element }) => {
    const word = () => typed().split(/\s+/).find((one) => one === `sort:${props.by}` || one === `sort:-${props.by}`);
    const turn = () => {
      const rest = typed().split(/\s+/).filter((one) => one && !one.startsWith("sort:"));
      const next = word() === undefined ? [`sort:${props.by}`] : word() === `sort:${props.by}` ? [`sort:-${props.by}`] : [];
      type([...rest, ...next].join(" "));
    };
    return (
      <th scope="col" class={props.class} aria-sort={word() === undefined ? undefined : word()?.includes("-") ? "descending" : "ascending"}>
        <button type="button" class="sort" onClick={turn}>{props.children}{word() === undefined ? "" : word()?.includes("-") ? " ↓" : " ↑"}</button>
      </th>
    );
  };
  return (
    <>
      <Crumbs of={[{ text: "DAGs" }]}>
        <div class="filter">
          <input id="search" type="search" aria-label="Filter DAGs" placeholder="name, tag:…, owner:…, is:failed" value={typed()} onInput={(event) => type(event.currentTarget.value)} />
          <For each={HINTS}>
            {(hint) => (
              <button type="button" class="chip" aria-pressed={typed().split(/\s+/).includes(hint)} onClick={() => toggle(hint)}>{hint.slice(3)}</button>
            )}
          </For>
        </div>
        <Show when={held.data}>{(page) => <Pages from={page().offset} shown={page().dags.length} total={page().total} size={PAGE} />}</Show>
      </Crumbs>
      <Show when={held.error}>{(error) => <Fault what="The DAGs can't be shown." error={error()} />}</Show>
      <Show when={held.data}>
        {(page) => (
          <Show
            when={page().dags.length}
            fallback={page().total ? <Beyond total={page().total} size={PAGE} /> : <Nothing>{q() ? <>No DAG is like <code>{q()}</code>. <button type="button" class="link" onClick={() => type("")}>Show all</button></> : "No file in the DAG folder defines a DAG yet."}</Nothing>}
          >
            <table class="list dags" aria-busy={held.old}>
              <thead>
                <tr>
                  <th scope="col">On</th><Sort by="name">DAG</Sort><Sort by="last" class="last">Last runs</Sort><th scope="col">Schedule</th>
                  <Sort by="next">Next run</Sort><th scope="col" class="num">Takes</th><Sort by="owner">Owner</Sort><th scope="col"><span class="unseen">Acts</span></th>
                </tr>
              </thead>
              <tbody>
                <For each={page().dags}>{(dag) => <Row dag={dag} tag={toggle} />}</For>
              </tbody>
            </table>
            <div class="foot"><Pages from={page().offset} shown={page().dags.length} total={page().total} size={PAGE} below /></div>
          </Show>
        )}
      </Show>
    </>
  );
}

function Row(props: { dag: Shapes["UiDagRow"]; tag: (word: string) => void }) {
  const dag = () => props.dag;
  return (
    <tr data-row classList={{ off: dag().paused }}>
      <td>
        <button type="button" class="switch" role="switch" aria-checked={!dag().paused} aria-label={`${dag().dag_id} is ${dag().paused ? "paused" : "on"}`} onClick={() => askPause(dag())}><span /></button>
      </td>
      <td class="name">
        <A href={dagPath(dag().dag_id)}>{dag().name ?? dag().dag_id}</A>
        <For each={dag().tags}>{(tag) => <button type="button" class="tag" onClick={() => props.tag(`tag:${tag}`)}>{tag}</button>}</For>
        <Show when={dag().import_error}><span class="badge bad">can't be read</span></Show>
        <Show when={dag().stale}><span class="badge">not in its file</span></Show>
      </td>
      <td><Bars dag={dag().dag_id} runs={dag().last} /></td>
      <td class="clip said" title={`${dag().schedule ?? ""}${dag().schedule ? ": " : ""}${dag().schedule_words}`}>{schedule(dag().schedule, dag().schedule_words) ?? <span class="dim">none</span>}</td>
      <td><Show when={dag().next} fallback={<span class="dim">{dag().paused ? "paused" : "–"}</span>}>{(next) => <Time at={next()} ago />}</Show></td>
      <td class="num">
        <Show when={dag().p50 !== undefined && dag().p50 !== null} fallback={<span class="dim">–</span>}>{length(dag().p50 ?? 0)}</Show>
        <Show when={Math.abs(dag().trend ?? 0) >= 20}><span class={(dag().trend ?? 0) > 0 ? "up" : "down"}> {(dag().trend ?? 0) > 0 ? "+" : "−"}{Math.abs(dag().trend ?? 0)}%</span></Show>
      </td>
      <td class="owner">{dag().owner}</td>
      <td class="do"><button type="button" class="small" onClick={() => askTrigger(dag().dag_id)}>trigger</button></td>
    </tr>
  );
}

/** Runs as bars: how long each took, the newest at the right. A page has many: they are links without a part that watches the address. */
export function Bars(props: { dag: string; runs: Shapes["UiLastRun"][] }) {
  const most = createMemo(() => Math.max(0.001, ...props.runs.map((run) => run.seconds ?? 0)));
  return (
    <span class="bars">
      <For each={props.runs}>
        {(run) => {
          const state = () => look(run.state);
          const words = () => `${short(run.run_after)}: ${state().word}${run.seconds ? `, ${length(run.seconds)}` : ""}`;
          return (
            <a href={prefix + runPath(props.dag, run.run_id)} title={words()} aria-label={words()} tabindex="-1" class={state().family} style={{ "--h": `${Math.max(0.15, Math.sqrt((run.seconds ?? (state().family === "running" ? most() : 0)) / most()))}` }}>
              {state().family === "failed" ? "✕" : ""}
            </a>
          );
        }}
      </For>
    </span>
  );
}
