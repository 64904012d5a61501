/** Marking runs and tasks, and notes on them. Loaded when somebody asks for it. */
import { createSignal, For, onMount, Show } from "solid-js";
import { act, Buttons, Dialog, open } from "./acts";
import { part, send, type Shapes } from "./base";
import { Fault, Mark } from "./parts";
import { short } from "./time";

const close = () => open(undefined);
const WORDS: Record<string, string> = { success: "success", failed: "failed", skipped: "skipped" };

/** What of a run a note or a mark is about: the run itself, or a task of it. */
export interface Of {
  dag_id: string;
  run_id: string;
  task_id?: string;
  map_index?: number;
}
const runPath = (of: Of) => `dags/${part(of.dag_id)}/dagRuns/${part(of.run_id)}`;
const taskPath = (of: Of) => `${runPath(of)}/taskInstances/${part(of.task_id ?? "")}${(of.map_index ?? -1) >= 0 ? `/${of.map_index}` : ""}`;
const named = (of: Of) => `${of.task_id ?? of.dag_id}${(of.map_index ?? -1) >= 0 ? `[${of.map_index}]` : ""}`;

/** Says how a run ended. */
export function askMarkRun(run: Shapes["UiRun"], to: "success" | "failed") {
  open(() => <MarkRun run={run} to={to} />);
}
function MarkRun(props: { run: Shapes["UiRun"]; to: "success" | "failed" }) {
  const { run, to } = props;
  const [reason, setReason] = createSignal("");
  const over = ["success", "failed"].includes(run.state);
  const running = run.counts["running"] ?? 0;
  const left = run.task_count - ["success", "failed", "skipped", "upstream_failed", "removed", "running"].reduce((sum, state) => sum + (run.counts[state] ?? 0), 0);
  const go = () => {
    close();
    void act(`Mark the run as ${to}`, () => send("POST", `dagbok/runs/${part(run.dag_id)}/${part(run.run_id)}/mark`, { state: to, ...(reason() ? { reason: reason() } : {}) }));
  };
  return (
    <Dialog title={`Mark ${short(run.logical_date ?? run.run_after)} as ${to}`} close={close}>
      <ul class="consequences">
        <Show
          when={!over}
          fallback={<><li>Only what the run ended as is called otherwise: its tasks stay as they are.</li><Show when={to === "success"}><li>An alert about it is over.</li></Show></>}
        >
          <li>{running === 0 ? "No try of it runs now." : `${running} ${running === 1 ? "try that runs is" : "tries that run are"} ended${to === "success" ? ", and stand as succeeded" : ""}.`}</li>
          <li>{left > 0 ? `${left} ${left === 1 ? "task that has" : "tasks that have"} not begun ${left === 1 ? "is" : "are"} skipped.` : "No task of it is still to begin."}</li>
          <li>What was set up is torn down first.</li>
        </Show>
      </ul>
      <Why value={reason()} set={setReason} />
      <Buttons yes={`Mark as ${to}`} danger={to === "failed"} go={go} />
    </Dialog>
  );
}

const Why = (props: { value: string; set: (to: string) => void }) => (
  <label class="field">
    Why, for others to read
    <input value={props.value} onInput={(event) => props.set(event.currentTarget.value)} />
  </label>
);

