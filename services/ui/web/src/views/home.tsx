/** Home: whether everything is all right, and if not, what failed, why, and who was told. */
import { A } from "@solidjs/router";
import { createMemo, For, type JSX, Show } from "solid-js";
import { askAlert, askRerun } from "../acts";
import type { Shapes } from "../base";
import { live } from "../live";
import { dagPath, Fault, Mark, Nothing, runLabel, runPath, taskPath, Time, Told } from "../parts";
import { ago, length, minute, now, short } from "../time";

type Home = Shapes["UiHome"];
const plural = (count: number, one: string, many = `${one}s`): string => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** What home says in one sentence, and in which colour. */
function verdict(home: Home): { tone: "ok" | "bad" | "warn"; text: string } {
  const v = home.verdict;
  const wrong: string[] = [];
  if (v.failed) wrong.push(`${v.failed_is_exact ? "" : "at least "}${plural(v.failed, "run")} failed`);
  if (v.failing) wrong.push(`${v.failing_is_exact ? "" : "at least "}${plural(v.failing, "run")} under way in which a task failed`);
  if (v.missed) wrong.push(`${plural(v.missed, "run")} missed`);
  if (v.late) wrong.push(`${plural(v.late, "run")} late`);
  if (v.import_errors) wrong.push(`${plural(v.import_errors, "file")} can't be read`);
  if (!v.scheduler) wrong.push("no scheduler is there");
  if (v.executors === 0) wrong.push("no executor is there");
  const loud = v.failed > 0 || !v.scheduler || v.executors === 0;
  const unseen = v.unacknowledged ? ` ${plural(v.unacknowledged, "alert")} not acknowledged.` : "";
  if (wrong.length) {
    const text = wrong.join(", ");
    return { tone: loud ? "bad" : "warn", text: `${text.charAt(0).toUpperCase()}${text.slice(1)}.${unseen}` };
  }
  if (v.dags === 0) return { tone: "ok", text: "No DAG is here yet." };
  if (v.failing_is_exact === false) {
    return { tone: "warn", text: `Nothing is known to be wrong. ${plural(v.running, "run")} under way are too many to look through: a task may have failed in one that began long ago.${unseen}` };
  }
  const going = v.running + v.queued;
  return { tone: "ok", text: `Everything is all right.${going ? ` ${plural(going, "run")} under way.` : ""}` };
}

export default function HomeView() {
  const held = live(() => ["home"] as ["home"]);
  return (
    <>
      <Show when={held.error}>{(error) => <Fault what="Home can't be shown." error={error()} />}</Show>
      <Show when={held.data}>{(home) => <Body home={home()} />}</Show>
    </>
  );
}

function Body(props: { home: Home }) {
  const said = createMemo(() => verdict(props.home));
  const v = () => props.home.verdict;
  // The very runs that are counted: those that ended since then.
  const ended = (state: string) => `/dag_runs?state=${state}&end_date_gte=${encodeURIComponent(props.home.since)}`;
  return (
    <div class="home">
      <section class={`verdict ${said().tone}`} aria-label="How things stand">
        <span class="light" aria-hidden="true" />
        <div>
          <h1>{said().text}</h1>
          <p>
            Of the last 24 hours: <A href={ended("success")}>{v().succeeded_is_exact ? "" : "at least "}{v().succeeded.toLocaleString("en")} succeeded</A>,{" "}
            <A href={ended("failed")}>{v().failed_is_exact ? "" : "at least "}{v().failed.toLocaleString("en")} failed</A>. Now:{" "}
            <A href="/dag_runs?state=running">{v().running.toLocaleString("en")} running</A>, <A href="/dag_runs?state=queued">{v().queued.toLocaleString("en")} queued</A>.{" "}
            <A href="/dags">{plural(v().dags, "DAG")}</A>
            <Show when={v().paused}>, <A href="/dags?q=is:paused">{v().paused.toLocaleString("en")} paused</A></Show>.
          </p>
        </div>
      </section>
      <Show when={v().dags === 0}>
        <section class="first">
          <h2>Put a first DAG file into the DAG folder</h2>
          <p>It is read within a second, and shows up here. An Airflow DAG file runs as it is.</p>
        </section>
      </Show>
      <Group title="Needs a human" when={props.home.needs_human.length} count={v().needs_human} more="/alerts" always={`all ${v().unacknowledged.toLocaleString("en")} that nobody has in hand`}>
        <For each={props.home.needs_human}>{(alert) => <AlertRow alert={alert} />}</For>
      </Group>
      <Group title="Needs an answer" when={(props.home.asks ?? []).length} count={v().asks ?? 0} least={!v().asks_is_exact}>
        <For each={props.home.asks}>{(ask) => <AskRow ask={ask} />}</For>
      </Group>
      <Group title="Failed" when={props.home.failed.length} count={v().failed} more={ended("failed")} hint="since yesterday at this time">
        <For each={props.home.failed}>{(run) => <FailedRow run={run} />}</For>
      </Group>
      <Group title="Under way, and a task failed" when={(props.home.failing ?? []).length} count={v().failing ?? 0} least={!v().failing_is_exact}>
        <For each={props.home.failing}>{(run) => <FailedRow run={run} under />}</For>
      </Group>
      <Group title="Can't be read" when={props.home.import_errors.length} count={v().import_errors} more="/import_errors" always="with their tracebacks">
        <For each={props.home.import_errors}>
          {(error) => (
            <div class="row wide-first">
              <span class="mark"><span class="dot failed" aria-hidden="true">✕</span></span>
              <A class="name" href="/import_errors"><code>{error.file}{error.line ? `:${error.line}` : ""}</code></A>
              <span class="line" classList={{ on: !error.keeps.length }} title={`${error.exception}: ${error.message}`}>{error.exception}: {error.message}</span>
              <Show when={error.keeps.length}><span class="dim">{error.keeps.join(", ")} as before</span></Show>
              <span class="when"><Time at={error.at} /></span>
            </div>
          )}
        </For>
      </Group>
      <Group title="Late or missing" when={props.home.late.length} count={v().late + v().missed} more="/expected" always="all of it">
        <For each={props.home.late}>
          {(late) => (
            <div class="row wide-first">
              <span class="mark"><span class="dot retry" aria-hidden="true">!</span></span>
              <A class="name" href={dagPath(late.dag_id)}>{late.dag_id}</A>
              <span class="line">{lateWords(late)}</span>
              <span class="dim">{late.owner}</span>
              <span class="when"><Time at={late.due ?? late.logical_date} /></span>
            </div>
          )}
        </For>
      </Group>
      <Group title="Waiting long" when={props.home.waiting.length} count={v().waiting} least={!v().waiting_is_exact} more="/expected">
        <For each={props.home.waiting}>{(run) => <WaitingRow run={run} />}</For>
      </Group>
      <Strip home={props.home} />
      <footer class="health">
        <Light on={v().scheduler}>scheduler</Light>
        <Light on={v().executors !== 0}>{v().executors === undefined ? "executors unknown" : plural(v().executors ?? 0, "executor")}</Light>
        <Light on={v().lag < 1_000}>{v().lag ? `${plural(v().lag, "record")} behind the log` : "up to the log's last record"}</Light>
        <Light on={v().alerting}>{v().alerting ? "alerting" : "nobody is told: no alerting"}</Light>
      </footer>
    </div>
  );
}

