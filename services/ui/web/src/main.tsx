/** The application: its frame, its paths and its keys. */
import { A, type RouteSectionProps, Route, Router, useLocation, useNavigate } from "@solidjs/router";
import { createEffect, ErrorBoundary, For, on, Show, Suspense } from "solid-js";
import { render } from "solid-js/web";
import { AskedList, Dialog, DialogHost, isOpen, open } from "./acts";
import { prefix } from "./base";
import icon from "./favicon.svg";
import { listen } from "./keys";
import { Gone, view } from "./later";
import { asOf, link, seq } from "./live";
import { openPalette } from "./palette";
import { Crumbs, Fault, Key, Nothing } from "./parts";
import { keepPlaces } from "./place";
import "./style.css";
import { put, putRows, theme, turn } from "./theme";
import { learn, now, second, turnZone, zone, zoneName } from "./time";
import AlertsView from "./views/alerts";
import DagView from "./views/dag";
import DagsView from "./views/dags";
import { AuditView } from "./views/events";
import { ExpectedView, ImportErrorsView } from "./views/expected";
import HomeView from "./views/home";
import RunView from "./views/run";
import RunsView from "./views/runs";
import TaskView from "./views/task";

const operate = () => import("./views/operate");
const secrets = () => import("./views/secrets");
const duty = () => import("./views/duty");
const OnCallView = view(duty, (it) => it.OnCallView);
const SilencesView = view(duty, (it) => it.SilencesView);
const RoutesView = view(duty, (it) => it.RoutesView);
const PoolsView = view(operate, (it) => it.PoolsView);
const ExecutorsView = view(operate, (it) => it.ExecutorsView);
const HealthView = view(operate, (it) => it.HealthView);
const ConnectionsView = view(secrets, (it) => it.ConnectionsView);
const VariablesView = view(secrets, (it) => it.VariablesView);
const AssetsView = view(() => import("./views/assets"), (it) => it.default);

const PLACES = [["/", "Today"], ["/dags", "DAGs"], ["/dag_runs", "Runs"], ["/alerts", "Alerts"], ["/assets", "Assets"], ["/pools", "Operate"]] as const;
const OPERATE = ["/pools", "/executors", "/connections", "/variables", "/import_errors", "/health", "/audit"];

function Frame(props: RouteSectionProps) {
  const navigate = useNavigate();
  const location = useLocation();
  createEffect(put);
  createEffect(learn);
  keepPlaces();
  const row = (by: number) => {
    const rows = [...document.querySelectorAll<HTMLElement>("[data-row] a")].filter(
      (one, at, all) => one.tabIndex >= 0 && one.closest("[data-row]") !== all[at - 1]?.closest("[data-row]"),
    );
    const here = rows.findIndex((one) => one.closest("[data-row]")?.contains(document.activeElement));
    rows[Math.min(rows.length - 1, Math.max(0, here + by))]?.focus();
  };
  listen(
    {
      palette: () => (isOpen() ? open(undefined) : openPalette()),
      "?": () => open(() => <Keys />),
      j: () => row(1),
      k: () => row(-1),
      z: turnZone,
      "/": () => document.querySelector<HTMLInputElement>("main input[type=search]")?.focus(),
    },
    { h: () => navigate("/"), d: () => navigate("/dags"), r: () => navigate("/dag_runs"), a: () => navigate("/alerts"), s: () => navigate("/assets"), o: () => navigate("/pools") },
  );
  const at = (path: string) => {
    const here = location.pathname.slice(prefix.length) || "/";
    if (path === "/alerts" && here === "/oncall") return true;
    if (path === "/pools") return OPERATE.includes(here);
    return path === "/" ? here === "/" : here === path || here.startsWith(`${path}/`);
  };
  // On a narrow page tabs lie beside what is seen: the one that is open is brought into sight.
  createEffect(on(() => location.pathname + location.search, () => setTimeout(() => {
    for (const tab of document.querySelectorAll<HTMLElement>(".tabs > .on, .tabs > [aria-selected=true], .tabs > [aria-pressed=true]")) {
      const box = tab.parentElement as HTMLElement;
      if (box.scrollWidth > box.clientWidth) box.scrollLeft = tab.offsetLeft - box.offsetLeft - box.clientWidth / 3;
    }
  }, 50)));
  const stale = () => link() === "lost";
  createEffect(() => {
    if (at("/")) document.title = "Today · Dagbok";
    else if (PLACES.some(([path]) => location.pathname === prefix + path)) document.title = `${PLACES.find(([path]) => location.pathname === prefix + path)?.[1]} · Dagbok`;
  });
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>Go to the content</a>
      <header class="top">
        <A class="brand" href="/"><img src={icon} alt="" width="20" height="20" />Dagbok</A>
        <nav aria-label="Places">
          <For each={PLACES}>{([path, name]) => <A href={path} aria-current={at(path) ? "page" : undefined} class={at(path) ? "on" : ""}>{name}</A>}</For>
        </nav>
        <button type="button" class="ask" onClick={openPalette}><span>Search or do…</span><kbd>Ctrl K</kbd></button>
        <span class={`as-of ${stale() ? "lost" : ""}`} title={`up to record ${seq()} of the log`}>
          <Show when={asOf()}>
            {(time) => <><i aria-hidden="true" />{stale() ? "reconnecting, " : ""}<span class="words">as of </span>{second(Math.min(Date.parse(time()) + 5_000, Math.max(Date.parse(time()), stale() ? 0 : now())))}</>}
          </Show>
        </span>
        <button type="button" class="quiet" title={zone() === "DAG" ? `times of the DAG's own zone, ${zoneName()}` : `${zoneName()} times`} aria-label={`Times are ${zoneName()}; switch`} onClick={turnZone}>{zoneName().split("/").pop()?.replaceAll("_", " ")}</button>
        <button type="button" class="quiet" aria-label={theme() === "dark" ? "Light" : "Dark"} onClick={turn}>{theme() === "dark" ? "☀" : "☾"}</button>
      </header>
      <main id="main" tabindex="-1" classList={{ stale: stale() }}>
        <Gone />
        <ErrorBoundary fallback={(error: Error, again) => <Broken error={error} again={again} />}>
          {/* For files that come later alone: what a view asks for by itself it is drawn without, and then with. */}
          <Suspense>{props.children}</Suspense>
        </ErrorBoundary>
      </main>
      <AskedList />
      <DialogHost />
    </>
  );
}

