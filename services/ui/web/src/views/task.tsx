/** A task of a run: the error first, then the log opened at it, and why, values, tries, who was told. */
import { A, useNavigate, useSearchParams } from "@solidjs/router";
import { createEffect, createMemo, For, Match, Show, Suspense, Switch } from "solid-js";
import { askRerun } from "../acts";
import { get, part, type Shapes } from "../base";
import { keys } from "../keys";
import { later, view } from "../later";
import { kept, live } from "../live";
import { Log } from "../log";
import { Crumbs, dagPath, Fault, Mark, Menu, Nothing, Read, runLabel, runPath, taskPath, Time, Told, useNames } from "../parts";
import { bytes } from "../sizes";
import { look } from "../states";
import { between, inZoneOf, length } from "../time";
import { Ledger } from "./alerts";
import { Why } from "./why";

const marks = () => import("../marks");
const Usage = view(() => import("./usage"), (it) => it.Usage);
const QuestionPanel = view(() => import("./question"), (it) => it.default);
type Task = Shapes["UiTask"];
type Try = Shapes["TryInstance"];
const TABS = ["log", "why", "xcom", "rendered", "tries", "resources", "details", "told"] as const;
type Tab = (typeof TABS)[number];
/** Alerts about its run that a task comes with. */
const ALERTS = 20;
/** What each copy of a mapped task has for itself. */
const OF_COPIES: readonly Tab[] = ["log", "why", "rendered", "tries", "resources"];
const NAMES: Record<Tab, string> = { log: "Log", why: "Why", xcom: "XCom", rendered: "Rendered", tries: "Tries", resources: "Resources", details: "Details", told: "Told" };

/** A hundred is what is done, and not what is nearly. */
const percent = (fraction: number): number => (fraction < 1 ? Math.min(99, Math.round(fraction * 100)) : 100);
const some = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
/** What a task has in its checkpoint, in words. */
function inCheckpoint(it: Shapes["TaskCheckpoint"]): string {
  const files = it.files ? `${some(it.files, "file")} of ${bytes(it.bytes)}` : "";
  const values = it.keys ? some(it.keys, "value") : "";
  return [files, values].filter(Boolean).join(", and ") || "an empty directory";
}

/** The page of a task. */
export default function TaskView() {
  const params = useNames<{ dag: string; run: string; task: string; index?: string }>();
  const map = () => (params.index === undefined ? -1 : Number(params.index));
  const held = live(() => ["task", params.dag, params.run, params.task, map()] as ["task", string, string, string, number]);
  const navigate = useNavigate();
  keys({ Escape: () => navigate(runPath(params.dag, params.run)) });
  inZoneOf(() => held.data?.timezone);
  createEffect(() => {
    document.title = `${held.data ? look(held.data.task.state).glyph : ""} ${params.task} · ${params.dag} · Dagbok`;
  });
  return (
    <>
      <Crumbs
        of={[
          { text: "DAGs", href: "/dags" },
          { text: params.dag, href: dagPath(params.dag) },
          { text: held.data ? runLabel(held.data) : params.run, href: runPath(params.dag, params.run) },
          { text: `${params.task}${map() >= 0 ? `[${map()}]` : ""}` },
        ]}
      />
      <Show when={held.error}>{(error) => <Fault what="The task can't be shown." error={error()} />}</Show>
      <Show when={held.data}>{(task) => <div class="alone"><Panel task={task()} /></div>}</Show>
    </>
  );
}

/** The same beside a run: read again when the run says that it changed. */
export function TaskPanel(props: { dag: string; run: string; task: string; map: number; seq: string; within?: boolean }) {
  const task = kept(
    () => [props.dag, props.run, props.task, props.map],
    (signal) => get<Task>(`dagbok/ui/tasks/${part(props.dag)}/${part(props.run)}/${part(props.task)}`, { map_index: props.map }, signal),
    { whose: () => [props.dag, props.run, props.task, props.map], when: () => props.seq, apart: 500 },
  );
  return <Read of={task} what="The task can't be shown.">{(it) => <Panel task={it()} within />}</Read>;
}

