/** What an installation runs on: pools with who holds them, executors, how its parts are. */
import { A } from "@solidjs/router";
import { createMemo, createSignal, For, Show } from "solid-js";
import { act, Buttons, Dialog, open, useSent } from "../acts";
import { part, send, type Shapes } from "../base";
import { live } from "../live";
import { Beyond, Crumbs, Fault, Mark, Nothing, Pages, runPath, taskPath, Time, useOffset } from "../parts";
import { length, now } from "../time";
import { Delete, Places } from "./places";

type Pool = Shapes["UiPool"];
const close = () => open(undefined);

export function PoolsView() {
  const held = live(() => ["pools"] as ["pools"]);
  return (
    <>
      <Crumbs of={[{ text: "Pools" }]}><div class="acts"><button type="button" onClick={() => open(() => <PoolForm />)}>New pool</button></div></Crumbs>
      <Places here="/pools" />
      <Show when={held.error}>{(error) => <Fault what="The pools can't be shown." error={error()} />}</Show>
      <Show when={held.data}>
        {(all) => (
          <>
            <For each={all().pools}>{(pool) => <PoolCard pool={pool} complete={all().complete} />}</For>
            <Show when={!all().complete}><p class="foot dim">More runs are under way than are looked through for holders. The slots that are taken are counted whole; who holds them, and who is to come, is named of the oldest runs.</p></Show>
          </>
        )}
      </Show>
    </>
  );
}

function PoolCard(props: { pool: Pool; complete: boolean }) {
  const pool = () => props.pool;
  const taken = () => pool().running + pool().queued + (pool().include_deferred ? pool().deferred : 0);
  const share = (count: number) => `${pool().slots > 0 ? Math.min(100, (100 * count) / pool().slots) : 0}%`;
  const counted = (count: number) => `${props.complete ? "" : "at least "}${count.toLocaleString("en")}`;
  const full = () => pool().slots >= 0 && pool().open <= 0;
  return (
    <section class="pool" aria-label={pool().name}>
      <header>
        <h2>{pool().name}</h2>
        <span class="stack wide" role="img" aria-label={`${taken()} of ${pool().slots < 0 ? "no limit of" : pool().slots} slots taken`}><i class="running" style={{ width: share(pool().running) }} /><i class="waiting" style={{ width: share(pool().queued + (pool().include_deferred ? pool().deferred : 0)) }} /></span>
        <span class={full() ? "warn" : ""}>{pool().slots < 0 ? `${taken()} slots taken, no limit` : `${taken()} of ${pool().slots} slots taken`}{full() ? ": full" : ""}</span>
        <Show when={pool().description}><span class="dim">{pool().description}</span></Show>
        <div class="acts">
          <button type="button" class="small" onClick={() => open(() => <PoolForm pool={pool()} />)}>Change</button>
          <Show when={pool().name !== "default_pool"}><button type="button" class="small" onClick={() => open(() => <Delete what="pool" name={pool().name} path={`pools/${part(pool().name)}`} says={["Tasks that name it wait until there is a pool of that name again.", taken() ? `${taken()} slots of it are held now: those tries go on.` : "No try holds a slot of it."]} />)}>Delete</button></Show>
        </div>
      </header>
      <div class="halves">
        <div>
          <h3>Holding <span class="count">{counted(pool().holder_count)}</span></h3>
          <Show when={pool().holders.length} fallback={<p class="nothing">{taken() ? "None of the runs that were looked through." : "No try holds a slot."}</p>}>
            <ul class="tasks">
              <For each={pool().holders}>{(task) => <li><Mark state={task.state} /><A href={taskPath(task.dag_id, task.run_id, task.task_id, task.map_index)}>{named(task)}</A><A class="dim" href={runPath(task.dag_id, task.run_id)}>{task.dag_id}</A><span class="when dim">{task.slots > 1 ? `${task.slots} slots, ` : ""}{task.since ? `for ${length((now() - Date.parse(task.since)) / 1_000)}` : ""}</span></li>}</For>
            </ul>
          </Show>
          <Show when={pool().holder_count > pool().holders.length}><p class="dim padded">and {counted(pool().holder_count - pool().holders.length)} more</p></Show>
        </div>
        <div>
          <h3>Not begun, of runs under way <span class="count">{counted(pool().to_come_count)}</span></h3>
          <Show when={pool().to_come.length} fallback={<p class="nothing">No run under way has a task to come here.</p>}>
            <ul class="tasks">
              <For each={pool().to_come}>{(task) => <li><Mark state={task.state} /><A href={taskPath(task.dag_id, task.run_id, task.task_id, task.map_index)}>{named(task)}</A><A class="dim" href={runPath(task.dag_id, task.run_id)}>{task.dag_id}</A><A class="when go" href={taskPath(task.dag_id, task.run_id, task.task_id, task.map_index, "?tab=why")}>why, and its place in line</A></li>}</For>
            </ul>
          </Show>
          <Show when={pool().to_come_count > pool().to_come.length}><p class="dim padded">and {counted(pool().to_come_count - pool().to_come.length)} more</p></Show>
        </div>
      </div>
    </section>
  );
}
const named = (task: Shapes["UiPoolTask"]) => `${task.task_id}${task.map_index >= 0 ? `[${task.map_index}]` : ""}`;

