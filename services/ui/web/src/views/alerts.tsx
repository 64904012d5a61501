/** Alerts: what is wrong, who was told by which route, and what the provider answered. */
import { A, useSearchParams } from "@solidjs/router";
import { For, Show } from "solid-js";
import { askAlert } from "../acts";
import { get, part, type Shapes } from "../base";
import { later } from "../later";
import { kept, pulse, seq } from "../live";
import { Beyond, Crumbs, dagPath, Nothing, Pages, Read, runPath, Time, useNames, useOffset } from "../parts";

type Alert = Shapes["AlertResponse"];
/** How often the list is asked for: alerts have a log of their own. */
const AGAIN_MS = 3_000;

/** Alerts that are shown at once. */
const PAGE = 100;

const PLACES = [["/alerts", "Alerts"], ["/oncall", "On call"], ["/alerts/silences", "Silences"], ["/alerts/routes", "Routes"]] as const;

/** The places of alerting. */
export function AlertPlaces(props: { here: string }) {
  return (
    <nav class="tabs" aria-label="Alerting">
      <For each={PLACES}>{([path, name]) => <A href={path} aria-current={props.here === path ? "page" : undefined} class={props.here === path ? "on" : ""} end>{name}</A>}</For>
    </nav>
  );
}

/** What an alert's own silence is of. */
const matchers = (alert: Alert) => ["dag", "rule", "file"].flatMap((name) => (alert.labels[name] ? [`${name}=${JSON.stringify(alert.labels[name])}`] : []));

export default function AlertsView() {
  pulse();
  const params = useNames<{ id?: string }>();
  const [query, setQuery] = useSearchParams<{ state?: string; page?: string }>();
  const offset = useOffset(PAGE);
  const state = () => query.state ?? "open";
  const page = kept(
    () => [params.id, state(), offset()],
    async (signal): Promise<Shapes["AlertCollection"] & { from: number }> => {
      const from = offset();
      if (params.id) return { alerts: [await get<Alert>(`dagbok/alerts/${part(params.id)}`, undefined, signal)], total_entries: 1, from: 0 };
      return { ...(await get<Shapes["AlertCollection"]>("dagbok/alerts", { state: state() === "all" ? undefined : state(), limit: PAGE, offset: from }, signal)), from };
    },
    { key: "alert_id", whose: () => params.id, when: seq, every: AGAIN_MS },
  );
  return (
    <>
      <Crumbs of={params.id ? [{ text: "Alerts", href: "/alerts" }, { text: `Alert ${params.id}` }] : [{ text: "Alerts" }]}>
        <Show when={!params.id}>
          <div class="filter">
            <For each={["open", "firing", "acknowledged", "resolved", "all"]}>
              {(one) => <button type="button" class="chip" aria-pressed={state() === one} onClick={() => setQuery({ state: one, page: null })}>{one}</button>}
            </For>
          </div>
          <Show when={page.latest}>{(it) => <Pages from={it().from} shown={it().alerts.length} total={it().total_entries} size={PAGE} words={["newer", "older"]} />}</Show>
        </Show>
      </Crumbs>
      <AlertPlaces here="/alerts" />
      <Read of={page} what="Alerts can't be shown.">
        {(all) => <><For each={all().alerts} fallback={all().total_entries ? <Beyond total={all().total_entries} size={PAGE} /> : <Nothing>{state() === "open" ? "Nothing is wrong that somebody would be told of." : state() === "all" ? "Nothing has gone wrong yet that somebody would be told of." : "No alert is like that."} <Show when={state() !== "all"}><button type="button" class="link" onClick={() => setQuery({ state: "all", page: null })}>Show all</button></Show></Nothing>}>{(alert) => <Ledger alert={alert} full alone={Boolean(params.id)} then={page.again} />}</For>
          <Show when={all().total_entries > PAGE}><div class="foot"><Pages from={all().from} shown={all().alerts.length} total={all().total_entries} size={PAGE} words={["newer", "older"]} below /></div></Show>
        </>}
      </Read>
    </>
  );
}

