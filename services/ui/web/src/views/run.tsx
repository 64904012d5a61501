/** A run: why it failed, when each task ran, and the task that matters with its log. */
import { A, useNavigate, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, createSignal, For, Match, on, onCleanup, onMount, Show, Suspense, Switch } from "solid-js";
import { askCancel, askRerun } from "../acts";
import { part, type Shapes } from "../base";
import { keys } from "../keys";
import { later, view } from "../later";
import { live } from "../live";
import { Copy, Crumbs, dagPath, Fault, Mark, Menu, Nothing, runLabel, runPath, taskPath, Time, Told, useNames } from "../parts";
import { look, stands } from "../states";
import { between, inZoneOf, length, type Maybe, now } from "../time";
import { Events } from "./events";
import { TaskPanel } from "./task";
import { ToldOf } from "./told";
import { Why } from "./why";

const marks = () => import("../marks");
type Run = Shapes["UiRun"];
const Table = view(() => import("./table"), (it) => it.default);
const Graph = view(() => import("../graph/view"), (it) => it.default);
type Task = Shapes["UiRunTask"];

export default function RunView() {
  const params = useNames<{ dag: string; run: string }>();
  const held = live(() => ["run", params.dag, params.run] as ["run", string, string]);
  return (
    <>
      <Show when={held.error}>
        {(error) => (
          <>
            <Crumbs of={[{ text: "DAGs", href: "/dags" }, { text: params.dag, href: dagPath(params.dag) }, { text: params.run }]} />
            <Fault what="The run can't be shown." error={error()} />
          </>
        )}
      </Show>
      <Show when={held.data}>{(run) => <Body run={run()} />}</Show>
    </>
  );
}

/** Why it failed, or how it stands, in one sentence. */
function sentence(run: Run): string {
  const took = between(run.start, run.end);
  const after = took === undefined ? "" : ` after ${length(took)}`;
  const failure = run.failure;
  if (run.state === "failed") {
    const by = run.ended === "cancelled" ? `cancelled by ${run.ended_by ?? "somebody"}` : run.ended === "timed_out" ? "it took longer than its DAG lets it" : run.ended === "marked" ? `marked by ${run.ended_by ?? "somebody"}` : "";
    const why = failure ? `${failure.task_id}${failure.map_index >= 0 ? `[${failure.map_index}]` : ""}${failure.tries > 1 ? `, try ${failure.tries}` : ""}` : by || "a task of it failed";
    return run.ended === "cancelled" ? `${by}${after}` : `failed${after}: ${why}`;
  }
  if (run.state === "success") return `succeeded${after}`;
  const done = (run.counts["success"] ?? 0) + (run.counts["skipped"] ?? 0);
  if (run.state === "running") return `running for ${length(took ?? 0)}: ${done} of ${run.task_count} done${failure ? `, and ${failure.task_id}${failure.map_index >= 0 ? `[${failure.map_index}]` : ""} failed` : ""}`;
  return "queued";
}

