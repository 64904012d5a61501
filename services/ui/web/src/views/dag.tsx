/** A DAG: its grid, its runs, what its file says. */
import { A, useNavigate, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, For, Match, Show, Suspense, Switch } from "solid-js";
import { askPause } from "../acts";
import type { Shapes } from "../base";
import { schedule } from "../cron";
import { Grid } from "../grid";
import { keys } from "../keys";
import { later, view } from "../later";
import { live } from "../live";
import { Crumbs, dagPath, Fault, Nothing, runLabel, runPath, taskPath, Time, useNames } from "../parts";
import { DIGITS, look } from "../states";
import { inZoneOf, length, near } from "../time";
import { askTrigger } from "../trigger";
import { Newest } from "./events";
import { RunList } from "./runs";
import { Why } from "./why";

type Dag = Shapes["UiDag"];
const Graph = view(() => import("../graph/view"), (it) => it.default);
const Backfills = view(() => import("./backfills"), (it) => it.default);
const Code = view(() => import("./code"), (it) => it.default);
const past = () => import("./past");
const Trends = view(past, (it) => it.Trends);
const Calendar = view(past, (it) => it.Calendar);
const TABS = [["", "Grid"], ["graph", "Graph"], ["runs", "Runs"], ["tasks", "Tasks"], ["trends", "Trends"], ["calendar", "Calendar"], ["backfills", "Backfills"], ["code", "Code"], ["events", "Events"], ["why", "Next run"], ["details", "Details"]] as const;

/** Columns that a grid may have. */
const MOST_RUNS = 200;

export default function DagView() {
  const params = useNames<{ dag: string }>();
  const [query] = useSearchParams<{ runs?: string; dag_run_id?: string }>();
  const navigate = useNavigate();
  // Airflow 2 named a run in the query.
  createEffect(() => {
    if (query.dag_run_id) navigate(runPath(params.dag, query.dag_run_id), { replace: true });
  });
  const held = live(() => ["dag", params.dag, Number(query.runs ?? 0)] as ["dag", string, number]);
  return (
    <>
      <Show when={held.error}>
        {(error) => (
          <>
            <Crumbs of={[{ text: "DAGs", href: "/dags" }, { text: params.dag }]} />
            <Fault what="The DAG can't be shown." error={error()} />
          </>
        )}
      </Show>
      <Show when={held.data}>{(dag) => <Body dag={dag()} />}</Show>
    </>
  );
}