function Light(props: { on: boolean; children: JSX.Element }) {
  return <span class={props.on ? "lamp" : "lamp off"}>{props.children}</span>;
}

/** A run that did not come, in words. */
export function lateWords(late: Shapes["UiLate"]): string {
  if (late.why === "late") return `due ${short(late.due ?? "")}, and nothing has come for ${ago(late.due ?? "").replace(" ago", "")}`;
  const why: Record<string, string> = {
    paused: "the DAG was paused",
    no_scheduler: "no scheduler ran",
    schedule_changed: "the schedule changed",
    too_many_active: "too many runs were active",
    made_by_hand: "somebody made them by hand",
  };
  return `${plural(late.count, "run")} did not happen: ${why[late.why] ?? late.why}`;
}

/** A run in which something waits. */
export function WaitingRow(props: { run: Shapes["UiWaiting"] }) {
  const run = () => props.run;
  return (
    <div class="row wide-first" data-row>
      <Mark state={run().state} />
      <A class="name" href={runPath(run().dag_id, run().run_id)}>{run().dag_id}</A>
      <span class="line">{run().state === "queued" ? "the run is queued" : `${plural(run().tasks, "task")} queued`}, and nothing has happened for {length((now() - Date.parse(run().since)) / 1_000)}</span>
      <A class="dim" href={`${runPath(run().dag_id, run().run_id)}?tab=why`}>why</A>
      <span class="when"><Time at={run().since} /></span>
    </div>
  );
}

/** Rows of one kind. `always` are the words of the link that is there even where no row is left out. */
function Group(props: { title: string; when: number; count: number; least?: boolean; more?: string; always?: string; hint?: string; children: JSX.Element }) {
  return (
    <Show when={props.when}>
      <section class="group" aria-label={props.title}>
        <h2>
          {props.title} <span class="count">{props.least ? "at least " : ""}{props.count.toLocaleString("en")}</span>
          <Show when={props.hint}><span class="hint">{props.hint}</span></Show>
          <Show when={!props.more && props.count > props.when}><span class="hint">the first {props.when}</span></Show>
          <Show when={props.more && (props.always || props.count > props.when)}><A class="hint" href={props.more ?? ""}>{props.always ?? "all of them"}</A></Show>
        </h2>
        <div class="rows">{props.children}</div>
      </section>
    </Show>
  );
}

/** A question that a task asks people and that nobody has answered. */
function AskRow(props: { ask: Shapes["UiAsk"] }) {
  const ask = () => props.ask;
  const href = () => taskPath(ask().dag_id, ask().run_id, ask().task_id, ask().map_index);
  return (
    <div class="row" data-row>
      <span class="mark"><span class="dot retry" aria-hidden="true">?</span></span>
      <A class="name" href={href()}>{ask().dag_id}</A>
      <A class="line" href={href()} title={ask().subject}><b>{ask().task_id}{ask().map_index >= 0 ? `[${ask().map_index}]` : ""}</b> {ask().subject}</A>
      <span class="dim">{ask().assigned.length ? `of ${ask().assigned.join(", ")}` : ""}<Show when={ask().due_at}>{(due) => <> due <Time at={due()} /></>}</Show></span>
      <span class="when"><Time at={ask().asked_at} ago /></span>
      <span class="do"><A class="button small" href={href()}>answer</A></span>
    </div>
  );
}