function Body(props: { run: Run }) {
  const run = () => props.run;
  const navigate = useNavigate();
  const [query, setQuery] = useSearchParams<{ task?: string; map?: string; tab?: string; show?: string }>();
  // Airflow has the graph and the events as pages of their own, and the code that a run ran.
  const rest = useNames<{ rest?: string }>();
  inZoneOf(() => run().timezone);
  createEffect(() => {
    if (rest.rest === "code") navigate(`${dagPath(run().dag_id)}/code?run=${part(run().run_id)}`, { replace: true });
  });
  const shown = () => query.show ?? (/^(graph|events|told)$/.exec(rest.rest ?? "")?.[1] ?? "tasks");
  const rows = createMemo(() => Object.keys(run().tasks).sort().map((key) => run().tasks[key] as Task));
  const chosen = createMemo<Task | undefined>(() => {
    const all = rows();
    if (query.task) {
      const map = Number(query.map ?? -1);
      const found = all.find((one) => one.task_id === query.task && one.map_index === map);
      if (found) return found;
    }
    const failure = run().failure;
    const is = (state: string) => all.find((one) => one.state === state && !one.copies);
    return (
      (failure && all.find((one) => one.task_id === failure.task_id && one.map_index === failure.map_index)) ??
      is("failed") ?? is("deferred") ?? is("running") ?? is("up_for_retry") ?? is("queued") ?? all[0]
    );
  });
  const choose = (task: Task | undefined) =>
    task && setQuery({ task: task.task_id, map: task.map_index >= 0 ? String(task.map_index) : null }, { replace: true });
  const step = (by: number, fits: (task: Task) => boolean = () => true) => {
    const all = rows();
    const at = all.findIndex((one) => one === chosen());
    for (let next = at + by; next >= 0 && next < all.length; next += by) {
      if (fits(all[next] as Task)) return choose(all[next]);
    }
  };
  const failed = (task: Task) => ["failed", "upstream_failed", "up_for_retry"].includes(task.state);
  const rerun = () => askRerun({ dag_id: run().dag_id, run_id: run().run_id, failed: run().state === "failed" });
  const more = () => [
    ...(["success", "failed"] as const).filter((state) => state !== run().state).map((state) => ({ text: `Mark as ${state}…`, go: () => later(marks, (it) => it.askMarkRun(run(), state)) })),
    { text: run().note ? "Change the note…" : "Add a note…", go: () => later(marks, (it) => it.askNote({ dag_id: run().dag_id, run_id: run().run_id }, run().note ?? "")) },
    { text: "Copy a link to it", go: () => navigator.clipboard.writeText(location.href) },
  ];
  keys({
    j: () => step(1),
    k: () => step(-1),
    "]": () => step(1, failed),
    "[": () => step(-1, failed),
    "}": () => run().next && navigate(runPath(run().dag_id, run().next ?? "")),
    "{": () => run().previous && navigate(runPath(run().dag_id, run().previous ?? "")),
    r: rerun,
    Enter: () => {
      const task = chosen();
      if (task) navigate(taskPath(run().dag_id, run().run_id, task.task_id, task.map_index));
    },
    Escape: () => navigate(dagPath(run().dag_id)),
  });
  createEffect(() => {
    document.title = `${look(stands(run().state, run().ended)).glyph} ${run().dag_id} ${runLabel(run())} · Dagbok`;
  });
  return (
    <div class="run">
      <Crumbs of={[{ text: "DAGs", href: "/dags" }, { text: run().dag_id, href: dagPath(run().dag_id) }, { text: runLabel(run()) }]}>
        <span class={`sentence ${look(stands(run().state, run().ended)).family}`}>
          <Mark state={stands(run().state, run().ended)} />
          <span>
            {sentence(run())}
            <Show when={run().failure}>{(failure) => <span class="what">: {failure().message}{failure().more ? ` (and ${failure().more} more)` : ""}</span>}</Show>
          </span>
        </span>
        <div class="acts">
          <Show when={run().previous}>{(id) => <A class="button" title="the run before ({)" aria-label="The run before" href={runPath(run().dag_id, id())}>‹</A>}</Show>
          <Show when={run().next}>{(id) => <A class="button" title="the run after (})" aria-label="The run after" href={runPath(run().dag_id, id())}>›</A>}</Show>
          <Show when={["running", "queued"].includes(run().state)}>
            <button type="button" onClick={() => askCancel(run())}>Cancel</button>
          </Show>
          <button type="button" class={run().state === "failed" ? "primary" : ""} onClick={rerun}>Rerun <kbd>r</kbd></button>
          <Menu of={more()} />
        </div>
      </Crumbs>
      <Facts run={run()} />
      <Show when={run().state === "queued"}>
        <section class="panel padded" aria-label="Why"><Why dag={run().dag_id} run={run().run_id} key={run().last_seq} /></section>
      </Show>
      <div class="split">
        <section class="pane" aria-label="Tasks">
          <div class="tabs" role="group" aria-label="What is shown">
            <For each={SHOWN}>
              {([name, word]) => (
                <button type="button" aria-pressed={shown() === name} onClick={() => setQuery({ show: name === "tasks" ? null : name }, { replace: true })}>
                  {word}<Show when={name === "tasks"}> <span class="count">{run().task_count}</span></Show>
                </button>
              )}
            </For>
          </div>
          <Switch>
            <Match when={shown() === "events"}><Events dag={run().dag_id} run={run().run_id} seq={run().last_seq} /></Match>
            <Match when={shown() === "told"}><ToldOf dag={run().dag_id} run={run().run_id} told={run().told} /></Match>
            <Match when={shown() === "table"}><Suspense><Table run={run()} /></Suspense></Match>
            <Match when={shown() === "graph"}><RunGraph rows={rows()} chosen={chosen()} choose={choose}/><Cut run={run()} rows={[]} /></Match>
            <Match when={true}>
              <Gantt run={run()} rows={rows()} chosen={chosen()} choose={choose} />
              <Cut run={run()} rows={rows()} />
            </Match>
          </Switch>
        </section>
        <section class="pane side" aria-label="Task">
          <Show when={chosen()}>
            {(task) => <TaskPanel dag={run().dag_id} run={run().run_id} task={task().task_id} map={task().map_index} seq={`${task().state}${task().try_number}`} within />}
          </Show>
        </section>
      </div>
    </div>
  );
}