/** A page that broke; another one is not broken by it. */
function Broken(props: { error: Error; again: () => void }) {
  const location = useLocation();
  createEffect(on(() => location.pathname, () => props.again(), { defer: true }));
  return <Fault what="This page broke. Load it again; what it says helps whoever mends it." error={props.error} />;
}

const KEYS: [string, string][] = [
  ["Ctrl K", "search or do"], ["g h", "today"], ["g d", "DAGs"], ["g r", "runs"], ["g a", "alerts"], ["g s", "assets"], ["g o", "operate"],
  ["j k", "next and previous row"], ["< >", "previous and next page of a list"], ["Enter", "open"], ["Esc", "up a level"], ["[ ]", "previous and next failure"],
  ["{ }", "previous and next run"], ["l", "log"], ["w", "why"], ["t", "trigger"], ["r", "rerun"], ["/", "search in the page"], ["z", "UTC, local or the DAG's own time"],
];
const Keys = () => (
  <Dialog title="Keys" close={() => open(undefined)}>
    <dl class="keys"><For each={KEYS}>{([key, what]) => <div><dt><Key>{key}</Key></dt><dd>{what}</dd></div>}</For></dl>
    <div class="buttons"><button type="button" onClick={() => open(undefined)}>Close</button></div>
  </Dialog>
);

const Missing = () => (
  <>
    <Crumbs of={[{ text: "Not here" }]} />
    <Nothing>There is no such page. <A href="/">Today</A></Nothing>
  </>
);

put();
putRows();
const app = document.getElementById("app");
if (app) {
  render(
    () => (
      <Router base={prefix} root={Frame}>
        <Route path={["/", "/home"]} component={HomeView} />
        <Route path="/dags" component={DagsView} />
        <Route path={["/dag_runs", "/task_instances"]} component={RunsView} />
        <Route path="/expected" component={ExpectedView} />
        <Route path="/import_errors" component={ImportErrorsView} />
        <Route path="/pools" component={PoolsView} />
        <Route path="/executors" component={ExecutorsView} />
        <Route path="/health" component={HealthView} />
        <Route path="/connections" component={ConnectionsView} />
        <Route path="/variables" component={VariablesView} />
        <Route path="/assets" component={AssetsView} />
        <Route path={["/audit", "/events"]} component={AuditView} />
        <Route path="/oncall" component={OnCallView} />
        <Route path="/alerts/silences" component={SilencesView} />
        <Route path="/alerts/routes" component={RoutesView} />
        <Route path={["/alerts", "/alerts/:id"]} component={AlertsView} />
        <Route path={["/dags/:dag/runs/:run/tasks/:task/mapped/:index", "/dags/:dag/runs/:run/tasks/:task/*rest"]} component={TaskView} />
        <Route path="/dags/:dag/runs/:run/*rest" component={RunView} />
        <Route path="/dags/:dag/*rest" component={DagView} />
        <Route path="*all" component={Missing} />
      </Router>
    ),
    app,
  );
}