/** Says how a task ended: what that changes is asked of the rules first. */
export function askMarkTask(of: Of, to: "success" | "failed" | "skipped" = "success") {
  open(() => <MarkTask of={of} to={to} />);
}
function MarkTask(props: { of: Of; to: "success" | "failed" | "skipped" }) {
  const { of } = props;
  const [to, setTo] = createSignal<string>(props.to);
  const [upstream, setUpstream] = createSignal(false);
  const [downstream, setDownstream] = createSignal(false);
  const [past, setPast] = createSignal(false);
  const [future, setFuture] = createSignal(false);
  const [reason, setReason] = createSignal("");
  const [found, setFound] = createSignal<Shapes["TaskInstanceCollection"]>();
  const [fault, setFault] = createSignal<Error>();
  const body = () => ({ new_state: to(), include_upstream: upstream(), include_downstream: downstream(), include_past: past(), include_future: future(), ...(reason() ? { reason: reason() } : {}) });
  let asking = 0;
  const look = () => {
    const mine = ++asking;
    // What was shown is of other words than what would be done now.
    setFound(undefined);
    send<Shapes["TaskInstanceCollection"]>("PATCH", `${taskPath(of)}/dry_run`, body()).then(
      (done) => mine === asking && (setFound(done.value), setFault(undefined)),
      (error: Error) => mine === asking && (setFound(undefined), setFault(error)),
    );
  };
  onMount(look);
  const tick = (set: (to: boolean) => void) => (event: { currentTarget: HTMLInputElement }) => {
    set(event.currentTarget.checked);
    look();
  };
  const total = () => found()?.total_entries ?? 0;
  const go = () => {
    close();
    void act(`Mark ${total()} ${total() === 1 ? "task" : "tasks"} of ${of.dag_id} as ${to()}`, () => send("PATCH", taskPath(of), body()));
  };
  return (
    <Dialog title={`Mark ${named(of)}`} close={close} wide>
      <fieldset class="picks">
        <legend class="unseen">As what</legend>
        <For each={Object.keys(WORDS)}>{(word) => <label><input type="radio" name="mark" checked={to() === word} onChange={() => (setTo(word), look())} /> <Mark state={word} word /></label>}</For>
      </fieldset>
      <div class="choices two">
        <label><input type="checkbox" checked={upstream()} onChange={tick(setUpstream)} /> and what is upstream of it</label>
        <label><input type="checkbox" checked={downstream()} onChange={tick(setDownstream)} /> and what is downstream of it</label>
        <label><input type="checkbox" checked={past()} onChange={tick(setPast)} /> in earlier runs, too</label>
        <label><input type="checkbox" checked={future()} onChange={tick(setFuture)} /> in later runs, too</label>
      </div>
      <div class="preview" aria-live="polite" aria-busy={!found() && !fault()}>
        <Show when={fault()}>{(it) => <Fault what="This can't be done." error={it()} />}</Show>
        <Show when={found()}>
          {(it) => (
            <>
              <p><strong>{total() === 0 ? `Nothing changes: all of it is ${to()} already.` : `${total()} ${total() === 1 ? "task is" : "tasks are"} marked as ${to()}`}</strong>{total() ? "; what was held back by them is judged anew." : ""}</p>
              <ul class="cleared" tabindex="0">
                <For each={it().task_instances}>
                  {(task) => (
                    <li>
                      <Mark state={task.state ?? "none"} />
                      <code>{task.task_id}{task.map_index >= 0 ? `[${task.map_index}]` : ""}</code>
                      <Show when={task.dag_run_id !== of.run_id}><span class="dim">{task.dag_run_id}</span></Show>
                      <span class="dim">is {task.state ?? "without a state"}</span>
                    </li>
                  )}
                </For>
              </ul>
            </>
          )}
        </Show>
      </div>
      <Why value={reason()} set={setReason} />
      <Buttons yes={total() ? `Mark ${total()}` : "Mark"} disabled={total() === 0} go={go} />
    </Dialog>
  );
}

/** A note on a run or a task. */
export function askNote(of: Of, before: string) {
  open(() => <Note of={of} before={before} />);
}
function Note(props: { of: Of; before: string }) {
  const [note, setNote] = createSignal(props.before);
  const go = () => {
    close();
    const path = props.of.task_id ? taskPath(props.of) : runPath(props.of);
    void act(note() ? "Keep the note" : "Take the note away", () => send("PATCH", path, { note: note() || (props.of.task_id ? "" : null) }));
  };
  return (
    <Dialog title={props.of.task_id ? `Note on ${named(props.of)}` : "Note on the run"} close={close}>
      <label class="field">
        Everybody who opens it reads this
        <textarea rows="4" maxlength="1000" value={note()} onInput={(event) => setNote(event.currentTarget.value)} />
      </label>
      <p class="dim">{props.before && !note() ? "The note that is there is taken away." : "It is text: nothing in it is run or followed."}</p>
      <Buttons yes={props.before && !note() ? "Take it away" : "Keep it"} disabled={note() === props.before} go={go} />
    </Dialog>
  );
}
