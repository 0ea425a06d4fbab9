// A thin layer over fetch: keys, retries, time-outs, typed errors, and reservations that end.

import { refusal, Unconfirmed } from "./errors.js";
import { OPERATIONS, type Operations, type ReserveAnswer, type ReserveBody } from "./schema.js";

/** How a client is made. Times are in milliseconds. */
export interface ClientOptions {
  baseUrl: string;
  /**
   * A service's key (back ends alone), or what gives a person's token for each attempt. Where it throws, the call rejects
   * with `Unconfirmed`, whose `cause` is what it threw.
   */
  credentials: { serviceKey: string; appId: string } | { token: () => string | Promise<string> };
  /** For one answer (5,000). */
  timeoutMs?: number;
  /** Before the second attempt, then doubling (100). */
  firstPauseMs?: number;
  /** For all attempts together (20,000). */
  deadlineMs?: number;
}

type Given<Part extends string, Value> = undefined extends Value ? unknown : { [name in Part]: Value };

/** What a call is made of: the body and the values of its path where it has them, the query where one is wanted. */
export type Parts<Name extends keyof Operations> = Given<"body", Operations[Name]["body"]> &
  Given<"path", Operations[Name]["path"]> & {
    query?: Operations[Name]["query"];
    /** The idempotency key; made anew for each call where the operation takes one and none is given. */
    key?: string;
  };

/** What an operation answers. */
export type Answered<Name extends keyof Operations> = Operations[Name]["answer"];

const RETRIED = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Answers about who asks: they say nothing of what an attempt before did, whose answer was lost. */
const NOT_LET_IN = new Set([401, 403]);
const PAUSE_MS_MAX = 5_000;

/** Calls the credit service. Every call rejects with `Refused` or `Unconfirmed`. */
export class CreditsClient {
  readonly #options: Required<ClientOptions>;

  constructor(options: ClientOptions) {
    const { username, protocol } = new URL(options.baseUrl);
    if (!/^https?:$/.test(protocol) || username) throw new TypeError("baseUrl is http(s)://host, without a name");
    // fetch would show a header that it cannot send.
    const secret = "serviceKey" in options.credentials ? options.credentials.serviceKey : "unset";
    if (!/^[!-~]+$/.test(secret)) throw new TypeError("serviceKey is empty, or has signs that no header can hold");
    this.#options = { timeoutMs: 5_000, firstPauseMs: 100, deadlineMs: 20_000, ...options };
  }