const SHOWN = [["tasks", "Tasks"], ["graph", "Graph"], ["table", "Table"], ["events", "Events"], ["told", "Told"]] as const;

const total = (copies: Record<string, number> | null | undefined) => Object.values(copies ?? {}).reduce((sum, count) => sum + count, 0);

/** That there are more tasks than the snapshot has, or more copies of a task than the rows. */
function Cut(props: { run: Run; rows: Task[] }) {
  const copies = createMemo(() => props.rows.reduce((sum, task) => sum + total(task.copies), 0) > props.rows.filter((task) => task.map_index >= 0).length);
  const all = () => <A href="?show=table">All of them are in the table.</A>;
  return (
    <Show when={props.run.complete} fallback={<Nothing>The run has more tasks than are shown here: it has {props.run.task_count.toLocaleString("en")}. {all()}</Nothing>}>
      <Show when={copies()}><p class="foot dim">Of a task of more than 64 copies those have a row that did not succeed, at most 64 of them. {all()}</p></Show>
    </Show>
  );
}

/** The run's tasks as a graph. */
function RunGraph(props: { rows: Task[]; chosen: Task | undefined; choose: (task: Task | undefined) => void }) {
  const own = createMemo(() => props.rows.filter((task) => task.map_index < 0));
  const places = createMemo(() => new Map(own().map((task, at) => [task.task_id, at])));
  const tasks = createMemo(() =>
    own().map((task) => ({
      task_id: task.task_id,
      group: task.group ?? "",
      operator: task.operator,
      mapped: task.copies !== undefined,
      upstream: (task.upstream ?? []).flatMap((id) => places().get(id) ?? []),
    })),
  );
  const ended = (task: Task) => at(task.tries?.[task.tries.length - 1]?.end);
  return (
    <Suspense fallback={<Nothing>Laid out in a moment…</Nothing>}>
      <Graph
        tasks={tasks()}
        states={own().map((task) => task.state)}
        ends={own().map(ended)}
        chosen={props.chosen && places().get(props.chosen.task_id)}
        choose={(task) => props.choose(own()[task])}
        height="calc(100vh - 268px)"
      />
    </Suspense>
  );
}

function Facts(props: { run: Run }) {
  const run = () => props.run;
  const conf = () => Object.entries((run().conf ?? {}) as Record<string, unknown>);
  return (
    <dl class="facts">
      <div><dt>Told</dt><dd><Told told={run().told} /></dd></div>
      <div><dt>Type</dt><dd>{run().run_type.replaceAll("_", " ")} by {run().by}</dd></div>
      <Show when={run().partition_key}>{(key) => <div><dt>Partition</dt><dd><code>{key()}</code></dd></div>}</Show>
      <div><dt>Started</dt><dd><Time at={run().start} full /></dd></div>
      <Show when={run().end}><div><dt>Ended</dt><dd><Time at={run().end} full /></dd></div></Show>
      <div><dt>Version</dt><dd>{run().version}</dd></div>
      <Show when={conf().length}>
        <div><dt>Given</dt><dd><For each={conf().slice(0, 8)}>{([name, value]) => <code class="pair">{name}={JSON.stringify(value)}</code>}</For></dd></div>
      </Show>
      <Show when={run().note}><div><dt>Note</dt><dd>{run().note}</dd></div></Show>
      <Show when={run().reason}><div><dt>Because</dt><dd>{run().reason}</dd></div></Show>
      <div class="id"><dt>Run id</dt><dd><Copy text={run().run_id} label="the run's id" /></dd></div>
    </dl>
  );
}

/** More rows than these are drawn only as far as they are in sight; their height then, and how many are drawn. */
const MANY = 200;
const ROW = 29;
const SEEN = 90;

const at = (time: Maybe<string>): number | undefined => (time ? Date.parse(time) : undefined);