function Body(props: { dag: Dag }) {
  const dag = () => props.dag;
  const row = () => dag().dag;
  const navigate = useNavigate();
  const place = useNames<{ rest?: string }>();
  const [query, setQuery] = useSearchParams<{ runs?: string }>();
  /** There are older runs than the grid has, and it may have them; of many tasks it takes fewer than are asked for. */
  const older = () => dag().order.length < dag().total_runs;
  const wider = () => older() && dag().order.length < MOST_RUNS && dag().order.length >= Number(query.runs ?? 0);
  const tab = () => {
    const last = place.rest?.split("/").pop() ?? "";
    return TABS.some(([path]) => path === last) ? last : "";
  };
  keys({
    t: () => askTrigger(row().dag_id),
    Escape: () => navigate("/dags"),
  });
  createEffect(() => {
    document.title = `${row().dag_id} · Dagbok`;
  });
  inZoneOf(() => dag().timezone);
  const paused = () => dag().pause;
  return (
    <div class="dag">
      <Crumbs of={[{ text: "DAGs", href: "/dags" }, { text: row().name ?? row().dag_id }]}>
        <button type="button" class="switch" role="switch" aria-checked={!row().paused} aria-label={`${row().dag_id} is ${row().paused ? "paused" : "on"}`} onClick={() => askPause(row())}><span /></button>
        <span class="said">
          <span title={`${row().schedule ?? ""}${row().schedule ? ": " : ""}${row().schedule_words}`}>{row().paused ? "paused" : (schedule(row().schedule, row().schedule_words) ?? "no schedule")}</span>
          <Show when={row().next}>{(next) => <span class="dim"> · next <Time at={next()} ago /></span>}</Show>
          <Show when={row().p50}>{(p50) => <span class="dim"> · takes {length(p50())}</span>}</Show>
          <span class="dim"> · v{dag().version} · {row().owner}</span>
        </span>
        <div class="acts"><button type="button" class="primary" onClick={() => askTrigger(row().dag_id)}>Trigger <kbd>t</kbd></button></div>
      </Crumbs>
      <Show when={row().import_error}><p class="headline">Its file can't be read now; it goes on as it was. <A href="/">Home says why.</A></p></Show>
      <Show when={paused()}>{(it) => <p class="note">Paused {near(it().since)} by {it().by}{it().reason ? `: ${it().reason}` : ""}.</p>}</Show>
      <nav class="tabs" aria-label="About the DAG">
        <For each={TABS}>{([path, name]) => <A href={path ? `${dagPath(row().dag_id)}/${path}` : dagPath(row().dag_id)} aria-current={tab() === path ? "page" : undefined} class={tab() === path ? "on" : ""} end>{name}</A>}</For>
      </nav>
      <Switch>
        <Match when={tab() === ""}>
          <Show when={dag().order.length} fallback={<Nothing>It has no run yet. <button type="button" class="link" onClick={() => askTrigger(row().dag_id)}>Trigger one</button></Nothing>}>
            <Grid dag={dag()} />
            <p class="foot dim">
              The newest {dag().order.length.toLocaleString("en")} of {dag().total_runs.toLocaleString("en")} runs.
              <Show when={wider()}>
                {" "}<button type="button" class="link" onClick={() => setQuery({ runs: String(Math.min(MOST_RUNS, dag().order.length * 2)) })}>Show more</button>
              </Show>
              <Show when={older() && !wider()}><span>A grid has no more of them: <A href={`${dagPath(row().dag_id)}/runs`}>all are under Runs</A>.</span></Show>
              <Legend />
            </p>
          </Show>
        </Match>
        <Match when={tab() === "graph"}><GraphTab dag={dag()} /></Match>
        <Match when={tab() === "runs"}><RunList dag={row().dag_id} /></Match>
        <Match when={tab() === "tasks"}><Tasks dag={dag()} /></Match>
        <Match when={tab() === "trends"}><Suspense><Trends dag={row().dag_id} mark={dag().mark} /></Suspense></Match>
        <Match when={tab() === "calendar"}><Suspense><Calendar dag={row().dag_id} mark={dag().mark} backfill={(from, to) => void later(() => import("../backfill"), (it) => it.askBackfill(row().dag_id, dag().timezone, from, to))} /></Suspense></Match>
        <Match when={tab() === "code"}><Suspense><Code dag={row().dag_id} mark={`${dag().version}${dag().order.length}${dag().mark}`} /></Suspense></Match>
        <Match when={tab() === "events"}><Newest dag={row().dag_id} /></Match>
        <Match when={tab() === "backfills"}><Suspense><Backfills dag={row().dag_id} zone={dag().timezone} /></Suspense></Match>
        <Match when={tab() === "why"}><section class="panel padded" aria-label="The next run"><Why dag={row().dag_id} key={`${row().next}${row().paused}`} /></section></Match>
        <Match when={tab() === "details"}><Details dag={dag()} /></Match>
      </Switch>
    </div>
  );
}

const FAMILIES = [["done", "success"], ["failed", "failed"], ["knock", "upstream failed"], ["running", "running"], ["retry", "up for retry"], ["waiting", "waiting"], ["notrun", "skipped"]] as const;
const Legend = () => <span class="legend" aria-hidden="true"><For each={FAMILIES}>{([family, word]) => <span><i class={`swatch ${family}`} />{word}</span>}</For></span>;