  /** Call an operation of the OpenAPI document by its id. */
  async call<Name extends keyof Operations>(name: Name, parts: Parts<Name>): Promise<Answered<Name>> {
    const { method, path, takesKey } = OPERATIONS[name];
    const said = parts as unknown as { path?: object; query?: object; body?: { idempotencyKey?: string | null }; key?: string };
    // Left out in silence, it would make a repeat look harmless that is not.
    if (!takesKey && said.key !== undefined) throw new TypeError(`${name} takes no key`);
    const key = takesKey ? (said.body?.idempotencyKey ?? said.key ?? crypto.randomUUID()) : undefined;
    const url = this.#options.baseUrl.replace(/\/+$/, "") + filled(path, said.path) + queried(said.query);
    const body = said.body && JSON.stringify(said.body);
    const endsAt = Date.now() + this.#options.deadlineMs;
    let defects = 0;
    for (let count = 1; ; count += 1) {
      const left = Math.max(50, Math.min(this.#options.timeoutMs, endsAt - Date.now()));
      const headers = await this.#headers(key, left).catch((cause: unknown) => {
        // An attempt before this one may have taken effect: its key is not lost.
        throw new Unconfirmed(`${name}: no token`, key, count, { cause });
      });
      const result = await this.#send(url, { method, headers, ...(body === undefined ? {} : { body }) }, left);
      if (typeof result !== "string" && !RETRIED.has(result.status)) {
        if (count > 1 && NOT_LET_IN.has(result.status)) {
          throw new Unconfirmed(`${name}: the service answered ${result.status}`, key, count);
        }
        if (result.status >= 400 && result.status < 500) throw refusal(result.status, result.json, result.requestId);
        const isAnswer = result.status >= 200 && result.status < 300 && typeof result.json === "object" && result.json;
        if (isAnswer) return result.json as unknown as Answered<Name>;
        throw new Unconfirmed(`${name}: what answered ${result.status} is not the credit service`, key, count);
      }
      const problem = typeof result === "string" ? result : `the service answered ${result.status}`;
      const asked = typeof result === "string" ? 0 : result.retryAfterMs;
      const backoff = Math.min(PAUSE_MS_MAX, this.#options.firstPauseMs * 2 ** (count - 1));
      // Between half of it and all of it: callers who failed together do not come back together.
      const pause = Math.max(asked, backoff * (0.5 + Math.random() / 2));
      if (typeof result !== "string" && result.status === 500) defects += 1;
      if (defects > 1 || Date.now() + pause >= endsAt) throw new Unconfirmed(`${name}: ${problem}`, key, count);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /**
   * Set credits aside for `work`: committed when it resolves, put back when it rejects. A commit that cannot be confirmed,
   * here or in `work`, rejects with `Unconfirmed`; the reservation stands until it expires, and `commit` may be repeated
   * until then.
   */
  async withReservation<T>(reservation: ReserveBody, work: (reserved: ReserveAnswer) => Promise<T>): Promise<T> {
    const reserved = await this.call("internalReserve", { body: reservation });
    let result: T;
    try {
      result = await work(reserved);
    } catch (error) {
      const isLostCommit = error instanceof Unconfirmed && error.key === commitKey(reserved.reservationId);
      // The work's own error stays the one that is thrown: the credits go back when the reservation expires.
      if (!isLostCommit) await this.putBack(reserved.reservationId).catch(() => undefined);
      throw error;
    }
    await this.commit(reserved.reservationId);
    return result;
  }

  /** Spend what was set aside. The reservation is the key: a second commit of it is the first. */
  async commit(reservationId: string): Promise<Answered<"internalCommit">> {
    return this.call("internalCommit", { body: { reservationId }, key: commitKey(reservationId) });
  }

  /** Give back what was set aside. The reservation is the key. */
  async putBack(reservationId: string): Promise<Answered<"internalRefundReservation">> {
    return this.call("internalRefundReservation", { body: { reservationId }, key: `put-back-${reservationId}` });
  }

  async #send(url: string, request: RequestInit, timeoutMs: number) {
    try {
      const response = await fetch(url, { ...request, redirect: "manual", signal: AbortSignal.timeout(timeoutMs) });
      const text = await response.text();
      return {
        status: response.status,
        json: parsed(text),
        retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
        requestId: response.headers.get("x-request-id") ?? undefined,
      };
    } catch (error) {
      // Its message may hold what was sent; its name does not.
      return `no answer (${error instanceof Error ? error.name : "error"})`;
    }
  }

  async #headers(key: string | undefined, timeoutMs: number): Promise<Record<string, string>> {
    const who = this.#options.credentials;
    const headers: Record<string, string> =
      "serviceKey" in who
        ? { "X-Service-Key": who.serviceKey, "X-App-Id": who.appId }
        : { Authorization: `Bearer ${await who.token()}` };
    headers["Content-Type"] = "application/json";
    if (key !== undefined) {
      headers["Idempotency-Key"] = key;
      // How long the service may wait for a job before it answers that it is written down.
      headers["Prefer"] = `wait=${Math.max(0, Math.floor(timeoutMs / 1000 - 1))}`;
    }
    return headers;
  }
}

function commitKey(reservationId: string): string {
  return `commit-${reservationId}`;
}

function filled(path: string, values: object = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = (values as Record<string, unknown>)[name];
    if (typeof value !== "string" || value === "") throw new TypeError(`the path needs ${name}`);
    return encodeURIComponent(value);
  });
}

function queried(values: object = {}): string {
  const said = Object.entries(values).filter(([, value]) => value !== undefined);
  return said.length ? `?${new URLSearchParams(said.map(([name, value]) => [name, String(value)]))}` : "";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The milliseconds of a `Retry-After`, in either of its forms; 0 for none that can be read. */
function retryAfterMs(said: string | null): number {
  if (said === null) return 0;
  if (/^\s*\d+\s*$/.test(said)) return Number(said) * 1000;
  const at = Date.parse(said);
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now());
}