/** Tasks as rows, their tries as bars on one axis; queued time is grey. */
function Gantt(props: { run: Run; rows: Task[]; chosen: Task | undefined; choose: (task: Task) => void }) {
  const range = createMemo(() => {
    let from = at(props.run.start) ?? at(props.run.queued_at) ?? 0;
    let to = at(props.run.end) ?? 0;
    for (const task of props.rows) {
      for (const one of task.tries ?? []) {
        from = Math.min(from, at(one.queued) ?? from);
        to = Math.max(to, at(one.end) ?? at(one.start) ?? to);
      }
    }
    if (!props.run.end) to = Math.max(to, now());
    return { from, span: Math.max(to - from, 50) };
  });
  const place = (time: number) => `${Math.min(100, Math.max(0, ((time - range().from) / range().span) * 100))}%`;
  const width = (from: number, to: number) => `${Math.max(0, ((to - from) / range().span) * 100)}%`;
  /** Of a run of many tasks only those rows are drawn that are in sight: they are all of one height. */
  let body!: HTMLTableSectionElement;
  const [first, setFirst] = createSignal(0);
  const many = () => props.rows.length > MANY;
  const drawn = createMemo(() => (many() ? props.rows.slice(first(), first() + SEEN) : props.rows));
  const sight = () => many() && setFirst(Math.max(0, Math.min(props.rows.length - SEEN, Math.floor((-body.getBoundingClientRect().top - 200) / ROW / 20) * 20)));
  onMount(() => {
    document.addEventListener("scroll", sight, { passive: true });
    onCleanup(() => document.removeEventListener("scroll", sight));
  });
  createEffect(
    on(() => props.chosen, (task) => {
      const at = task && many() ? props.rows.indexOf(task) : -1;
      if (at < 0) return;
      const y = body.getBoundingClientRect().top + at * ROW;
      if (y < 60 || y > innerHeight - ROW) scrollBy({ top: y - innerHeight / 2 });
    }, { defer: true }),
  );
  const ticks = createMemo(() => [0, 0.25, 0.5, 0.75, 1].map((share) => length((range().span * share) / 1_000)));
  return (
    <table class="gantt" classList={{ many: many() }} aria-rowcount={props.rows.length + 1}>
      <thead>
        <tr>
          <th scope="col">Task</th>
          <th scope="col" class="num">Took</th>
          <th scope="col"><div class="ticks" aria-hidden="true"><For each={ticks()}>{(tick) => <span>{tick}</span>}</For></div><span class="unseen">When</span></th>
        </tr>
      </thead>
      <tbody ref={body}>
        <Show when={many()}><tr class="room" aria-hidden="true" style={{ height: `${first() * ROW}px` }}><td colspan="3" /></tr></Show>
        <For each={drawn()}>
          {(task) => {
            const newest = () => task.tries?.[task.tries.length - 1];
            const took = () => between(newest()?.start, newest()?.end);
            return (
              <tr classList={{ chosen: props.chosen === task, copy: task.map_index >= 0 }} onClick={() => props.choose(task)}>
                <td>
                  <span class="cell">
                    <Mark state={task.state} tries={task.try_number} />
                    <button type="button" class="name" aria-pressed={props.chosen === task} title={`${task.task_id}${task.error ? ` · ${task.error}` : ""}`}>
                      <Show when={task.map_index < 0} fallback={<span class="dim">[{task.map_index}] {task.name}</span>}>
                        <Group task={task} />
                      </Show>
                    </button>
                    <Show when={task.copies}>{(copies) => <span class="count">{total(copies()).toLocaleString("en")}×</span>}</Show>
                  </span>
                </td>
                <td class="num">{task.copies ? "" : took() === undefined ? <span class="dim">–</span> : length(took() ?? 0)}</td>
                <td class="lane"><div class="track">
                  <For each={task.tries}>
                    {(one) => {
                      const start = () => at(one.start);
                      const end = () => at(one.end) ?? (props.run.end ? start() : now()) ?? 0;
                      return (
                        <>
                          <i class="queue" style={{ left: place(at(one.queued) ?? 0), width: width(at(one.queued) ?? 0, start() ?? end()) }} />
                          <Show when={start()}>
                            {(from) => (
                              <i
                                class={`bar ${look(one.state).family}`}
                                title={`try ${one.number}: ${look(one.state).word}, ${length((end() - from()) / 1_000)}`}
                                style={{ left: place(from()), width: width(from(), end()) }}
                              />
                            )}
                          </Show>
                        </>
                      );
                    }}
                  </For>
                </div></td>
              </tr>
            );
          }}
        </For>
        <Show when={many()}><tr class="room" aria-hidden="true" style={{ height: `${Math.max(0, props.rows.length - first() - SEEN) * ROW}px` }}><td colspan="3" /></tr></Show>
      </tbody>
    </table>
  );
}

function Group(props: { task: Task }) {
  const group = () => props.task.group;
  const own = () => (group() && props.task.task_id.startsWith(`${group()}.`) ? props.task.task_id.slice((group() ?? "").length + 1) : props.task.task_id);
  return <><Show when={own() !== props.task.task_id}><span class="dim">{group()}.</span></Show>{own()}</>;
}
