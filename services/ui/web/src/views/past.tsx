/** How a DAG went: what runs and tasks took, and a calendar of its days. */
import { useNavigate, useSearchParams } from "@solidjs/router";
import { A } from "@solidjs/router";
import { createMemo, createSignal, For, Show } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept } from "../live";
import { Mark, Nothing, Read, runPath, taskPath } from "../parts";
import { bytes } from "../sizes";
import { look } from "../states";
import { dateIn, day, length, short } from "../time";

type Past = Shapes["UiPast"];
type Point = Shapes["UiPoint"];

/** Asked for again when the DAG's own snapshot says something else, and as days go by. */
function usePast(dag: () => string, task: () => string | undefined, mark: () => string) {
  return kept(() => [dag(), task()], (signal) => get<Past>(`dagbok/ui/dags/${part(dag())}/past`, { task_id: task() }, signal), { whose: dag, when: mark, every: 60_000 });
}


/** Durations and memory over time. */
export function Trends(props: { dag: string; mark: string }) {
  const [query, setQuery] = useSearchParams<{ task?: string }>();
  const past = usePast(() => props.dag, () => query.task, () => props.mark);
  return (
    <>
      <Read of={past} what="How it went can't be shown.">
        {(it) => (
          <Show when={it().points.length} fallback={<Nothing>It has no run yet, so there is nothing to compare.</Nothing>}>
            <div class="filter padded">
              <label class="pick">Of{" "}
                <select value={it().task_id ?? ""} onChange={(event) => setQuery({ task: event.currentTarget.value || null }, { replace: true })}>
                  <option value="">whole runs</option>
                  <For each={it().tasks.filter((task) => !task.mapped)}>{(task) => <option value={task.task_id}>{task.task_id}</option>}</For>
                </select>
              </label>
              <span class="dim">
                <Show when={it().p50 !== undefined && it().p50 !== null}>half within {length(it().p50 ?? 0)}, nineteen of twenty within {length(it().p95 ?? 0)}; </Show>
                the newest {it().points.length}{it().complete && it().points.length === it().runs ? ", all there are" : ""}
              </span>
            </div>
            <Chart past={it()} dag={props.dag} what="took" title="Took" unit={length} p50={it().p50 ?? undefined} p95={it().p95 ?? undefined} />
            <Chart past={it()} dag={props.dag} what="queued" title={it().task_id ? "Queued" : "Waited to begin"} unit={length} low />
            <Show when={it().points.some((one) => one.memory)}><Chart past={it()} dag={props.dag} what="memory" title="Memory" unit={bytes} low /></Show>
            <Tasks past={it()} choose={(task) => setQuery({ task }, { replace: true })} />
            <Table past={it()} dag={props.dag} />
          </Show>
        )}
      </Read>
    </>
  );
}

const pointPath = (dag: string, past: Past, point: Point) => (past.task_id ? taskPath(dag, point.run_id, past.task_id) : runPath(dag, point.run_id));

