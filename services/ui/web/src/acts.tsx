/** Acts: a preview, a yes, "asked" until the fact is there, then its sequence. */
import { createSignal, For, type JSX, onCleanup, onMount, Show } from "solid-js";
import { ApiFault, type Done, get, part, send, type Shapes } from "./base";
import { seq } from "./live";
import { Fault, Mark, Time } from "./parts";
import { look as stateOf } from "./states";
import { short } from "./time";

interface Asked {
  id: number;
  what: string;
  state: "asked" | "done" | "refused";
  words?: string;
  seq?: number | undefined;
  /** Does the opposite, where there is one. */
  undo?: (() => void) | undefined;
}

const [asked, setAsked] = createSignal<Asked[]>([]);
let count = 0;

/** Does something: it stands as asked until its record is in what this page shows. */
export async function act<T>(what: string, ask: () => Promise<Done<T>>, undo?: () => void): Promise<T | undefined> {
  const id = ++count;
  const change = (to: Partial<Asked>) => setAsked((all) => all.map((one) => (one.id === id ? { ...one, ...to } : one)));
  setAsked((all) => [...all.slice(-3), { id, what, state: "asked" }]);
  try {
    const done = await ask();
    change({ state: "done", seq: done.seq, undo });
    // What can be undone stays longer: whoever did it reads first what came of it.
    setTimeout(() => setAsked((all) => all.filter((one) => one.id !== id)), undo ? 30_000 : 8_000);
    return done.value;
  } catch (error) {
    change({ state: "refused", words: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

/** What was asked for, and what came of it. */
export function AskedList() {
  const close = (id: number) => setAsked((all) => all.filter((one) => one.id !== id));
  return (
    <div class="asked" role="status" aria-live="polite">
      <For each={asked()}>
        {(one) => (
          <div class={one.state === "refused" ? "refused" : ""}>
            <span>{one.what}</span>
            <Show when={one.state !== "refused"} fallback={<span class="why">not done: {one.words}</span>}>
              <span class="dim">
                {one.state === "asked" || (one.seq ?? 0) > seq() ? "asked…" : one.seq ? `done · seq ${one.seq}` : "done"}
              </span>
            </Show>
            <Show when={one.undo}>{(undo) => <button type="button" class="small" onClick={() => (close(one.id), undo()())}>Undo</button>}</Show>
            <button type="button" class="close" aria-label="Close" onClick={() => close(one.id)}>
              ×
            </button>
          </div>
        )}
      </For>
    </div>
  );
}

/** A dialog over the page; Escape and a click beside it close it. */
export function Dialog(props: { title: string; close: () => void; children: JSX.Element; wide?: boolean }) {
  let element!: HTMLDialogElement;
  onMount(() => element.showModal());
  return (
    <dialog
      ref={element}
      classList={{ wide: props.wide ?? false }}
      aria-labelledby="dialog-title"
      onClose={() => props.close()}
      onClick={(event) => event.target === element && props.close()}
    >
      <div class="sheet">
        <h2 id="dialog-title">{props.title}</h2>
        {props.children}
      </div>
    </dialog>
  );
}

const [dialog, setDialog] = createSignal<(() => JSX.Element) | undefined>();
/** Opens a dialog; the one before is closed. */
export const open = (made: (() => JSX.Element) | undefined) => setDialog(() => made);
export const isOpen = () => dialog() !== undefined;
const close = () => open(undefined);
export const DialogHost = () => <Show when={dialog()} keyed>{(made) => made()}</Show>;

/** What a form asks for: it stays, with what was typed, until that is done; where it is refused it says why. */
export function useSent() {
  const [fault, setFault] = createSignal<Error>();
  const [waits, setWaits] = createSignal(false);
  let here = true;
  onCleanup(() => (here = false));
  const go = async <T,>(what: string, ask: () => Promise<Done<T>>, then?: () => void) => {
    if (waits()) return;
    setWaits(true);
    setFault(undefined);
    try {
      const done = await ask();
      if (here) close();
      void act(what, () => Promise.resolve(done));
      then?.();
    } catch (error) {
      // Whoever closed the form meanwhile hears of it all the same.
      if (here) setFault(error as Error);
      else void act(what, () => Promise.reject(error as Error));
    } finally {
      setWaits(false);
    }
  };
  /** What is wrong with a field. */
  const wrong = (field: string) => {
    const error = fault();
    return error instanceof ApiFault ? error.wrong(field) : undefined;
  };
  return { fault, waits, go, wrong };
}

/** What is wrong with a field, beneath it: the field names it by `aria-describedby`. */
export const Wrong = (props: { id: string; says: string | undefined }) => <Show when={props.says}>{(says) => <p class="why" id={props.id}>{says()}</p>}</Show>;

/** The last of a dialog. Without `go` the second is its form's: Enter in a field presses it. */
export function Buttons(props: { yes: string; danger?: boolean; disabled?: boolean; go?: () => void }) {
  return (
    <div class="buttons">
      <button type="button" onClick={close}>
        Close
      </button>
      <button type={props.go ? "button" : "submit"} class={props.danger ? "danger" : "primary"} disabled={props.disabled ?? false} onClick={() => props.go?.()}>
        {props.yes}
      </button>
    </div>
  );
}

/** Pauses a DAG, or lets it go on. */
export function askPause(snapshot: Shapes["UiDagRow"]) {
  open(() => <Pause dag={snapshot} />);
}
function Pause(props: { dag: Shapes["UiDagRow"] }) {
  const dag = props.dag;
  const [preview, setPreview] = createSignal<Shapes["UnpausePreview"]>();
  const [fault, setFault] = createSignal<Error>();
  if (dag.paused) {
    get<Shapes["UnpausePreview"]>(`dagbok/dags/${part(dag.dag_id)}/unpausePreview`).then(setPreview, setFault);
  }
  const put = (to: boolean, undo?: () => void): void =>
    void act(to ? `Pause ${dag.dag_id}` : `Unpause ${dag.dag_id}`, () => send("PATCH", `dags/${part(dag.dag_id)}`, { is_paused: to }), undo);
  const go = () => {
    close();
    const to = !dag.paused;
    // Runs that are made where it goes on are not unmade by pausing it: that has no opposite.
    put(to, to ? () => put(false) : undefined);
  };
  const running = (dag.runs["running"] ?? 0) + (dag.runs["queued"] ?? 0);
  return (
    <Dialog title={dag.paused ? `Unpause ${dag.dag_id}` : `Pause ${dag.dag_id}`} close={close}>
      <ul class="consequences">
        <Show when={!dag.paused}>
          <li>{running === 0 ? "Nothing of it runs now." : `${running} ${running === 1 ? "run that is" : "runs that are"} under way go on to their end.`}</li>
          <li>{dag.next ? `The run that is due ${short(dag.next)} will not be made, nor those after it.` : "It has no run that is due."}</li>
          <li>Runs that are triggered by hand wait until it is unpaused.</li>
        </Show>
        <Show when={dag.paused && preview()}>
          {(it) => (
            <>
              <li>{it().runs === 0 ? "No run is made at once." : `${it().runs} ${it().runs === 1 ? "run is" : "runs are"} made at once, since ${it().runs === 1 ? "it is" : "they are"} due.`}</li>
              <Show when={it().next_run_after}>{(next) => <li>The next one after that is due {short(next())}.</li>}</Show>
            </>
          )}
        </Show>
        <Show when={fault()}>{(it) => <Fault what="What would be made is not known." error={it()} />}</Show>
      </ul>
      <Buttons yes={dag.paused ? "Unpause" : "Pause"} go={go} />
    </Dialog>
  );
}

/** Cancels a run. */
export function askCancel(run: Shapes["UiRun"]) {
  open(() => <Cancel run={run} />);
}
function Cancel(props: { run: Shapes["UiRun"] }) {
  const [reason, setReason] = createSignal("");
  const run = props.run;
  const running = run.counts["running"] ?? 0;
  const go = () => {
    close();
    void act("Cancel the run", () =>
      send("POST", `dagbok/runs/${part(run.dag_id)}/${part(run.run_id)}/cancel`, reason() ? { reason: reason() } : {}),
    );
  };
  return (
    <Dialog title={`Cancel ${short(run.logical_date ?? run.run_after)}`} close={close}>
      <ul class="consequences">
        <li>{running === 0 ? "No try of it runs now." : `${running} ${running === 1 ? "try that runs is" : "tries that run are"} ended.`}</li>
        <li>What was set up is torn down; nothing else of it begins.</li>
        <li>The run is failed, with who cancelled it and why.</li>
      </ul>
      <label class="field">
        Why, for others to read
        <input value={reason()} onInput={(event) => setReason(event.currentTarget.value)} />
      </label>
      <Buttons yes="Cancel the run" danger go={go} />
    </Dialog>
  );
}

/** Lets tasks of a run run again. */
export function askRerun(of: { dag_id: string; run_id: string; task_id?: string; map_index?: number; failed: boolean }) {
  open(() => <Rerun of={of} />);
}
function Rerun(props: { of: { dag_id: string; run_id: string; task_id?: string; map_index?: number; failed: boolean } }) {
  const { dag_id, run_id, task_id, map_index } = props.of;
  const [onlyFailed, setOnlyFailed] = createSignal(!task_id && props.of.failed);
  const [downstream, setDownstream] = createSignal(true);
  const [latest, setLatest] = createSignal(false);
  const [kill, setKill] = createSignal(false);
  const [reason, setReason] = createSignal("");
  const [preview, setPreview] = createSignal<Shapes["RunCleared"]>();
  const [fault, setFault] = createSignal<Error>();
  const body = (dry_run: boolean) => ({
    dry_run,
    only_failed: onlyFailed(),
    include_downstream: Boolean(task_id) && downstream(),
    run_on_latest_version: latest(),
    kill: kill(),
    ...(task_id ? { task_ids: [map_index !== undefined && map_index >= 0 ? [task_id, map_index] : task_id] } : {}),
    ...(reason() && !dry_run ? { reason: reason() } : {}),
  });
  const path = `dagbok/runs/${part(dag_id)}/${part(run_id)}/clear`;
  let asking = 0;
  const look = () => {
    const mine = ++asking;
    // What was shown is of other words than what would be done now.
    setPreview(undefined);
    send<Shapes["RunCleared"]>("POST", path, body(true)).then(
      (done) => mine === asking && (setPreview(done.value), setFault(undefined)),
      (error: Error) => mine === asking && (setPreview(undefined), setFault(error)),
    );
  };
  onMount(look);
  const tick = (set: (to: boolean) => void) => (event: { currentTarget: HTMLInputElement }) => {
    set(event.currentTarget.checked);
    look();
  };
  const total = () => (preview()?.tasks ?? []).reduce((sum, task) => sum + 1 + task.further, 0);
  const go = () => {
    close();
    void act(`Clear ${total()} ${total() === 1 ? "task" : "tasks"} of ${dag_id}`, () => send("POST", path, body(false)));
  };
  return (
    <Dialog title={task_id ? `Rerun from ${task_id}` : "Rerun"} close={close} wide>
      <div class="choices">
        <Show when={task_id}>
          <label><input type="checkbox" checked={downstream()} onChange={tick(setDownstream)} /> and what is downstream of it</label>
        </Show>
        <label><input type="checkbox" checked={onlyFailed()} onChange={tick(setOnlyFailed)} /> only what failed</label>
        <label><input type="checkbox" checked={latest()} onChange={tick(setLatest)} /> on the newest version of the DAG</label>
        <label><input type="checkbox" checked={kill()} onChange={tick(setKill)} /> end what runs of it first</label>
      </div>
      <div class="preview" aria-live="polite" aria-busy={!preview() && !fault()}>
        <Show when={fault()}>{(it) => <Fault what="This can't be done." error={it()} />}</Show>
        <Show when={preview()}>
          {(it) => (
            <>
              <p>
                <strong>{total() === 0 ? "Nothing would run again." : `${total()} ${total() === 1 ? "task runs" : "tasks run"} again`}</strong>
                {total() > 0 && it().run_goes_on ? ", and the run goes on." : ""}
              </p>
              <Show when={it().xcoms_kept_until}>
                {(until) => (
                  <p class="warn">
                    XComs of before were kept until <Time at={until()} />, by <code>retention.xcoms</code>, and are forgotten: a task
                    that asks for one of a task that does not run again fails.
                  </p>
                )}
              </Show>
              <ul class="cleared" tabindex="0">
                <For each={it().tasks}>
                  {(task) => (
                    <li>
                      <Mark state={task.was?.[0]?.state ?? "none"} />
                      <code>{task.task_id}{task.map_index >= 0 ? `[${task.map_index}${task.further ? `…${task.map_index + task.further}` : ""}]` : ""}</code>
                      <span class="dim">was {(task.was ?? []).map((was) => `${stateOf(was.state).word}${was.count > 1 ? ` ×${was.count}` : ""}`).join(", ")}</span>
                    </li>
                  )}
                </For>
              </ul>
            </>
          )}
        </Show>
      </div>
      <label class="field">
        Why, for others to read
        <input value={reason()} onInput={(event) => setReason(event.currentTarget.value)} />
      </label>
      <Buttons yes={total() ? `Rerun ${total()}` : "Rerun"} disabled={total() === 0} go={go} />
    </Dialog>
  );
}

/** Says that somebody has an alert in hand, or that it is over. */
export function askAlert(alert: { alert_id: number; summary: string }, verb: "acknowledge" | "resolve", then?: () => void) {
  open(() => <Take alert={alert} verb={verb} then={then} />);
}
function Take(props: { alert: { alert_id: number; summary: string }; verb: "acknowledge" | "resolve"; then?: (() => void) | undefined }) {
  const [note, setNote] = createSignal("");
  const word = () => (props.verb === "acknowledge" ? "Acknowledge" : "Resolve");
  const go = async () => {
    close();
    await act(`${word()} alert ${props.alert.alert_id}`, () =>
      send("POST", `dagbok/alerts/${props.alert.alert_id}/${props.verb}`, note() ? { note: note() } : {}),
    );
    props.then?.();
  };
  return (
    <Dialog title={`${word()} alert ${props.alert.alert_id}`} close={close}>
      <p>{props.alert.summary}</p>
      <ul class="consequences">
        <li>{props.verb === "acknowledge" ? "Nobody further is told of it while you have it in hand." : "It is over; whoever was told of it is told that too."}</li>
      </ul>
      <label class="field">
        A word for others
        <input value={note()} onInput={(event) => setNote(event.currentTarget.value)} />
      </label>
      <Buttons yes={word()} go={() => void go()} />
    </Dialog>
  );
}


