/** Keys: what a view does with them, and what holds everywhere. */
import { onCleanup, onMount } from "solid-js";

export type Bindings = Record<string, () => unknown>;

const stack: Bindings[] = [];

/** Binds keys while a view is there; the last one bound goes first. */
export function keys(bindings: Bindings) {
  onMount(() => stack.push(bindings));
  onCleanup(() => {
    const at = stack.indexOf(bindings);
    if (at >= 0) stack.splice(at, 1);
  });
}

const FIELDS = "input, textarea, select, dialog, [contenteditable], [role=grid], [role=application]";

/** Listens on the whole page; `go` are the keys after a `g`. */
export function listen(global: Bindings, go: Bindings) {
  let went = 0;
  const pressed = (event: KeyboardEvent) => {
    // Something on the page took it.
    if (event.defaultPrevented) return;
    const target = event.target as HTMLElement | null;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      global["palette"]?.();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target?.closest(FIELDS) && !(target.closest("[role=application]") && event.key === "Escape")) return;
    // What is in focus has its own meaning of these.
    if (event.key === "Enter" && target?.closest("a, button, summary")) return;
    if (Date.now() - went < 1_200 && go[event.key]) {
      went = 0;
      event.preventDefault();
      go[event.key]?.();
      return;
    }
    if (event.key === "g") {
      went = Date.now();
      return;
    }
    const found = [...stack].reverse().find((one) => one[event.key])?.[event.key] ?? global[event.key];
    if (found) {
      event.preventDefault();
      found();
    }
  };
  document.addEventListener("keydown", pressed);
  onCleanup(() => document.removeEventListener("keydown", pressed));
}