function AlertRow(props: { alert: Shapes["UiAlert"] }) {
  const alert = () => props.alert;
  const href = () =>
    alert().dag_id && alert().run_id ? runPath(alert().dag_id ?? "", alert().run_id ?? "") : `/alerts/${alert().alert_id}`;
  return (
    <div class="row">
      <span class="mark"><span class="dot failed" aria-hidden="true">!</span></span>
      <A class="name" href={href()}>{alert().dag_id ?? alert().rule.replaceAll("_", " ")}</A>
      <span class="line" title={alert().summary}>{alert().summary}{alert().count > 1 ? ` · ${alert().count} times` : ""}</span>
      <Told told={alert().told} />
      <span class="when"><Time at={alert().opened_at} ago /></span>
      <span class="do"><button type="button" class="small" onClick={() => askAlert(alert(), "acknowledge")}>ack</button></span>
    </div>
  );
}

function FailedRow(props: { run: Shapes["UiFailedRun"]; under?: boolean }) {
  const run = () => props.run;
  return (
    <div class="row" data-row>
      <Mark state={props.under ? "running" : "failed"} />
      <span class="name">
        <A href={runPath(run().dag_id, run().run_id)}>{run().dag_id}</A> <Show when={run().logical_date ?? run().end_date}><span class="dim">{runLabel({ logical_date: run().logical_date, run_after: run().end_date ?? "", run_type: run().run_type })}</span></Show>
      </span>
      <Show when={run().failure} fallback={<span class="line dim">no task of it failed</span>}>
        {(failure) => (
          <A class="line error" href={taskPath(run().dag_id, run().run_id, failure().task_id, failure().map_index)} title={failure().message}>
            <b>{failure().task_id}{failure().map_index >= 0 ? `[${failure().map_index}]` : ""}</b>
            <Show when={failure().tries > 1}><span class="dim"> try {failure().tries}</span></Show>
            <span class="said"> {failure().exception ? `${failure().exception}: ` : ""}{failure().message}</span>
            <Show when={failure().more}><span class="dim"> and {failure().more} more</span></Show>
          </A>
        )}
      </Show>
      <Show when={!props.under || typeof run().told.alert_id === "number"} fallback={<span class="dim">the run goes on</span>}><Told told={run().told} /></Show>
      <span class="when"><Show when={!props.under}><Time at={run().end_date} ago /></Show></span>
      <span class="do">
        <Show when={["told", "no_receiver", "not_told", "sending"].includes(run().told.state)}>
          <button type="button" class="small" onClick={() => askAlert({ alert_id: run().told.alert_id ?? 0, summary: `${run().dag_id}: ${run().failure?.message ?? "a run failed"}` }, "acknowledge")}>ack</button>
        </Show>
        <button type="button" class="small" onClick={() => askRerun({ dag_id: run().dag_id, run_id: run().run_id, failed: true })}>rerun</button>
      </span>
    </div>
  );
}

/** Runs that are promised for the next twelve hours. */
export function Strip(props: { home: Pick<Home, "next" | "next_12h" | "as_of"> }) {
  const most = createMemo(() => Math.max(1, ...props.home.next_12h));
  const total = createMemo(() => props.home.next_12h.reduce((sum, bar) => sum + bar, 0));
  const from = () => Date.parse(props.home.as_of);
  return (
    <section class="group next" aria-label="Next 12 hours">
      <h2>Next 12 h <span class="count">{total().toLocaleString("en")}</span><Show when={total()}><A class="hint" href="/dags?q=sort:next">every DAG by its next run</A></Show></h2>
      <Show when={total()} fallback={<Nothing>No schedule promises a run within twelve hours.</Nothing>}>
        <div class="strip">
          <svg viewBox="0 0 240 36" preserveAspectRatio="none" role="img" aria-label={`${total()} runs are promised within twelve hours`}>
            <For each={props.home.next_12h}>
              {(count, at) => {
                const height = () => (count ? 3 + (31 * count) / most() : 1);
                return <rect x={at() * 10 + 3.5} y={35 - height()} width="3" height={height()} class={count ? "bar" : "none"} />;
              }}
            </For>
          </svg>
          <div class="axis" aria-hidden="true">
            <For each={[0, 3, 6, 9, 12]}>{(hours) => <span>{minute(from() + hours * 3_600_000)}</span>}</For>
          </div>
        </div>
        <ul class="soon">
          <For each={props.home.next.slice(0, 6)}>
            {(one) => (
              <li><Time at={one.due} /> <A href={dagPath(one.dag_id)}>{one.dag_id}</A> <span class="dim">{ago(one.due)}</span></li>
            )}
          </For>
        </ul>
      </Show>
    </section>
  );
}