function Panel(props: { task: Task; within?: boolean }) {
  const it = () => props.task;
  const [query, setQuery] = useSearchParams<{ tab?: string; try?: string }>();
  const tab = (): Tab => (TABS.includes(query.tab as Tab) ? (query.tab as Tab) : it().tries.length ? "log" : "why");
  const chosen = createMemo<Try | undefined>(() => {
    const all = it().tries;
    return all.find((one) => String(one.try_number) === query.try) ?? all[all.length - 1];
  });
  const go = (to: Tab) => setQuery({ tab: to }, { replace: true });
  const rerun = () => askRerun({ dag_id: it().dag_id, run_id: it().run_id, task_id: it().task.task_id, map_index: it().task.map_index, failed: it().task.state === "failed" });
  keys({ l: () => go("log"), w: () => go("why"), ...(props.within ? {} : { r: rerun }) });
  const self = () => ({ dag_id: it().dag_id, run_id: it().run_id, task_id: it().task.task_id, map_index: it().task.map_index });
  const more = () => [
    { text: "Mark as…", go: () => later(marks, (made) => made.askMarkTask(self(), it().task.state === "success" ? "failed" : "success")) },
    { text: it().note ? "Change the note…" : "Add a note…", go: () => later(marks, (made) => made.askNote(self(), it().note ?? "")) },
  ];
  const of = () => Object.values(it().task.copies ?? {}).reduce((sum, count) => sum + count, 0);
  const took = () => between(chosen()?.start_date ?? undefined, chosen()?.end_date ?? undefined);
  return (
    <div class="task">
      <header>
        <h2>
          <Mark state={it().task.state} word />
          <Show when={props.within}>
            <A href={taskPath(it().dag_id, it().run_id, it().task.task_id, it().task.map_index)}>{it().task.task_id}{it().task.map_index >= 0 ? `[${it().task.map_index}]` : ""}</A>
          </Show>
        </h2>
        <Show when={it().tries.length}>
          <div class="tries" role="group" aria-label="Tries">
            <For each={it().tries}>
              {(one) => (
                <button type="button" aria-pressed={chosen()?.try_number === one.try_number} onClick={() => setQuery({ try: String(one.try_number) }, { replace: true })}>
                  {props.within && it().tries.length > 3 ? "" : "try "}{one.try_number} <Mark state={one.state ?? "none"} />
                </button>
              )}
            </For>
          </div>
        </Show>
        <Show when={took() !== undefined}><span class="dim">{length(took() ?? 0)}</span></Show>
        <Show when={chosen()?.hostname}>{(host) => <span class="dim host">on {host()}</span>}</Show>
        <div class="acts">
          <button type="button" class="small" onClick={rerun}>Rerun from here</button>
          <Menu of={more()} />
        </div>
      </header>
      <Show when={it().note}>{(text) => <p class="note noted"><b>Note</b> {text()}</p>}</Show>
      <Show when={it().question}>
        {(question) => (
          <Suspense fallback={<p class="note">{question().subject}</p>}>
            <QuestionPanel question={question()} of={{ dag: it().dag_id, run: it().run_id, task: it().task.task_id, map: it().task.map_index }} />
          </Suspense>
        )}
      </Show>
      <Show when={chosen()?.dagbok.progress}>
        {(said) => <p class="note"><progress value={said().fraction} max="1" aria-label="Progress" /> {percent(said().fraction)} %{said().text ? `: ${said().text}` : ""}</p>}
      </Show>
      <Show when={chosen()?.dagbok.checkpoint}>{(has) => <p class="note">Keeps for its next try {inCheckpoint(has())}</p>}</Show>
      <Show when={chosen()?.dagbok.failure}>{(failure) => <Failure failure={failure()} code={(file, line) => `${dagPath(it().dag_id)}/code?run=${part(it().run_id)}&file=${part(file)}&line=${line}`} />}</Show>
      <Show when={!chosen()?.dagbok.failure && chosen()?.dagbok.message}>{(text) => <p class="note">{text().replaceAll("_", " ")}</p>}</Show>
      <Show when={it().message}>{(text) => <p class="note">{text()}</p>}</Show>
      <Show when={it().copies?.length}>
        <div class="copies" role="group" aria-label="Copies">
          <For each={it().copies}>
            {(copy) => (
              <A href={taskPath(it().dag_id, it().run_id, copy.task_id, copy.map_index)} title={copy.error ?? copy.state}>
                <Mark state={copy.state} /> [{copy.map_index}] {copy.name}
              </A>
            )}
          </For>
          <Show when={(it().copies?.length ?? 0) < of()}><A class="plain" href={`${runPath(it().dag_id, it().run_id)}?show=table&find=${part(it().task.task_id)}`}>all {of().toLocaleString("en")} in the table</A></Show>
        </div>
      </Show>
      <div class="tabs" role="tablist" aria-label="About the task">
        <For each={TABS}>
          {(one) => (
            <button type="button" role="tab" aria-selected={tab() === one} id={`tab-${one}`} aria-controls="tabpanel" tabindex={tab() === one ? 0 : -1} onClick={() => go(one)}
              onKeyDown={(event) => {
                const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
                if (!by) return;
                const next = TABS[(TABS.indexOf(one) + by + TABS.length) % TABS.length] as Tab;
                go(next);
                document.getElementById(`tab-${next}`)?.focus();
              }}
            >
              {NAMES[one]}
              <Show when={one === "xcom" && it().xcoms.length}><span class="count">{it().xcoms.length}</span></Show>
              <Show when={one === "tries" && it().tries.length > 1}><span class="count">{it().tries.length}</span></Show>
              <Show when={one === "told" && it().alerts.length}><span class="count">{it().alerts.length}</span></Show>
            </button>
          )}
        </For>
      </div>
      <div class="tabpanel" id="tabpanel" role="tabpanel" aria-labelledby={`tab-${tab()}`} tabindex="-1">
        <Switch>
          <Match when={it().copies?.length && OF_COPIES.includes(tab())}>
            <Nothing>It stands for its copies, each of which has its own: choose one above{(it().copies?.length ?? 0) < of() ? `, where those are that say most of ${of().toLocaleString("en")}` : ""}.</Nothing>
          </Match>
          <Match when={tab() === "log"}>
            <Show when={chosen()} fallback={<Nothing>No try of it has begun, so there is no log. <button type="button" class="link" onClick={() => go("why")}>Why?</button></Nothing>}>
              {(one) => <Log dag={it().dag_id} run={it().run_id} task={it().task.task_id} map={it().task.map_index} number={one().try_number} over={Boolean(one().dagbok.ended)} />}
            </Show>
          </Match>
          <Match when={tab() === "why"}><Why dag={it().dag_id} run={it().run_id} task={it().task.task_id} map={it().task.map_index} key={`${it().task.state}${it().task.try_number}`} /></Match>
          <Match when={tab() === "xcom"}><XComs task={it()} /></Match>
          <Match when={tab() === "rendered"}>
            <Show when={chosen()} fallback={<Nothing>No try of it has begun, so nothing is rendered yet.</Nothing>}>{(one) => <Rendered task={it()} of={one()} />}</Show>
          </Match>
          <Match when={tab() === "tries"}><Tries task={it()} /></Match>
          <Match when={tab() === "resources"}>
            <Show when={chosen()} fallback={<Nothing>No try of it has begun, so nothing was used.</Nothing>}>
              {(one) => <Suspense><Usage dag={it().dag_id} run={it().run_id} task={it().task.task_id} map={it().task.map_index} number={one().try_number} over={Boolean(one().dagbok.ended)} /></Suspense>}
            </Show>
          </Match>
          <Match when={tab() === "details"}><Details task={it()} of={chosen()} /></Match>
          <Match when={tab() === "told"}>
            <p><Told told={it().told} /></p>
            <For each={it().alerts} fallback={<Nothing>No alert is about this run.</Nothing>}>{(alert) => <Ledger alert={alert} />}</For>
            <Show when={it().alerts.length >= ALERTS}><p class="foot dim">There may be more than these {ALERTS}. <A href={`${runPath(it().dag_id, it().run_id)}?show=told`}>All stand with the run</A></p></Show>
          </Match>
        </Switch>
      </div>
    </div>
  );
}

