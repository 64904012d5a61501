/** Where one was in a page: whoever goes back to it is there again, at the same row, once that has been drawn. */
import { useIsRouting } from "@solidjs/router";
import { onCleanup } from "solid-js";

interface Place {
  y: number;
  /** The link of a row that was in focus. */
  row: string | undefined;
}

/** Entries of the history that are remembered, the newest. */
const MOST = 200;
/** How long what was there may take to come. */
const PATIENCE_MS = 5_000;

const places = new Map<string, Place>();
/** The router numbers the entries of the history. */
const entry = () => `${(history.state as { _depth?: number } | null)?._depth ?? ""} ${location.href}`;
const links = () => [...document.querySelectorAll<HTMLElement>("main [data-row] a")];

/** Remembers places for as long as the application is there. */
export function keepPlaces() {
  const isRouting = useIsRouting();
  let wanted: Place | undefined;
  let until = 0;
  const note = () => {
    if (wanted) return;
    const focus = document.activeElement?.closest("[data-row]") ? document.activeElement.getAttribute("href") : undefined;
    const key = entry();
    places.delete(key);
    places.set(key, { y: scrollY, row: focus ?? undefined });
    if (places.size > MOST) places.delete(places.keys().next().value ?? "");
  };
  const attempt = () => {
    if (!wanted) return;
    const { y, row } = wanted;
    const link = row === undefined ? undefined : links().find((one) => one.getAttribute("href") === row);
    const is = !isRouting() && !document.querySelector("main [aria-busy=true]") && document.documentElement.scrollHeight - innerHeight >= y && (row === undefined || link);
    if (!is && Date.now() < until) return void requestAnimationFrame(attempt);
    scrollTo(0, y);
    link?.focus({ preventScroll: true });
    wanted = undefined;
  };
  const back = () => {
    wanted = places.get(entry());
    until = Date.now() + PATIENCE_MS;
    requestAnimationFrame(attempt);
  };
  // Who moves by hand meanwhile stays there.
  const leave = () => (wanted = undefined);
  const all: [string, () => void][] = [["popstate", back], ["scroll", note], ["focusin", note], ["wheel", leave], ["touchmove", leave], ["pointerdown", leave], ["keydown", leave]];
  for (const [name, listener] of all) addEventListener(name, listener, { passive: true });
  onCleanup(() => all.forEach(([name, listener]) => removeEventListener(name, listener)));
}