/** The graph, with the states of one run. */
function GraphTab(props: { dag: Dag }) {
  const navigate = useNavigate();
  const [query, setQuery] = useSearchParams<{ of?: string }>();
  const tasks = createMemo(() => props.dag.tasks.map((task) => ({ task_id: task.task_id, group: task.group ?? "", operator: task.operator, mapped: task.mapped ?? false, upstream: task.upstream ?? [] })));
  const run = () => (query.of === "none" ? undefined : (props.dag.order.find((id) => id === query.of) ?? props.dag.order[props.dag.order.length - 1]));
  const states = createMemo(() => {
    const cells = props.dag.columns[run() ?? ""]?.cells;
    return cells === undefined ? undefined : tasks().map((_, at) => DIGITS[parseInt(cells[at * 2] ?? "0", 16)] ?? "none");
  });
  const open = (at: number) => {
    const [id, task] = [run(), tasks()[at]];
    if (id && task) navigate(taskPath(props.dag.dag.dag_id, id, task.task_id));
  };
  return (
    <>
      <Suspense fallback={<Nothing>Laid out in a moment…</Nothing>}>
        <Graph tasks={tasks()} states={states()} choose={open} height="calc(100vh - 230px)">
          <label class="pick">States of{" "}
            <select value={run() ?? "none"} onChange={(event) => setQuery({ of: event.currentTarget.value }, { replace: true })}>
              <option value="none">no run</option>
              <For each={[...props.dag.order].reverse()}>{(id) => <option value={id}>{runLabel(props.dag.columns[id] as Dag["columns"][string])} · {look(props.dag.columns[id]?.state ?? "none").word}</option>}</For>
            </select>
          </label>
          <Show when={run()}>{(id) => <A class="go" href={`${runPath(props.dag.dag.dag_id, id())}?show=graph`}>the run</A>}</Show>
        </Graph>
      </Suspense>
    </>
  );
}

function Tasks(props: { dag: Dag }) {
  const name = (at: number) => props.dag.tasks[at]?.task_id ?? "";
  return (
    <table class="list">
      <thead><tr><th scope="col">Task</th><th scope="col">Operator</th><th scope="col">Upstream</th></tr></thead>
      <tbody>
        <For each={props.dag.tasks}>
          {(task) => <tr><td><code>{task.task_id}</code>{task.mapped ? <span class="badge">mapped</span> : ""}</td><td>{task.operator}</td><td class="clip">{(task.upstream ?? []).map(name).join(", ") || <span class="dim">none</span>}</td></tr>}
        </For>
      </tbody>
    </table>
  );
}

function Details(props: { dag: Dag }) {
  const dag = () => props.dag;
  return (
    <dl class="facts tall padded">
      <Show when={dag().description}><div><dt>Description</dt><dd>{dag().description}</dd></div></Show>
      <div><dt>Schedule</dt><dd>{dag().dag.schedule_words}</dd></div>
      <div><dt>Time zone</dt><dd>{dag().timezone}</dd></div>
      <div><dt>File</dt><dd><A href={`${dagPath(dag().dag.dag_id)}/code?line=${dag().line || 1}`}><code>{dag().file}{dag().line ? `:${dag().line}` : ""}</code></A></dd></div>
      <div><dt>Version</dt><dd>{dag().version}, since <Time at={dag().registered_at} full /></dd></div>
      <div><dt>Catchup</dt><dd>{dag().catchup ? "runs that were missed are made up for" : "no"}</dd></div>
      <div><dt>Limits</dt><dd>{dag().max_active_runs} runs, {dag().max_active_tasks} tasks at once</dd></div>
      <div><dt>Params</dt><dd><For each={dag().params} fallback={<span class="dim">none</span>}>{(param) => <code class="pair">{param.name}={JSON.stringify(param.default ?? null)}</code>}</For></dd></div>
      <Show when={dag().not_carried_out?.length}>
        <div><dt>Not carried out</dt><dd><ul><For each={dag().not_carried_out}>{(one) => <li>{one.what}{one.line ? ` (line ${one.line})` : ""}</li>}</For></ul></dd></div>
      </Show>
      <Show when={dag().doc_md}>{(text) => <div><dt>Doc</dt><dd><pre class="value">{text()}</pre></dd></div>}</Show>
    </dl>
  );
}
