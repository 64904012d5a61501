/** What a try used of its machine over its time: memory with its limit, CPU, disks; live while it runs. */
import { createMemo, For, Show } from "solid-js";
import { get, part, type Shapes } from "../base";
import { kept } from "../live";
import { Nothing, Read } from "../parts";
import { length } from "../time";

type Series = Shapes["TryUsageSeries"];
type Of = { dag: string; run: string; task: string; map: number; number: number; over: boolean };
/** How often it is asked for while the try runs. */
const EVERY = 5_000;
const MIB = 1_048_576;
const memory = (bytes: number): string => (bytes >= 1024 * MIB ? `${(bytes / 1024 / MIB).toFixed(2)} GB` : `${(bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)} MB`);
/** What may be very little. */
const little = (bytes: number): string => (bytes === 0 ? "nothing" : bytes < MIB / 10 ? `${Math.max(1, Math.round(bytes / 1024))} KB` : memory(bytes));
const most = (of: number[], one: string, many: string): string => `${Math.max(0, ...of)} ${Math.max(0, ...of) === 1 ? one : many}`;
const cores = (of: number): string => `${of.toFixed(of < 10 ? 2 : 0)} ${of === 1 ? "core" : "cores"}`;
/** What was used of something within each point, for a second of it. */
const rates = (series: Series, of: number[], unit: number): number[] => of.map((value, at) => ((value - (of[at - 1] ?? 0)) / unit / Math.max(1, (series.at_ms[at] ?? 0) - (series.at_ms[at - 1] ?? 0))) * 1_000);

export function Usage(props: Of) {
  const of = () => [props.dag, props.run, props.task, props.map, props.number];
  const series = kept(
    of,
    async (signal) => {
      const found = await get<Series>(`dagbok/usage/${part(props.dag)}/${part(props.run)}/${part(props.task)}/${props.number}`, { map_index: props.map }, signal);
      return { ...found, last: found.at_ms.length - 1 };
    },
    { whose: of, when: () => props.over, ...(props.over ? {} : { every: EVERY }) },
  );
  return (
    <Read of={series} what="What it used can't be shown.">
      {(it) => (
        <Show when={it().last >= 0} fallback={<Nothing>{it().complete ? "It was over before it was looked at: Details has what the kernel counted." : "It was not looked at yet: that is done every few seconds."}</Nothing>}>
          <Line series={it()} title="Memory" values={it().memory} unit={memory} limit={it().memory_limit ?? undefined} peak={it().peak_bytes} exact={it().peak_is_exact} />
          <Line series={it()} title="CPU" values={rates(it(), it().cpu_us, 1e6)} unit={cores} limit={it().cpu_limit ?? undefined} low />
          <Show when={it().gpu_bytes.length}><Line series={it()} title="GPU memory" values={it().gpu_bytes} unit={memory} low /></Show>
          <dl class="facts tall">
            <div><dt>CPU time</dt><dd>{length((it().cpu_us[it().last] ?? 0) / 1e6)}</dd></div>
            <div><dt>Read from disks</dt><dd>{little(it().read_bytes[it().last] ?? 0)}</dd></div>
            <div><dt>Written to disks</dt><dd>{little(it().written_bytes[it().last] ?? 0)}</dd></div>
            <div><dt>At most</dt><dd>{most(it().processes, "process", "processes")}, {most(it().threads, "thread", "threads")}</dd></div>
            <div><dt>Measured</dt><dd>{it().measured === "cgroup" ? "by its cgroup, which counts cached files too" : "over all its processes; what they share counts once"}</dd></div>
          </dl>
          <Figures series={it()} />
        </Show>
      )}
    </Read>
  );
}

/** One figure over the try's time, and its limit as a line. */
function Line(props: { series: Series; title: string; values: number[]; unit: (value: number) => string; limit?: number | undefined; peak?: number; exact?: boolean; low?: boolean }) {
  const tall = () => (props.low ? 64 : 150);
  const end = () => Math.max(1, props.series.at_ms[props.series.at_ms.length - 1] ?? 1);
  const most = () => Math.max(props.peak ?? 0, ...props.values);
  // The limit is in the picture, unless nothing would be seen of the rest.
  const top = () => Math.max(1e-9, most(), (props.limit ?? 0) < most() * 8 ? (props.limit ?? 0) : 0);
  const x = (at: number) => (at / end()) * 1_000;
  const y = (value: number) => tall() - (value / top()) * (tall() - 6);
  const path = createMemo(() => {
    let drawn = `M0 ${tall()}`;
    props.values.forEach((value, at) => {
      const from = props.series.at_ms[at - 1] ?? 0;
      drawn += ` L${x(from).toFixed(1)} ${y(value).toFixed(1)} L${x(props.series.at_ms[at] ?? 0).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    return `${drawn} L1000 ${tall()} Z`;
  });
  const now = () => props.unit(props.values[props.values.length - 1] ?? 0);
  const limit = () => (props.limit === undefined ? "no limit" : `limit ${props.unit(props.limit)}`);
  const at = () => `${props.exact === false ? "at most seen" : "at most"} ${props.unit(most())}`;
  return (
    <figure class="chart">
      <figcaption>{props.title}<span class="dim">{props.series.complete ? "at its end" : "now"} {now()} · {at()} · {limit()}</span></figcaption>
      <svg viewBox={`0 0 1000 ${tall()}`} preserveAspectRatio="none" role="img" aria-label={`${props.title} over ${length(end() / 1e3)}: ${at()}, ${limit()}`} style={{ height: `${tall()}px` }}>
        <path class="waiting" d={path()} />
        <Show when={props.limit !== undefined && (props.limit ?? 0) <= top()}><line class="p95" x1="0" x2="1000" y1={y(props.limit ?? 0)} y2={y(props.limit ?? 0)} vector-effect="non-scaling-stroke" /></Show>
      </svg>
      <div class="axis" aria-hidden="true"><For each={[0, 0.25, 0.5, 0.75, 1]}>{(share) => <span>{length((end() * share) / 1e3)}</span>}</For></div>
    </figure>
  );
}

/** Rows that are shown: as many as are looked at by eye. */
const ROWS = 100;

function Figures(props: { series: Series }) {
  const every = () => Math.max(1, Math.ceil(props.series.at_ms.length / ROWS));
  // Of each stretch the moment with the most memory, so that a peak of the chart is in the table too; and the last.
  const rows = () => {
    const { at_ms: times, memory } = props.series;
    const firsts = times.map((_, at) => at).filter((at) => at % every() === 0);
    const highest = (first: number) => {
      const stretch = memory.slice(first, first + every());
      return first + stretch.indexOf(Math.max(...stretch));
    };
    return [...new Set([...firsts.map(highest), times.length - 1])];
  };
  const used = () => rates(props.series, props.series.cpu_us, 1e6);
  return (
    <details class="padded">
      <summary>The charts as a table</summary>
      <table class="list">
        <thead><tr><th scope="col" class="num">After</th><th scope="col" class="num">Memory</th><th scope="col" class="num">CPU</th><th scope="col" class="num">Processes</th></tr></thead>
        <tbody>
          <For each={rows()}>{(at) => <tr data-row><td class="num">{length((props.series.at_ms[at] ?? 0) / 1e3)}</td><td class="num">{memory(props.series.memory[at] ?? 0)}</td><td class="num">{cores(used()[at] ?? 0)}</td><td class="num">{props.series.processes[at]}</td></tr>}</For>
        </tbody>
      </table>
    </details>
  );
}