/** The error first, the user's own frames open, the rest folded. */
function Failure(props: { failure: Shapes["TryFailure"]; code: (file: string, line: number) => string }) {
  const failure = () => props.failure;
  const frames = createMemo(() => framesOf(failure().traceback ?? "", failure().file ?? undefined));
  const folded = () => frames().filter((one) => !one.own).length;
  const own = () => frames().filter((one) => one.own);
  // Of the folder's archive there is the text; what lies elsewhere has a whole path.
  const within = () => (failure().file?.endsWith(".py") && !failure().file?.startsWith("/") ? (failure().file ?? undefined) : undefined);
  const fault: Record<string, string> = { system: "The system's fault, not the task's: it uses up no retry.", data: "The data's fault." };
  return (
    <section class="failure" aria-label="The error">
      <p class="said"><b>{failure().exception ?? failure().kind.replaceAll("_", " ")}</b>{failure().message ? `: ${failure().message}` : ""}</p>
      <Show when={own().length} fallback={<Show when={failure().file}>{(file) => <p class="frame"><Show when={within()} fallback={<code>{file()}:{failure().line}</code>}><A href={props.code(file(), failure().line ?? 1)}><code>{file()}:{failure().line}</code></A></Show></p>}</Show>}>
        <For each={own()}>{(one) => <p class="frame"><Show when={one.file === within() && within()} fallback={<code>{one.where}</code>}><A href={props.code(one.file, one.line)} title="the line in the code that the run ran"><code>{one.where}</code></A></Show><Show when={one.source}><code class="source">{one.source}</code></Show></p>}</For>
      </Show>
      <Show when={failure().traceback}>
        {(text) => (
          <details>
            <summary>{folded() ? `Traceback, ${folded()} ${folded() === 1 ? "frame" : "frames"} folded` : "Traceback"}</summary>
            <pre>{text()}</pre>
          </details>
        )}
      </Show>
      <Show when={fault[failure().fault]}>{(words) => <p class="dim">{words()}</p>}</Show>
      <Show when={failure().signal}>{(signal) => <p class="dim">ended by signal {signal()}</p>}</Show>
    </section>
  );
}

