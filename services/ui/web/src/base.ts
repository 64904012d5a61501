/** Where the application lies, whatever prefix a proxy has put before it, and how its API is asked. */
import type { components } from "./api";

export type Shapes = components["schemas"];

// The page says where it lies by a relative way; it is read before any page is left by history.
const root = new URL("./", document.baseURI);
const element = document.querySelector("base");
if (element) element.href = root.href;

// A lone `%` is no address for anybody who takes escapes back: it stands for itself.
const taken = (one: string): string | undefined => {
  try {
    return decodeURIComponent(one);
  } catch {
    return undefined;
  }
};
const plain = location.pathname.split("/").map((one) => (taken(one) === undefined ? one.replaceAll("%", "%25") : one)).join("/");
if (plain !== location.pathname) history.replaceState(history.state, "", plain + location.search + location.hash);

/** The prefix of every path of ours, without a slash at its end. */
export const prefix = root.pathname.replace(/\/$/, "");

/** An address of the API under `/api/v2/`. */
export function apiUrl(path: string, query?: Query): string {
  const url = new URL(`api/v2/${path}`, root);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (Array.isArray(value)) for (const one of value) url.searchParams.append(name, one);
    else if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}

export type Query = Record<string, string | number | boolean | string[] | undefined>;

/**
 * A part of a path, whatever is in it. Browsers take `.` and `..` for ways, escaped too: those two stand escaped twice,
 * here and in what the API takes.
 */
export const part = (text: string): string => (text === "." || text === ".." ? text.replaceAll(".", "%252E") : encodeURIComponent(text));

/** What a part of a path stands for: the other way round. */
export function whole(part: string): string {
  const text = decodeURIComponent(part);
  return text === "%2E" || text === "%2E%2E" ? text.replaceAll("%2E", ".") : text;
}

/** What the API answered instead of what was asked for. */
export class ApiFault extends Error {
  constructor(
    readonly status: number,
    readonly detail: unknown,
  ) {
    super(words(detail));
  }

  /** What is wrong with a field of what was sent, where that was said. */
  wrong(field: string): string | undefined {
    if (!Array.isArray(this.detail)) return undefined;
    return (this.detail as { loc?: string[]; msg?: string }[]).find((one) => one.loc?.at(-1) === field)?.msg;
  }
}

function words(detail: unknown): string {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) {
    return detail
      .map((one: { loc?: string[]; msg?: string }) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg ?? ""}`)
      .join("; ");
  }
  if (detail && typeof detail === "object" && "message" in detail) return String(detail.message);
  return JSON.stringify(detail ?? "no word why");
}

async function answer(response: Response): Promise<unknown> {
  // An answer that breaks off is none: who asked hears of it, instead of reading what is not there.
  if (response.ok) return response.status === 204 ? null : await response.json();
  const body: unknown = await response.json().catch(() => null);
  const detail = body && typeof body === "object" && "detail" in body ? body.detail : response.statusText;
  throw new ApiFault(response.status, detail);
}

/** Asks for something. */
export async function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  const response = await fetch(apiUrl(path, query), signal ? { signal } : {});
  return (await answer(response)) as T;
}

/** What an act came to, and the record that did it. */
export interface Done<T> {
  value: T;
  seq: number | undefined;
}

/** A name that nobody else draws; browsers have `randomUUID` on HTTPS and loopback alone. */
function drawn(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Asks for something to be done; sent again it is done once. */
export async function send<T>(method: string, path: string, body?: unknown, query?: Query): Promise<Done<T>> {
  const response = await fetch(apiUrl(path, query), {
    method,
    headers: { "content-type": "application/json", "idempotency-key": drawn() },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const value = (await answer(response)) as T;
  const seq = Number(response.headers.get("dagbok-seq"));
  return { value, seq: seq > 0 ? seq : undefined };
}