function PoolForm(props: { pool?: Pool }) {
  const [name, setName] = createSignal(props.pool?.name ?? "");
  const [slots, setSlots] = createSignal(String(props.pool?.slots ?? 1));
  const [what, setWhat] = createSignal(props.pool?.description ?? "");
  const [deferred, setDeferred] = createSignal(props.pool?.include_deferred ?? false);
  const sent = useSent();
  const go = () => {
    const body = { slots: Number(slots()), description: what(), include_deferred: deferred() };
    const was = props.pool;
    // Only what is another than it was: what somebody else changed meanwhile stays.
    const changed = {
      ...(body.slots !== was?.slots ? { slots: body.slots } : {}),
      ...(body.description !== (was?.description ?? "") ? { description: body.description } : {}),
      ...(body.include_deferred !== (was?.include_deferred ?? false) ? { include_deferred: body.include_deferred } : {}),
    };
    if (!was) void sent.go(`Make the pool ${name()}`, () => send("POST", "pools", { name: name(), ...body }));
    else if (Object.keys(changed).length) void sent.go(`Change the pool ${name()}`, () => send("PATCH", `pools/${part(name())}`, changed));
    else close();
  };
  const fewer = () => props.pool !== undefined && Number(slots()) >= 0 && Number(slots()) < props.pool.running + props.pool.queued;
  return (
    <Dialog title={props.pool ? `Change ${props.pool.name}` : "New pool"} close={close}>
      <form class="fields" onSubmit={(event) => (event.preventDefault(), go())}>
        <Show when={!props.pool}><label class="field">Name<input required maxlength="256" value={name()} onInput={(event) => setName(event.currentTarget.value)} /></label></Show>
        <label class="field">Slots, or -1 for no limit<input type="number" required min="-1" value={slots()} onInput={(event) => setSlots(event.currentTarget.value)} /></label>
        <Show when={props.pool?.name !== "default_pool"}><label class="field">What it is for<input value={what()} onInput={(event) => setWhat(event.currentTarget.value)} /></label></Show>
        <div class="choices"><label><input type="checkbox" checked={deferred()} onChange={(event) => setDeferred(event.currentTarget.checked)} /> tasks that are deferred take up its slots too</label></div>
        <Show when={fewer()}><p class="note">More slots are held than it then has: tries that hold them go on, and no other begins until enough are free.</p></Show>
        <Show when={sent.fault()}>{(error) => <Fault what="Not done." error={error()} />}</Show>
        <Buttons yes={sent.waits() ? "asked…" : props.pool ? "Change" : "Make it"} disabled={sent.waits() || !name() || slots() === ""} />
      </form>
    </Dialog>
  );
}

/** Rows of a page, as many as the server gives. */
const EXECUTORS = 200;