/** A bar for each run, in their order; one axis for all charts of the page. */
function Chart(props: { past: Past; dag: string; what: "took" | "queued" | "memory"; title: string; unit: (value: number) => string; p50?: number | undefined; p95?: number | undefined; low?: boolean }) {
  const navigate = useNavigate();
  const tall = () => (props.low ? 64 : 150);
  const points = () => props.past.points;
  /** Few bars are not as wide as the page. */
  const room = () => Math.max(24, points().length);
  const values = createMemo(() => points().map((one) => one[props.what] ?? undefined));
  const most = createMemo(() => Math.max(1e-9, ...values().map((value) => value ?? 0)));
  const y = (value: number) => tall() - (value / most()) * (tall() - 6);
  /** The days at the axis; one that goes on is named once. */
  const days = () => [0, 0.25, 0.5, 0.75, 1].map((share) => points()[Math.round((room() - 1) * share)]?.at).map((at) => (at ? day(at) : ""));
  const known = () => values().filter((value): value is number => value !== undefined);
  const spoken = () => `${props.title} of ${known().length} ${props.past.task_id ? "tries" : "runs"}, at most ${props.unit(most())}`;
  return (
    <figure class="chart">
      <figcaption>{props.title}<span class="dim">at most {props.unit(known().length ? most() : 0)}</span></figcaption>
      <svg viewBox={`0 0 ${room() * 10} ${tall()}`} preserveAspectRatio="none" role="img" aria-label={spoken()} style={{ height: `${tall()}px` }}>
        <For each={points()}>
          {(one, at) => {
            const value = () => values()[at()];
            const family = () => look(one.state).family;
            return (
              <g class="spot" onClick={() => navigate(pointPath(props.dag, props.past, one))}>
                <title>{`${short(one.at)}: ${look(one.state).word}${value() === undefined ? "" : `, ${props.unit(value() ?? 0)}`}`}</title>
                <rect class="all" x={at() * 10} y="0" width="10" height={tall()} />
                <Show when={value() !== undefined}><rect class={`of ${props.what === "took" ? family() : "waiting"}`} x={at() * 10 + 1.5} y={y(value() ?? 0)} width="7" height={Math.max(1.5, tall() - y(value() ?? 0))} /></Show>
              </g>
            );
          }}
        </For>
        <For each={[props.p50, props.p95]}>{(value, at) => <Show when={value !== undefined}><line class={at() ? "p95" : "p50"} x1="0" x2={room() * 10} y1={y(value ?? 0)} y2={y(value ?? 0)} vector-effect="non-scaling-stroke" /></Show>}</For>
      </svg>
      <div class="axis" aria-hidden="true"><For each={days()}>{(text, at) => <span>{text === days()[at() - 1] ? "" : text}</span>}</For></div>
    </figure>
  );
}

/** Tasks that are drawn unless all are asked for. */
const SOME = 100;