interface Frame {
  /** Within the DAG folder, where it is the one that the failure names. */
  file: string;
  where: string;
  line: number;
  source: string;
  own: boolean;
}
/** The frames of a Python traceback; a user's own are those of the file that the failure names, or outside of packages. */
function framesOf(text: string, file: string | undefined): Frame[] {
  const found: Frame[] = [];
  const lines = text.split("\n");
  for (const [at, line] of lines.entries()) {
    const frame = /^\s*File "([^"]+)", line (\d+)(?:, in (.+))?/.exec(line);
    if (!frame) continue;
    const [, path = "", number = "", name] = frame;
    const packaged = /site-packages|dist-packages|\/lib\/python|\/dagbok\/|<frozen/.test(path);
    const named = file !== undefined && (path === file || path.endsWith(`/${file}`));
    const own = file ? named : !packaged;
    const next = lines[at + 1] ?? "";
    // Of what is installed the package says enough.
    const short = (named ? file : path).replace(/^.*\/(?:site|dist)-packages\//, "");
    found.push({ file: short, line: Number(number), where: `${short}:${number}${name ? ` in ${name}` : ""}`, source: /^\s*File "/.test(next) ? "" : next.trim(), own });
  }
  return found;
}

function XComs(props: { task: Task }) {
  return (
    <Show when={props.task.xcoms.length} fallback={
      <Show when={props.task.xcoms_kept_until} fallback={<Nothing>It has handed on nothing.</Nothing>}>
        {(until) => <Nothing>What it handed on was kept until <Time at={until()} />, by <code>retention.xcoms</code>.</Nothing>}
      </Show>
    }>
      <table class="list">
        <thead><tr><th scope="col">Key</th><th scope="col">Value</th><th scope="col" class="num">Try</th><th scope="col">When</th></tr></thead>
        <tbody>
          <For each={props.task.xcoms}>
            {(one) => (
              <tr>
                <td><code>{one.key}</code></td>
                <td><Show when={one.text !== undefined && one.text !== null} fallback={<span class="dim">{one.size.toLocaleString("en")} bytes</span>}><pre class="value">{pretty(one.text ?? "")}</pre></Show></td>
                <td class="num">{one.try_number}</td>
                <td><Time at={one.at} /></td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </Show>
  );
}
/** How the line of a log begins that has a try's rendered fields, and how that goes on where they were too many. */
const RENDERED = "rendered fields: ";
const TOO_MANY = /^not kept, (\d+) bytes$/;
type Fields = { of: string; fields?: [string, unknown][]; bytes?: number; text?: string };

/** What the line says. */
function fieldsOf(of: string, text: string): Fields {
  const many = TOO_MANY.exec(text);
  if (many) return { of, bytes: Number(many[1]) };
  try {
    return { of, fields: Object.entries(JSON.parse(text) as Record<string, unknown>) };
  } catch {
    return { of, text };
  }
}

/** What a try's templates came to; its log has it. */
function Rendered(props: { task: Task; of: Try }) {
  const it = () => props.task;
  const of = () => [it().dag_id, it().run_id, it().task.task_id, it().task.map_index, props.of.try_number];
  let had: Fields | undefined;
  const fields = kept(
    of,
    async (signal): Promise<Fields> => {
      const key = JSON.stringify(of());
      // Templates are rendered once; a try that is over says nothing more.
      if (had?.of === key) return had;
      const over = Boolean(props.of.dagbok.ended);
      const path = `dagbok/ui/logs/${part(it().dag_id)}/${part(it().run_id)}/${part(it().task.task_id)}/${props.of.try_number}`;
      const found = await get<Shapes["UiLog"]>(path, { map_index: it().task.map_index >= 0 ? it().task.map_index : undefined, grep: RENDERED }, signal);
      // Only Dagbok's own line: whatever a task writes stands under another source.
      const line = found.lines.find((one) => one.s === "system" && one.m.startsWith(RENDERED));
      const said = line ? fieldsOf(key, line.m.slice(RENDERED.length)) : { of: key };
      if (line || over) had = said;
      return said;
    },
    { whose: of, when: () => props.of.dagbok.ended, every: 3_000 },
  );
  return (
    <Read of={fields} what="The rendered fields can't be shown.">
      {(found) => (
        <Show when={found().fields?.length} fallback={
          <Show when={found().text} fallback={
            <Nothing>{found().bytes ? `What its templates came to is ${found().bytes?.toLocaleString("en")} bytes, which is more than is kept.` : props.of.dagbok.ended || found().fields ? "Its operator has no templates that came to anything, or the try never came so far." : "Nothing is rendered yet."}</Nothing>
          }>{(text) => <pre class="value padded">{text()}</pre>}</Show>
        }>
          <table class="list">
            <thead><tr><th scope="col">Field</th><th scope="col">Came to</th></tr></thead>
            <tbody><For each={found().fields}>{([name, value]) => <tr><td><code>{name}</code></td><td><pre class="value">{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre></td></tr>}</For></tbody>
          </table>
        </Show>
      )}
    </Read>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function Tries(props: { task: Task }) {
  return (
    <Show when={props.task.tries.length} fallback={<Nothing>No try of it has begun.</Nothing>}>
      <table class="list">
        <thead><tr><th scope="col" class="num">Try</th><th scope="col">State</th><th scope="col">Began</th><th scope="col" class="num">Queued</th><th scope="col" class="num">Took</th><th scope="col" class="num">Memory</th><th scope="col">On</th><th scope="col">Said</th></tr></thead>
        <tbody>
          <For each={props.task.tries}>
            {(one) => (
              <tr>
                <td class="num">{one.try_number}</td>
                <td><Mark state={one.state ?? "none"} word /></td>
                <td><Time at={one.start_date ?? undefined} full /></td>
                <td class="num">{one.queued_when && one.start_date ? length(between(one.queued_when, one.start_date) ?? 0) : "–"}</td>
                <td class="num">{one.start_date ? length(between(one.start_date, one.end_date ?? undefined) ?? 0) : "–"}</td>
                <td class="num">{one.dagbok.usage ? `${(one.dagbok.usage.max_rss_bytes / 1_048_576).toFixed(0)} MB` : "–"}</td>
                <td class="clip">{one.hostname ?? "–"}</td>
                <td class="clip" title={one.dagbok.failure?.message}>{one.dagbok.failure ? `${one.dagbok.failure.exception ?? one.dagbok.failure.kind}: ${one.dagbok.failure.message}` : (one.dagbok.message ?? one.dagbok.ended ?? "")}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </Show>
  );
}

function Details(props: { task: Task; of: Try | undefined }) {
  const it = () => props.task;
  const link = (task: string) => taskPath(it().dag_id, it().run_id, task);
  const usage = () => props.of?.dagbok.usage;
  const links = (all: string[]) => <Show when={all.length} fallback={<span class="dim">nothing</span>}><For each={all}>{(one) => <A class="pair" href={link(one)}>{one}</A>}</For></Show>;
  return (
    <dl class="facts tall">
      <div><dt>Operator</dt><dd>{it().task.operator}</dd></div>
      <div><dt>Upstream</dt><dd>{links(it().task.upstream ?? [])}</dd></div>
      <div><dt>Downstream</dt><dd>{links(it().downstream)}</dd></div>
      <div><dt>Trigger rule</dt><dd>{it().trigger_rule}</dd></div>
      <div><dt>Retries</dt><dd>{it().retries}</dd></div>
      <div><dt>Pool</dt><dd>{it().pool}</dd></div>
      <div><dt>Queue</dt><dd>{it().queue}</dd></div>
      <Show when={props.of?.executor}>{(id) => <div><dt>Executor</dt><dd><code>{id()}</code></dd></div>}</Show>
      <Show when={props.of?.pid}>{(pid) => <div><dt>Process</dt><dd>{pid()} on {props.of?.hostname}</dd></div>}</Show>
      <Show when={usage()}>{(used) => <div><dt>Used</dt><dd>{(used().max_rss_bytes / 1_048_576).toFixed(1)} MB at most · {length((used().user_us + used().system_us) / 1e6)} of CPU</dd></div>}</Show>
      <Show when={it().note}><div><dt>Note</dt><dd>{it().note}</dd></div></Show>
      <Show when={it().doc_md}>{(text) => <div><dt>Doc</dt><dd><pre class="value">{text()}</pre></dd></div>}</Show>
    </dl>
  );
}


