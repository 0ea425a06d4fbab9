// A thin layer over fetch: keys, retries, time-outs, typed errors, and reservations that end.
import { refusal, Unconfirmed } from "./errors.js";
import { OPERATIONS } from "./schema.js";
const RETRIED = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Answers about who asks: they say nothing of what an attempt before did, whose answer was lost. */
const NOT_LET_IN = new Set([401, 403]);
const PAUSE_MS_MAX = 5_000;
/** Calls the credit service. Every call rejects with `Refused` or `Unconfirmed`. */
export class CreditsClient {
    #options;
    constructor(options) {
        const { username, protocol } = new URL(options.baseUrl);
        if (!/^https?:$/.test(protocol) || username)
            throw new TypeError("baseUrl is http(s)://host, without a name");
        // fetch would show a header that it cannot send.
        const secret = "serviceKey" in options.credentials ? options.credentials.serviceKey : "unset";
        if (!/^[!-~]+$/.test(secret))
            throw new TypeError("serviceKey is empty, or has signs that no header can hold");
        this.#options = { timeoutMs: 5_000, firstPauseMs: 100, deadlineMs: 20_000, ...options };
    }
    /** Call an operation of the OpenAPI document by its id. */
    async call(name, parts) {
        const { method, path, takesKey } = OPERATIONS[name];
        const said = parts;
        // Left out in silence, it would make a repeat look harmless that is not.
        if (!takesKey && said.key !== undefined)
            throw new TypeError(`${name} takes no key`);
        const key = takesKey ? (said.body?.idempotencyKey ?? said.key ?? crypto.randomUUID()) : undefined;
        const url = this.#options.baseUrl.replace(/\/+$/, "") + filled(path, said.path) + queried(said.query);
        const body = said.body && JSON.stringify(said.body);
        const endsAt = Date.now() + this.#options.deadlineMs;
        let defects = 0;
        for (let count = 1;; count += 1) {
            const left = Math.max(50, Math.min(this.#options.timeoutMs, endsAt - Date.now()));
            const headers = await this.#headers(key, left).catch((cause) => {
                // An attempt before this one may have taken effect: its key is not lost.
                throw new Unconfirmed(`${name}: no token`, key, count, { cause });
            });
            const result = await this.#send(url, { method, headers, ...(body === undefined ? {} : { body }) }, left);
            if (typeof result !== "string" && !RETRIED.has(result.status)) {
                if (count > 1 && NOT_LET_IN.has(result.status)) {
                    throw new Unconfirmed(`${name}: the service answered ${result.status}`, key, count);
                }
                if (result.status >= 400 && result.status < 500)
                    throw refusal(result.status, result.json, result.requestId);
                const isAnswer = result.status >= 200 && result.status < 300 && typeof result.json === "object" && result.json;
                if (isAnswer)
                    return result.json;
                throw new Unconfirmed(`${name}: what answered ${result.status} is not the credit service`, key, count);
            }
            const problem = typeof result === "string" ? result : `the service answered ${result.status}`;
            const asked = typeof result === "string" ? 0 : result.retryAfterMs;
            const backoff = Math.min(PAUSE_MS_MAX, this.#options.firstPauseMs * 2 ** (count - 1));
            // Between half of it and all of it: callers who failed together do not come back together.
            const pause = Math.max(asked, backoff * (0.5 + Math.random() / 2));
            if (typeof result !== "string" && result.status === 500)
                defects += 1;
            if (defects > 1 || Date.now() + pause >= endsAt)
                throw new Unconfirmed(`${name}: ${problem}`, key, count);
            await new Promise((resolve) => setTimeout(resolve, pause));
        }
    }
    /**
     * Set credits aside for `work`: committed when it resolves, put back when it rejects. A commit that cannot be confirmed,
     * here or in `work`, rejects with `Unconfirmed`; the reservation stands until it expires, and `commit` may be repeated
     * until then.
     */
    async withReservation(reservation, work) {
        const reserved = await this.call("internalReserve", { body: reservation });
        let result;
        try {
            result = await work(reserved);
        }
        catch (error) {
            const isLostCommit = error instanceof Unconfirmed && error.key === commitKey(reserved.reservationId);
            // The work's own error stays the one that is thrown: the credits go back when the reservation expires.
            if (!isLostCommit)
                await this.putBack(reserved.reservationId).catch(() => undefined);
            throw error;
        }
        await this.commit(reserved.reservationId);
        return result;
    }
    /** Spend what was set aside. The reservation is the key: a second commit of it is the first. */
    async commit(reservationId) {
        return this.call("internalCommit", { body: { reservationId }, key: commitKey(reservationId) });
    }
    /** Give back what was set aside. The reservation is the key. */
    async putBack(reservationId) {
        return this.call("internalRefundReservation", { body: { reservationId }, key: `put-back-${reservationId}` });
    }
    async #send(url, request, timeoutMs) {
        try {
            const response = await fetch(url, { ...request, redirect: "manual", signal: AbortSignal.timeout(timeoutMs) });
            const text = await response.text();
            return {
                status: response.status,
                json: parsed(text),
                retryAfterMs: retryAfterMs(response.headers.get("retry-after")),
                requestId: response.headers.get("x-request-id") ?? undefined,
            };
        }
        catch (error) {
            // Its message may hold what was sent; its name does not.
            return `no answer (${error instanceof Error ? error.name : "error"})`;
        }
    }
    async #headers(key, timeoutMs) {
        const who = this.#options.credentials;
        const headers = "serviceKey" in who
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
function commitKey(reservationId) {
    return `commit-${reservationId}`;
}
function filled(path, values = {}) {
    return path.replace(/\{(\w+)\}/g, (_, name) => {
        const value = values[name];
        if (typeof value !== "string" || value === "")
            throw new TypeError(`the path needs ${name}`);
        return encodeURIComponent(value);
    });
}
function queried(values = {}) {
    const said = Object.entries(values).filter(([, value]) => value !== undefined);
    return said.length ? `?${new URLSearchParams(said.map(([name, value]) => [name, String(value)]))}` : "";
}
function parsed(text) {
    try {
        return JSON.parse(text);
    }
    catch {
        return undefined;
    }
}
/** The milliseconds of a `Retry-After`, in either of its forms; 0 for none that can be read. */
function retryAfterMs(said) {
    if (said === null)
        return 0;
    if (/^\s*\d+\s*$/.test(said))
        return Number(said) * 1000;
    const at = Date.parse(said);
    return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now());
}