function Tasks(props: { past: Past; choose: (task: string) => void }) {
  const [all, setAll] = createSignal(false);
  const shown = () => (all() ? props.past.tasks.length : Math.min(SOME, props.past.tasks.length));
  const slowest = createMemo(() => Math.max(1e-9, ...props.past.tasks.map((task) => task.p95 ?? 0)));
  return (
    <section class="group" aria-label="Tasks">
      <h2 class="titled">Tasks <span class="hint">over the newest {props.past.task_runs} runs</span></h2>
      <table class="list">
        <thead><tr><th scope="col">Task</th><th scope="col" class="num">Half within</th><th scope="col" class="num">19 of 20</th><th scope="col">Spread</th><th scope="col" class="num">Memory</th><th scope="col" class="num">Succeeded</th><th scope="col" class="num">Failed</th></tr></thead>
        <tbody>
          <For each={props.past.tasks.slice(0, shown())}>
            {(task) => (
              <tr data-row classList={{ chosen: props.past.task_id === task.task_id }}>
                <td class="name"><Show when={!task.mapped} fallback={<>{task.task_id}<span class="badge">mapped</span></>}><button type="button" class="link" onClick={() => props.choose(task.task_id)}>{task.task_id}</button></Show></td>
                <td class="num">{task.p50 === undefined || task.p50 === null ? "–" : length(task.p50)} <Show when={Math.abs(task.trend ?? 0) >= 10}><span class={(task.trend ?? 0) > 0 ? "up" : "down"}>{(task.trend ?? 0) > 0 ? "+" : "−"}{Math.abs(task.trend ?? 0)}%</span></Show></td>
                <td class="num">{task.p95 === undefined || task.p95 === null ? "–" : length(task.p95)}</td>
                <td><span class="spread" aria-hidden="true"><i style={{ width: `${(100 * (task.p95 ?? 0)) / slowest()}%` }} /><b style={{ width: `${(100 * (task.p50 ?? 0)) / slowest()}%` }} /></span></td>
                <td class="num">{task.memory ? bytes(task.memory) : "–"}</td>
                <td class="num">{task.mapped ? "–" : task.succeeded}</td>
                <td class="num">{task.failed || ""}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <Show when={shown() < props.past.task_count}>
        <p class="foot dim">The first {shown().toLocaleString("en")} of {props.past.task_count.toLocaleString("en")} in the order of the file. <Show when={shown() < props.past.tasks.length}><button type="button" class="link" onClick={() => setAll(true)}>{props.past.tasks.length < props.past.task_count ? `Show ${props.past.tasks.length.toLocaleString("en")}` : "Show all"}</button></Show></p>
      </Show>
    </section>
  );
}

/** The charts as a table. */
function Table(props: { past: Past; dag: string }) {
  return (
    <details class="padded">
      <summary>The charts as a table</summary>
      <table class="list">
        <thead><tr><th scope="col">Run</th><th scope="col">State</th><th scope="col" class="num">Queued</th><th scope="col" class="num">Took</th><th scope="col" class="num">Memory</th></tr></thead>
        <tbody>
          <For each={[...props.past.points].reverse()}>
            {(one) => <tr data-row><td><A href={pointPath(props.dag, props.past, one)}>{short(one.at)}</A></td><td><Mark state={one.state} word /></td><td class="num">{one.queued === undefined || one.queued === null ? "–" : length(one.queued)}</td><td class="num">{one.took === undefined || one.took === null ? "–" : length(one.took)}</td><td class="num">{one.memory ? bytes(one.memory) : "–"}</td></tr>}
          </For>
        </tbody>
      </table>
    </details>
  );
}

const DAY = 86_400_000;
/** Weeks that are shown where less is known. */
const WEEKS = 26;
const date = (at: number): string => new Date(at).toISOString().slice(0, 10);
const noon = (text: string): number => Date.parse(`${text}T12:00:00Z`);
/** Which state of a day matters most. */
const LOUD = ["failed", "running", "queued", "success"];

/** Days with what became of their runs; a range of them is chosen with the pointer or with Shift and arrows. */
export function Calendar(props: { dag: string; mark: string; backfill: (from: string, to: string) => void }) {
  const past = usePast(() => props.dag, () => undefined, () => props.mark);
  const navigate = useNavigate();
  const [from, setFrom] = createSignal<string>();
  const [to, setTo] = createSignal<string>();
  const days = createMemo(() => new Map((past.latest?.days ?? []).map((one) => [one.day, one])));
  // Days are the DAG's, and so is the one that it is.
  const today = () => dateIn(past.latest?.timezone ?? "UTC", Date.parse(past.latest?.as_of ?? "") || Date.now());
  const weeks = createMemo(() => {
    const known = [...days().keys()].sort();
    const first = Math.max(noon(today()) - 53 * 7 * DAY, Math.min(noon(known[0] ?? today()), noon(today()) - WEEKS * 7 * DAY));
    const last = Math.min(noon(today()) + 60 * DAY, Math.max(noon(known[known.length - 1] ?? today()), noon(today()) + 7 * DAY));
    // Weeks begin on Monday.
    const monday = first - ((new Date(first).getUTCDay() + 6) % 7) * DAY;
    const found: string[][] = [];
    for (let at = monday; at <= last; at += 7 * DAY) found.push(Array.from({ length: 7 }, (_, weekday) => date(at + weekday * DAY)));
    return found;
  });
  const range = () => {
    const [a, b] = [from(), to() ?? from()];
    return a && b ? ([a < b ? a : b, a < b ? b : a] as const) : undefined;
  };
  const chosen = (one: string) => {
    const it = range();
    return Boolean(it && it[0] <= one && one <= it[1]);
  };
  const state = (one: string): string | undefined => LOUD.find((word) => days().get(one)?.states?.[word]);
  const words = (one: string): string => {
    const it = days().get(one);
    const counts = Object.entries(it?.states ?? {}).map(([word, count]) => `${count} ${look(word).word}`);
    if (it?.planned) counts.push(`${it.planned} planned`);
    if (it?.p50 !== undefined && it.p50 !== null) counts.push(`half took ${length(it.p50)}`);
    if (it && it.hours !== 24) counts.push(`a day of ${it.hours} hours`);
    return `${one}: ${counts.join(", ") || "no run"}`;
  };
  const total = () => {
    const sums = new Map<string, number>();
    for (const [one, it] of days()) if (chosen(one)) for (const [word, count] of Object.entries(it.states ?? {})) sums.set(word, (sums.get(word) ?? 0) + count);
    return [...sums].map(([word, count]) => `${count} ${look(word).word}`).join(", ") || "no run";
  };
  let grid!: HTMLDivElement;
  const focus = (one: string) => grid.querySelector<HTMLElement>(`[data-day="${one}"]`)?.focus();
  const press = (event: KeyboardEvent, one: string) => {
    const by = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by !== undefined) {
      const next = date(noon(one) + by * DAY);
      if (!grid.querySelector(`[data-day="${next}"]`)) return;
      if (event.shiftKey) setTo(next);
      else (setFrom(next), setTo(undefined));
      focus(next);
    } else if (event.key === "Enter" || event.key === "b") go();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const go = () => {
    const it = range();
    if (it) props.backfill(it[0], it[1]);
  };
  let dragging = false;
  const months = createMemo(() => weeks().map((week, at) => (at === 0 || week[0]?.slice(0, 7) !== weeks()[at - 1]?.[0]?.slice(0, 7) ? new Date(noon(week[0] ?? "")).toLocaleDateString("en", { month: "short", timeZone: "UTC" }) : "")));
  return (
    <>
      <Read of={past} what="The calendar can't be shown.">
        {(it) => (
          <div class="padded">
            <div class="filter">
              <Show when={range()} fallback={<span class="dim">Days in {it().timezone}, by what runs stand for. Drag over days, or move with arrows and Shift, to choose some.</span>}>
                {(days) => (
                  <>
                    <span><b>{days()[0] === days()[1] ? days()[0] : `${days()[0]} to ${days()[1]}`}</b>: {total()}</span>
                    <button type="button" class="primary" onClick={go}>Backfill…</button>
                    <button type="button" onClick={() => navigate(`/dags/${part(props.dag)}/runs`)}>Runs</button>
                    <button type="button" class="link" onClick={() => (setFrom(undefined), setTo(undefined))}>none</button>
                  </>
                )}
              </Show>
            </div>
            <div ref={(element) => { grid = element; queueMicrotask(() => (element.scrollLeft = element.scrollWidth)); }} class="calendar" role="group" aria-label="Days of the DAG" onPointerUp={() => (dragging = false)} onPointerLeave={() => (dragging = false)}>
              <For each={weeks()}>
                {(week, at) => (
                  <div class="week">
                    <span class="month" aria-hidden="true">{months()[at()]}</span>
                    <For each={week}>
                      {(one) => (
                        <button
                          type="button"
                          class={`day ${look(state(one) ?? "none").family}`}
                          classList={{ chosen: chosen(one), today: one === today(), planned: !state(one) && Boolean(days().get(one)?.planned) }}
                          data-day={one}
                          tabindex={(from() ?? today()) === one ? 0 : -1}
                          title={words(one)}
                          aria-label={words(one)}
                          aria-pressed={chosen(one)}
                          onPointerDown={() => ((dragging = true), setFrom(one), setTo(undefined))}
                          onPointerEnter={() => dragging && setTo(one)}
                          onKeyDown={(event) => press(event, one)}
                          onFocus={() => !from() && setFrom(one)}
                        >
                          {state(one) === "success" ? "" : look(state(one) ?? "none").glyph}
                        </button>
                      )}
                    </For>
                  </div>
                )}
              </For>
            </div>
            <p class="foot dim legend">
              <For each={[["done", "success"], ["failed", "a run failed"], ["running", "running"], ["waiting", "queued"]]}>{([family, word]) => <span><i class={`swatch ${family}`} />{word}</span>}</For>
              <span><i class="swatch planned" />planned</span>
              <Show when={!it().complete}><span>of the newest {it().runs.toLocaleString("en")} runs</span></Show>
            </p>
          </div>
        )}
      </Read>
    </>
  );
}