export function ExecutorsView() {
  const offset = useOffset(EXECUTORS);
  const held = live(() => ["executors", offset()] as ["executors", number]);
  return (
    <>
      <Crumbs of={[{ text: "Executors" }]} />
      <Places here="/executors" />
      <Show when={held.error}>{(error) => <Fault what="The executors can't be shown." error={error()} />}</Show>
      <Show when={held.data}>
        {(all) => (
          <Show when={all().executors.length} fallback={all().total ? <Beyond total={all().total} size={EXECUTORS} /> : <Nothing>No executor is there: nothing runs until one comes. <code>dagbok executor</code> starts one.</Nothing>}>
            <table class="list">
              <thead><tr><th scope="col">Executor</th><th scope="col">State</th><th scope="col">On</th><th scope="col">Slots</th><th scope="col">Queues</th><th scope="col">Here since</th><th scope="col">Version</th><th scope="col">Runs</th><th scope="col"><span class="unseen">What can be done</span></th></tr></thead>
              <tbody>
                <For each={all().executors}>
                  {(one) => (
                    <tr data-row>
                      <td>{one.name} <code class="dim" title={one.executor}>{one.executor.slice(0, 17)}</code><Show when={labels(one)}><br /><span class="dim">{labels(one)}</span></Show></td>
                      <td><span class={`lamp ${one.status === "alive" ? "" : one.status === "silent" ? "off" : "held"}`}>{STATUS[one.status] ?? one.status}</span><Show when={one.cordon}>{(it) => <><br /><span class="dim">since <Time at={it().since} /> by {it().by}{it().reason ? `: ${it().reason}` : ""}</span></>}</Show></td>
                      <td>{one.hostname}</td>
                      <td><span class="progress"><span class="stack" aria-hidden="true"><i class="running" style={{ width: `${Math.min(100, (100 * one.running) / Math.max(1, one.slots))}%` }} /></span>{one.running} of {one.slots}</span></td>
                      <td>{one.queues.join(", ")}</td>
                      <td><Time at={one.joined_at} full /></td>
                      <td class="dim">{one.version} · Python {one.python}</td>
                      <td class="clip"><For each={one.holds} fallback={<span>nothing</span>}>{(task) => <A class="pair" href={taskPath(task.dag_id, task.dag_run_id, task.task_id, task.map_index)}>{task.task_id}{task.map_index >= 0 ? `[${task.map_index}]` : ""}</A>}</For></td>
                      <td class="acts">
                        <Show when={one.cordon} fallback={<button type="button" class="small" onClick={() => open(() => <Stand what="cordon" one={one} all={all().executors} total={all().total} />)}>Cordon</button>}>
                          <button type="button" class="small" onClick={() => open(() => <Stand what="uncordon" one={one} all={all().executors} total={all().total} />)}>Uncordon</button>
                        </Show>
                        <button type="button" class="small" onClick={() => open(() => <Stand what="drain" one={one} all={all().executors} total={all().total} />)}>Drain</button>
                      </td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            <div class="foot"><Pages from={all().offset} shown={all().executors.length} total={all().total} size={EXECUTORS} below /></div>
          </Show>
        )}
      </Show>
    </>
  );
}
type Executor = Shapes["ExecutorInfo"];
const labels = (one: Executor) => Object.entries(one.resources.labels ?? {}).map(([name, value]) => `${name}=${value}`).join(", ");

/** What follows for tries and queues, before it is done. */
function consequences(what: string, one: Executor, all: Executor[], total: number): string[] {
  const own = all.filter((it) => it.name === one.name);
  const running = own.reduce((sum, it) => sum + it.running, 0);
  const says = [own.length > 1 ? `${own.length} executors are called ${one.name}: it holds for all of them, and for those to come.` : `It holds for ${one.name} over restarts, until somebody says otherwise.`];
  if (what === "uncordon") return [`${own.length > 1 ? `${own.length} executors called ${one.name}` : one.name} take work again.`];
  const tries = running === 1 ? "The try that it runs" : `The ${running} tries that it runs`;
  if (what === "cordon") says.push(running ? `${tries} ${running === 1 ? "goes" : "go"} on; nothing new is taken.` : "It runs nothing now; nothing new is taken.");
  else says.push(running ? `${tries} may go on until the time is over; what is ended then is tried elsewhere and uses up no retry. Then it leaves.` : "It runs nothing now, and leaves at once.");
  const served = new Set(all.filter((it) => it.name !== one.name && it.status === "alive").flatMap((it) => it.queues));
  const lonely = one.queues.filter((queue) => !served.has(queue));
  const among = total > all.length ? "On this page of the list nobody" : "Nobody";
  says.push(lonely.length ? `${among} else takes work from ${lonely.join(", ")}: what is queued there waits.` : "Others take work from each of its queues.");
  return says;
}

function Stand(props: { what: "cordon" | "drain" | "uncordon"; one: Executor; all: Executor[]; total: number }) {
  const [why, setWhy] = createSignal("");
  const [minutes, setMinutes] = createSignal("");
  const title = () => `${props.what[0]!.toUpperCase()}${props.what.slice(1)} ${props.one.name}`;
  const go = () => {
    close();
    const limit = props.what === "drain" && minutes() !== "" ? { limit_seconds: Number(minutes()) * 60 } : {};
    void act(title(), () => send("POST", `dagbok/executors/${part(props.one.name)}/${props.what}`, { ...(why() ? { reason: why() } : {}), ...limit }));
  };
  return (
    <Dialog title={title()} close={close}>
      <ul class="consequences"><For each={consequences(props.what, props.one, props.all, props.total)}>{(one) => <li>{one}</li>}</For></ul>
      <form class="fields" onSubmit={(event) => (event.preventDefault(), go())}>
        <label class="field">Why, for whoever wonders later<input maxlength="1000" value={why()} onInput={(event) => setWhy(event.currentTarget.value)} /></label>
        <Show when={props.what === "drain"}><label class="field">Minutes that its tries may go on; as it is set where empty<input type="number" min="0" value={minutes()} onInput={(event) => setMinutes(event.currentTarget.value)} /></label></Show>
        <Buttons yes={title()} danger={props.what === "drain"} />
      </form>
    </Dialog>
  );
}
const STATUS: Record<string, string> = { alive: "there", cordoned: "cordoned: takes nothing new", cordoning: "cordoned, and has not said yet that it knows", draining: "draining: takes no more", silent: "silent: no sign of life" };

export function HealthView() {
  const held = live(() => ["executors", 0] as ["executors", number]);
  const rows = createMemo((): [string, boolean | undefined, string][] => {
    const it = held.data?.health;
    if (!it) return [];
    const is = (status: string | null | undefined) => (status === "healthy" ? true : status === "unhealthy" ? false : undefined);
    const at = (time: string | null | undefined) => (time ? `last sign of life ${length(Math.max(0, (now() - Date.parse(time)) / 1_000))} ago` : "no sign of life yet");
    const fold = it.dagbok.projection;
    const behind = Math.max(0, fold.last - fold.applied);
    return [
      ["Run log", is(it.metadatabase.status), `${fold.last.toLocaleString("en")} records`],
      ["Scheduler", is(it.scheduler.status), is(it.scheduler.status) ? at(it.scheduler.latest_scheduler_heartbeat) : "no scheduler has the lease: nothing is decided"],
      ["DAG processor", is(it.dag_processor.status), is(it.dag_processor.status) ? at(it.dag_processor.latest_dag_processor_heartbeat) : "changes of DAG files are not seen"],
      ["Executors", it.dagbok.executors === undefined || it.dagbok.executors === null ? undefined : it.dagbok.executors > 0, it.dagbok.executors ? `${it.dagbok.executors} there` : "none: no task runs"],
      ["Read model", !fold.failed && !fold.rebuilding, fold.failed ?? (fold.rebuilding ? `made anew${fold.rebuilt_because ? `: ${fold.rebuilt_because}` : ""}` : behind ? `${behind} records behind the log` : "up to the log's last record")],
      ["Clock", is(it.dagbok.clock.status), it.dagbok.clock.log_ahead_seconds ? `the log is ${it.dagbok.clock.log_ahead_seconds.toFixed(1)} s ahead of this machine` : "no record is from the future"],
    ];
  });
  return (
    <>
      <Crumbs of={[{ text: "Health" }]} />
      <Places here="/health" />
      <Show when={held.error}>{(error) => <Fault what="How it is can't be shown." error={error()} />}</Show>
      <Show when={rows().length}>
        <table class="list">
          <thead><tr><th scope="col">Part</th><th scope="col">State</th><th scope="col">What is known</th></tr></thead>
          <tbody>
            <For each={rows()}>
              {([name, well, words]) => <tr><td>{name}</td><td><span class={`lamp ${well ? "" : "off"}`}>{well === undefined ? "not known" : well ? "well" : "not well"}</span></td><td class={well === false ? "bad" : "dim"}>{words}</td></tr>}
            </For>
          </tbody>
        </table>
      </Show>
    </>
  );
}
