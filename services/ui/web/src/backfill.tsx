/** Backfills: what one would do, said by the rules, before it is asked for. Loaded when somebody asks for it. */
import { createSignal, For, onCleanup, onMount, Show } from "solid-js";
import { act, Buttons, Dialog, open, useSent } from "./acts";
import { part, send, type Shapes } from "./base";
import { Fault } from "./parts";
import { dateIn, day, knownZone, now, short, zoneName } from "./time";

const close = () => open(undefined);
const DAY = 86_400_000;
/** Dates that are named each for itself. */
const NAMED = 60;

/** A day of the DAG's zone as an instant, its first or its last. */
function instant(date: string, last: boolean, of: string): string {
  const plain = Date.parse(`${date}T${last ? "23:59:59" : "00:00:00"}Z`);
  const shown = (at: number): number => {
    const parts = new Intl.DateTimeFormat("en-US", { timeZone: of, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" }).formatToParts(at);
    const find = (type: string) => Number(parts.find((part) => part.type === type)?.value);
    return Date.UTC(find("year"), find("month") - 1, find("day"), find("hour"), find("minute"), find("second"));
  };
  // Twice: the zone may be another hour apart where it comes to lie.
  const near = plain - (shown(plain) - plain);
  return new Date(plain - (shown(near) - near)).toISOString();
}

/** Opens the form for a DAG, from one day to another where they are known: `2026-11-01`. */
export function askBackfill(dag: string, zone: string, from?: string, to?: string, then?: () => void) {
  open(() => <Backfill dag={dag} zone={knownZone(zone)} from={from} to={to} then={then} />);
}

const REPROCESS: [string, string][] = [["none", "leave their run as it is"], ["failed", "run it again where it failed"], ["completed", "run it again, however it ended"]];
const DOES: Record<string, string> = { create: "a new run", rerun: "its run again", skip_existing: "passed over: it has a run", skip_in_flight: "passed over: its run is under way" };

function Backfill(props: { dag: string; zone: string; from?: string | undefined; to?: string | undefined; then?: (() => void) | undefined }) {
  const [from, setFrom] = createSignal(props.from ?? dateIn(props.zone, now() - 7 * DAY));
  const [to, setTo] = createSignal(props.to ?? dateIn(props.zone, now() - DAY));
  const [again, setAgain] = createSignal("none");
  const [most, setMost] = createSignal(10);
  const [backwards, setBackwards] = createSignal(false);
  const [reason, setReason] = createSignal("");
  const [found, setFound] = createSignal<Shapes["DryRunBackfillCollection"]>();
  const [fault, setFault] = createSignal<Error>();
  const body = () => ({
    dag_id: props.dag,
    from_date: instant(from(), false, props.zone),
    to_date: instant(to(), true, props.zone),
    reprocess_behavior: again(),
    max_active_runs: most(),
    run_backwards: backwards(),
    ...(reason() ? { reason: reason() } : {}),
  });
  let asking = 0;
  let timer: number | undefined;
  const ask = () => {
    const mine = ++asking;
    if (!from() || !to() || !(most() > 0)) return;
    send<Shapes["DryRunBackfillCollection"]>("POST", "backfills/dry_run", body()).then(
      (done) => mine === asking && (setFound(done.value), setFault(undefined)),
      (error: Error) => mine === asking && (setFound(undefined), setFault(error)),
    );
  };
  const look = () => {
    // What was shown is of other words than what would be done now.
    setFound(undefined);
    asking++;
    clearTimeout(timer);
    timer = window.setTimeout(ask, 150);
  };
  onMount(ask);
  onCleanup(() => clearTimeout(timer));
  const extra = () => found()?.dagbok;
  const total = () => (extra()?.create ?? 0) + (extra()?.rerun ?? 0);
  const runs = (count: number, one: string, many: string) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
  const sent = useSent();
  const go = () => sent.go(`Backfill ${props.dag}, ${runs(total(), "run", "runs")}`, () => send("POST", "backfills", body()), props.then);
  return (
    <Dialog title={`Backfill ${props.dag}`} close={close} wide>
      <div class="fields three">
        <label class="field">First day<input type="date" value={from()} onInput={(event) => (setFrom(event.currentTarget.value), look())} /></label>
        <label class="field">Last day<input type="date" value={to()} onInput={(event) => (setTo(event.currentTarget.value), look())} /></label>
        <label class="field">Runs at once<input type="number" min="1" max="1000" value={most()} onInput={(event) => (setMost(Number(event.currentTarget.value)), look())} /></label>
      </div>
      <label class="field">
        Dates that have a run
        <select value={again()} onChange={(event) => (setAgain(event.currentTarget.value), look())}>
          <For each={REPROCESS}>{([name, words]) => <option value={name}>{words}</option>}</For>
        </select>
      </label>
      <div class="choices"><label><input type="checkbox" checked={backwards()} onChange={(event) => (setBackwards(event.currentTarget.checked), look())} /> the newest first</label></div>
      <div class="preview" aria-live="polite" aria-busy={!found() && !fault()}>
        <Show when={fault()}>{(it) => <Fault what="This can't be done." error={it()} />}</Show>
        <Show when={extra()}>
          {(it) => (
            <>
              <p>
                <strong>{total() === 0 ? "No run would be made." : [it().create ? runs(it().create, "run is made", "runs are made") : "", it().rerun ? runs(it().rerun, "run runs again", "runs run again") : ""].filter(Boolean).join(", ")}</strong>
                {it().skip_existing ? `, ${runs(it().skip_existing, "date is", "dates are")} passed over that ${it().skip_existing === 1 ? "has" : "have"} a run` : ""}
                {it().skip_in_flight ? `, ${runs(it().skip_in_flight, "date is", "dates are")} passed over whose run is under way` : ""}
                {it().total === 0 ? " The schedule has no date in that time." : ""}
              </p>
              <ul class="cleared" tabindex="0">
                <For each={it().dates.slice(0, NAMED)}>{(one) => <li><code>{short(one.logical_date)}</code><span class="dim">{DOES[one.does] ?? one.does}</span></li>}</For>
                <Show when={it().dates.length > NAMED}><li class="dim">and {(it().dates.length - NAMED).toLocaleString("en")} more, to {day(it().dates[it().dates.length - 1]?.logical_date ?? "")}</li></Show>
              </ul>
            </>
          )}
        </Show>
      </div>
      <label class="field">
        Why, for others to read
        <input value={reason()} onInput={(event) => setReason(event.currentTarget.value)} />
      </label>
      <p class="dim">Days are days in {props.zone}; times here are {zoneName()}. Its runs run the DAG as it is now, and don't count for the DAG's own limit.</p>
      <Show when={sent.fault()}>{(it) => <Fault what="Not done." error={it()} />}</Show>
      <Buttons yes={sent.waits() ? "asked…" : total() ? `Backfill ${total()}` : "Backfill"} disabled={sent.waits() || total() === 0} go={() => void go()} />
    </Dialog>
  );
}

/** Pauses, lets go on, or cancels a backfill. */
export function askChange(backfill: Shapes["BackfillResponse"], verb: "pause" | "unpause" | "cancel", then: () => void) {
  open(() => <Change backfill={backfill} verb={verb} then={then} />);
}
function Change(props: { backfill: Shapes["BackfillResponse"]; verb: "pause" | "unpause" | "cancel"; then: () => void }) {
  const { backfill, verb } = props;
  const word = { pause: "Pause", unpause: "Let go on", cancel: "Cancel" }[verb];
  const it = backfill.dagbok;
  const go = async () => {
    close();
    await act(`${word} backfill ${backfill.id}`, () => send("PUT", `backfills/${part(String(backfill.id))}/${verb}`));
    props.then();
  };
  return (
    <Dialog title={`${word} backfill ${backfill.id}`} close={close}>
      <ul class="consequences">
        <Show when={verb !== "unpause"} fallback={<li>{it.left + it.queued} of its {it.total} dates go on.</li>}>
          <li>{it.running === 0 ? "No run of it is under way." : `${it.running} ${it.running === 1 ? "run that is" : "runs that are"} under way go on to their end.`}</li>
          <li>{it.queued ? `${it.queued} ${it.queued === 1 ? "run that waits" : "runs that wait"} ${verb === "cancel" ? (it.queued === 1 ? "is ended as failed" : "are ended as failed") : "go on waiting"}. ` : ""}{it.left} {it.left === 1 ? "date is" : "dates are"} not seen to{verb === "pause" ? " until it goes on" : ""}.</li>
        </Show>
      </ul>
      <Buttons yes={word} danger={verb === "cancel"} go={() => void go()} />
    </Dialog>
  );
}