/** A web address, and nothing that a browser would run. */
export const web = (url: string | null | undefined) => (url && /^https?:\/\//i.test(url) ? url : undefined);

/** Where nothing was sent yet, or it went with another. */
const HELD: Record<string, string> = { sending: "being sent", waiting: "is to be sent", withheld: "held back", gathered: "told with others", rejected: "not sent" };
const SUPPRESSED: Record<string, string> = { grouped: "told with", inhibited: "follows from", silenced: "silenced, as is" };
const TONE: Record<string, string> = { firing: "bad", acknowledged: "warn", resolved: "quiet" };

/** An alert with everything that was done about it, in order. */
export function Ledger(props: { alert: Alert; full?: boolean; alone?: boolean; then?: () => void }) {
  const it = () => props.alert;
  const entries = () => {
    const all: { at: string; word: string; text: string; bad?: boolean }[] = [
      { at: it().opened_at, word: "opened", text: `${it().rule.replaceAll("_", " ")} · incident ${it().generation}${it().causes.length ? ` · seq ${it().causes.join(", ")}` : ""}` },
    ];
    for (const one of it().notifications) {
      const who = `${one.person ? `${one.person} by ` : ""}${one.receiver}${one.instead_of ? ` in place of ${one.instead_of}` : ""} · route ${one.route}${one.step ? `, step ${one.step + 1}` : ""}${one.turn ? `, turn ${one.turn + 1}` : ""}`;
      if (!one.attempts.length) all.push({ at: it().opened_at, word: HELD[one.state] ?? one.state, text: who });
      for (const attempt of one.attempts) {
        const answer = attempt.status ? `answered ${attempt.status}` : attempt.why ?? "no answer yet";
        all.push({
          at: attempt.at,
          word: attempt.why ? "not taken" : one.purpose === "trigger" ? "sent" : one.purpose === "refresh" ? "told again" : one.purpose === "resolve" ? "told that it is over" : "told that it is in hand",
          text: `${who} · ${answer}${attempt.took_ms != null ? ` in ${attempt.took_ms} ms` : ""}${one.provider_id ? ` · ${one.provider_id}` : ""}`,
          bad: Boolean(attempt.why),
        });
      }
    }
    if (it().changed_at) all.push({ at: it().changed_at ?? "", word: it().state, text: `by ${it().changed_by ?? "rules"}${it().note ? `: ${it().note}` : ""}${it().resolved_why ? ` · ${it().resolved_why?.replaceAll("_", " ")}` : ""}` });
    return all.sort((a, b) => a.at.localeCompare(b.at));
  };
  return (
    <article class="alert">
      <header>
        <span class={`badge ${TONE[it().state] ?? ""}`}>{it().state}</span>
        <h2><A href={`/alerts/${it().alert_id}`}>{it().summary}</A></h2>
        <Show when={it().count > 1}><span class="dim">{it().count} times</span></Show>
        <Show when={it().silenced_by}><A href="/alerts/silences" class="badge">silenced</A></Show>
        <span class="when"><Time at={it().opened_at} ago /></span>
        <div class="acts">
          <Show when={it().state === "firing"}><button type="button" class="small" onClick={() => askAlert(it(), "acknowledge", props.then)}>Acknowledge</button></Show>
          <Show when={props.full && it().state !== "resolved"}><button type="button" class="small" onClick={() => askAlert(it(), "resolve", props.then)}>Resolve</button></Show>
          <Show when={props.full && it().state !== "resolved" && matchers(it()).length}><button type="button" class="small" onClick={() => void later(() => import("./duty"), (made) => made.askSilence(matchers(it()), () => props.then?.()))}>Silence</button></Show>
        </div>
      </header>
      <Show when={props.full && it().runs.length}>
        <p class="dim">About <For each={it().runs.slice(-3).reverse()}>{(run) => <A class="pair" href={runPath(run.dag_id, run.dag_run_id)}>{run.dag_id} · {run.dag_run_id}</A>}</For></p>
      </Show>
      <Show when={props.full && !it().runs.length && it().labels["dag"]}>{(dag) => <p class="dim">About <A href={dagPath(dag())}>{dag()}</A></p>}</Show>
      <Show when={props.full && it().suppressed_by}>{(other) => <p class="dim">Not told by itself: {SUPPRESSED[it().suppressed_why ?? ""] ?? "see"} <A href={`/alerts/${other()}`}>alert {other()}</A></p>}</Show>
      <Show when={props.alone && it().details.length}>
        <dl class="facts tall said"><For each={it().details}>{(one) => <div><dt>{one.name}</dt><dd>{one.value}</dd></div>}</For></dl>
      </Show>
      <Show when={web(it().labels["runbook"])}>{(url) => <p><a href={url()} target="_blank" rel="noopener noreferrer">Runbook</a></p>}</Show>
      <ol class="ledger">
        <For each={entries()}>{(one) => <li classList={{ bad: one.bad ?? false }}><Time at={one.at} full /><b>{one.word}</b><span>{one.text}</span></li>}</For>
        <Show when={!it().notifications.length}><li><span class="dim">–</span><b>nobody told</b><span class="dim">{it().silenced_by ? "a silence holds" : "no route of alerting.toml leads from it to a receiver"}</span></li></Show>
      </ol>
    </article>
  );
}
