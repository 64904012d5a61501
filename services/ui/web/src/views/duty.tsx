/** Alerting beside the alerts: who is on call, what is silenced, and which way leads to whom. */
import { createSignal, For, Show } from "solid-js";
import { act, Buttons, Dialog, open } from "../acts";
import { get, send, type Shapes } from "../base";
import { kept, pulse } from "../live";
import { Crumbs, Nothing, Read, Time } from "../parts";
import { length, now, short } from "../time";
import { AlertPlaces, web } from "./alerts";

type Duty = Shapes["DutyResponse"];
type Turn = Shapes["DutyTurnInfo"];
const close = () => open(undefined);

function useDuty() {
  pulse();
  return kept(() => "duty", (signal) => get<Duty>("dagbok/oncall", undefined, signal), { every: 15_000 });
}

/** Who is on call now, and next. */
export function OnCallView() {
  const duty = useDuty();
  return (
    <>
      <Crumbs of={[{ text: "On call" }]} />
      <AlertPlaces here="/oncall" />
      <Read of={duty} what="Who is on call can't be shown.">
        {(it) => (
          <For each={it().schedules} fallback={<Nothing>No schedule is configured: routes name receivers and people. <code>[schedules.NAME]</code> in alerting.toml makes one.</Nothing>}>
            {(schedule) => (
              <section class="duty" aria-label={schedule.name}>
                <header>
                  <h2>{schedule.name}</h2>
                  <OnCall turn={schedule.turns[0]} />
                  <span class="dim">in {schedule.zone}</span>
                </header>
                <Show when={schedule.trouble}>{(why) => <p class="bad">Its calendar can't be read, and what was read last holds: {why()}</p>}</Show>
                <Strip turns={schedule.turns} />
                <table class="list">
                  <thead><tr><th scope="col">From</th><th scope="col">Until</th><th scope="col" class="num">Lasts</th><th scope="col">Who</th><th scope="col">Reached by</th></tr></thead>
                  <tbody>
                    <For each={schedule.turns}>
                      {(turn, at) => (
                        <tr data-row classList={{ chosen: at() === 0 }}>
                          <td>{at() === 0 ? "now" : <Time at={turn.from} full />}</td>
                          <td><Show when={turn.until} fallback={<span class="dim">in 21 days or later</span>}>{(until) => <Time at={until()} full />}</Show></td>
                          <td class="num">{turn.until ? length(lasts(turn)) : ""}</td>
                          <td><Show when={turn.person} fallback={<span class="bad">nobody</span>}>{(name) => <b>{name()}</b>}</Show></td>
                          <td>{turn.reached_by.join(", then ")}<Show when={turn.person && !turn.reached_by.length}><span class="bad">no way to reach them</span></Show></td>
                        </tr>
                      )}
                    </For>
                  </tbody>
                </table>
              </section>
            )}
          </For>
        )}
      </Read>
    </>
  );
}
/** How far ahead turns are looked for, by whoever answers. */
const AHEAD_MS = 21 * 86_400_000;
/** Until when it is drawn: what has no end is, as long as anybody looked, or a day more where turns were cut off. */
const end = (turn: Turn) => Date.parse(turn.until ?? "") || Math.max(now() + AHEAD_MS, Date.parse(turn.from) + 86_400_000);
const lasts = (turn: Turn) => (end(turn) - Date.parse(turn.from)) / 1_000;

const until = (turn: Turn | undefined) => (turn?.until ? ` until ${short(turn.until)}` : turn ? " for 21 days or longer" : "");

function OnCall(props: { turn: Turn | undefined }) {
  return (
    <Show when={props.turn?.person} fallback={<span class="bad">Nobody is on call{until(props.turn)}: alerts go to nobody by this schedule.</span>}>
      {(name) => <span><b>{name()}</b> is on call{until(props.turn)}</span>}
    </Show>
  );
}

/** The turns as a line of time; a hole is loud. */
function Strip(props: { turns: Turn[] }) {
  const from = () => Date.parse(props.turns[0]?.from ?? "");
  const last = () => props.turns[props.turns.length - 1];
  const span = () => Math.max(1, (last() ? end(last() as Turn) : 0) - from());
  const share = (turn: Turn) => `${(100_000 * lasts(turn)) / span()}%`;
  return (
    <div class="turns" aria-hidden="true">
      <For each={props.turns}>{(turn) => <span class={turn.person ? "" : "hole"} style={{ width: share(turn) }} title={`${turn.person ?? "nobody"}, ${short(turn.from)}${until(turn)}`}>{turn.person ?? "nobody"}</span>}</For>
    </div>
  );
}

/** What is not told for a time. */
export function SilencesView() {
  pulse();
  const page = kept(() => "silences", (signal) => get<Shapes["SilenceCollection"]>("dagbok/silences", undefined, signal), { key: "silence_id", every: 5_000 });
  const state = (one: Shapes["SilenceResponse"]) => (one.active ? "holds" : Date.parse(one.since) > now() ? "to come" : "over");
  return (
    <>
      <Crumbs of={[{ text: "Silences" }]}><div class="acts"><button type="button" onClick={() => askSilence([], page.again)}>New silence</button></div></Crumbs>
      <AlertPlaces here="/alerts/silences" />
      <Read of={page} what="The silences can't be shown.">
        {(it) => (
          <Show when={it().silences.length} fallback={<Nothing>Nothing is silenced, nor was: whoever a route leads to is told.</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col" class="num">No.</th><th scope="col">State</th><th scope="col">Which alerts</th><th scope="col">Since</th><th scope="col">Until</th><th scope="col">By</th><th scope="col">Why</th><th scope="col"><span class="unseen">Acts</span></th></tr></thead>
              <tbody>
                <For each={it().silences}>
                  {(one) => (
                    <tr data-row classList={{ off: !one.active }}>
                      <td class="num">{one.silence_id}</td>
                      <td><span class={`badge ${one.active ? "warn" : ""}`}>{state(one)}</span></td>
                      <td><For each={one.matchers}>{(matcher) => <code class="pair">{matcher}</code>}</For></td>
                      <td><Time at={one.since} full /></td>
                      <td><Time at={one.until} full /></td>
                      <td>{one.by.replace(/^user:/, "")}</td>
                      <td class="clip" title={one.reason}>{one.reason}</td>
                      <td class="acts"><Show when={Date.parse(one.until) > now()}><button type="button" class="small" onClick={() => open(() => <End of={one} then={page.again} />)}>End it</button></Show></td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
          </Show>
        )}
      </Read>
    </>
  );
}

function End(props: { of: Shapes["SilenceResponse"]; then: () => void }) {
  const go = async () => {
    close();
    await act(`End silence ${props.of.silence_id}`, () => send("DELETE", `dagbok/silences/${props.of.silence_id}`));
    props.then();
  };
  return (
    <Dialog title={`End silence ${props.of.silence_id}`} close={close}>
      <ul class="consequences">
        <li>Alerts that fit <For each={props.of.matchers}>{(one) => <code class="pair">{one}</code>}</For> {props.of.active ? "are told from now on." : `are told after ${short(props.of.since)} as before: it never holds.`}</li>
        <Show when={props.of.active}><li>Those that are open and were not told are told now.</li></Show>
      </ul>
      <Buttons yes="End it" go={() => void go()} />
    </Dialog>
  );
}

const HOURS: [number, string][] = [[1, "an hour"], [4, "four hours"], [24, "a day"], [72, "three days"], [168, "a week"]];

/** Has alerts not told for a time: which, how long and why. */
export function askSilence(matchers: string[], then: () => void) {
  open(() => <Silence matchers={matchers} then={then} />);
}
function Silence(props: { matchers: string[]; then: () => void }) {
  const [matchers, setMatchers] = createSignal(props.matchers.join("\n"));
  const [hours, setHours] = createSignal(4);
  const [reason, setReason] = createSignal("");
  const all = () => matchers().split("\n").map((line) => line.trim()).filter(Boolean);
  const until = () => new Date(now() + hours() * 3_600_000).toISOString();
  const go = async () => {
    close();
    await act(`Silence ${all().join(" ")}`, () => send("POST", "dagbok/silences", { matchers: all(), until: until(), reason: reason() }));
    props.then();
  };
  return (
    <Dialog title="New silence" close={close}>
      <form class="fields" onSubmit={(event) => (event.preventDefault(), all().length && reason() && void go())}>
        <label class="field">Which alerts, a matcher a line: all must fit<textarea rows="3" required placeholder={'dag="reco_training"\nrule="run_failed"'} value={matchers()} onInput={(event) => setMatchers(event.currentTarget.value)} /></label>
        <label class="field">How long<select value={String(hours())} onChange={(event) => setHours(Number(event.currentTarget.value))}><For each={HOURS}>{([count, words]) => <option value={String(count)}>{words}</option>}</For></select></label>
        <label class="field">Why, for others to read<input required value={reason()} onInput={(event) => setReason(event.currentTarget.value)} /></label>
        <ul class="consequences"><li>Nobody is told of what fits until {short(until())}. It is opened and shown all the same.</li></ul>
        <Buttons yes="Silence them" disabled={!all().length || !reason()} go={() => void go()} />
      </form>
    </Dialog>
  );
}

/** Which alerts lead to whom, and the way to try it. */
export function RoutesView() {
  const duty = useDuty();
  const tested = (name: string) => open(() => <Test receiver={name} />);
  return (
    <>
      <Crumbs of={[{ text: "Routes" }]} />
      <AlertPlaces here="/alerts/routes" />
      <Read of={duty} what="The routes can't be shown.">
        {(it) => (
          <>
            <Show when={it().routes.length} fallback={<Nothing>No route is configured: alerts are opened and shown, and nobody is told. alerting.toml makes one.</Nothing>}>
              <table class="list">
                <thead><tr><th scope="col">Route</th><th scope="col">Which alerts</th><th scope="col">Who is told</th></tr></thead>
                <tbody>
                  <For each={it().routes}>
                    {(route) => (
                      <tr data-row>
                        <td class="name"><span style={{ "padding-left": `${route.depth * 18}px` }}>{route.depth ? "↳ " : ""}{route.name}</span></td>
                        <td><For each={route.matchers} fallback={<span class="dim">{route.depth ? "all" : "all that no other takes"}</span>}>{(matcher) => <code class="pair">{matcher}</code>}</For></td>
                        <td><For each={route.steps}>{(step, at) => <span class="pair">{at() ? "then " : ""}{[...step.receivers, ...step.people, ...step.schedules.map((name) => `whoever is on call by ${name}`), ...(step.by_turns.length ? [`one of ${step.by_turns.join(", ")} by turns`] : [])].join(", ")}{step.wait_seconds && at() < route.steps.length - 1 ? ` (${length(step.wait_seconds)} for an answer)` : ""}</span>}</For><Show when={route.repeat}><span class="pair dim">{route.repeat === 1 ? "once more from the first" : `${route.repeat} times more from the first`}, where nobody answers</span></Show><Show when={web(route.runbook)}>{(url) => <a class="pair" href={url()} target="_blank" rel="noopener noreferrer">Runbook</a>}</Show></td>
                      </tr>
                    )}
                  </For>
                </tbody>
              </table>
            </Show>
            <section class="duty padded" aria-label="Receivers">
              <h2>Receivers</h2>
              <Show when={it().receivers.length} fallback={<Nothing>There is none.</Nothing>}>
                <ul class="receivers">
                  <For each={it().receivers}>{(one) => <li><b>{one.name}</b><Show when={one.fallback}>{(name) => <span class="dim">{name()} in its place where it fails</span>}</Show><button type="button" class="small" onClick={() => tested(one.name)}>Send a test</button></li>}</For>
                </ul>
              </Show>
            </section>
          </>
        )}
      </Read>
    </>
  );
}

function Test(props: { receiver: string }) {
  const go = () => {
    close();
    void act(`Send a test to ${props.receiver}`, () => send("POST", "dagbok/alerts/test", { receiver: props.receiver }));
  };
  return (
    <Dialog title={`Send a test to ${props.receiver}`} close={close}>
      <ul class="consequences"><li>A real message goes out by the real way, marked as a test: whoever is behind {props.receiver} gets it now.</li><li>It stands among the alerts with what the provider answered.</li></ul>
      <Buttons yes="Send it" go={go} />
    </Dialog>
  );
}
