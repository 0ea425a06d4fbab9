// Whether a webhook came from the service: signatures of Standard Webhooks 1.0.0 (standardwebhooks.com).

/** How far a webhook's time may be from now, before or after: what the specification's own libraries take. */
export const TOLERANCE_SECONDS = 300;

/** The service sends a handful; whoever sends thousands wants us to compare. */
const SIGNATURES_MAX = 20;

/** The request is not a webhook of the service, or not one of now: answer 400 and do nothing. */
export class WebhookNotVerified extends Error {
  override name = "WebhookNotVerified";
}

/** What an app is told. */
export interface WebhookEvent {
  id: string;
  type: string;
  timestamp: string;
  sequence: number;
  data: Record<string, unknown>;
}

/**
 * The event, once a signature fits. `secrets` are the endpoint's, `whsec_…`: one, or several while one replaces another;
 * one that fits is enough. `body` is the raw body as it came. `nowSeconds`, in Unix seconds, is the clock unless given.
 * Throws WebhookNotVerified; TypeError for a secret that is none.
 */
export async function verifyWebhook(
  secrets: string | readonly string[],
  headers: Headers | Record<string, string | string[] | undefined>,
  body: Uint8Array | string,
  nowSeconds: number = Date.now() / 1000,
): Promise<WebhookEvent> {
  const keys = (typeof secrets === "string" ? [secrets] : secrets).map(keyOf);
  if (keys.length === 0) throw new TypeError("no secret was given");
  const raw = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const [id, timestamp, given] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => header(headers, name));
  const prefix = new TextEncoder().encode(`${id}.${timestamp}.`);
  const signed = new Uint8Array(prefix.length + raw.length);
  signed.set(prefix);
  signed.set(raw, prefix.length);
  if (!(await fitsOne(keys, signaturesOf(given ?? ""), signed))) throw new WebhookNotVerified("no signature fits");
  checkTime(timestamp ?? "", nowSeconds);
  return eventOf(raw);
}

/** `crypto.subtle.verify` compares in a time that says nothing of where they differ. */
async function fitsOne(keys: Uint8Array<ArrayBuffer>[], signatures: Uint8Array<ArrayBuffer>[], signed: Uint8Array<ArrayBuffer>) {
  let fits = false;
  for (const bytes of keys) {
    const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of signatures) fits = (await crypto.subtle.verify("HMAC", key, signature, signed)) || fits;
  }
  return fits;
}

function keyOf(secret: string): Uint8Array<ArrayBuffer> {
  const key = bytesOf(secret.replace(/^whsec_/, ""));
  // Not what was given: it may be a secret with a slip in it.
  if (!key?.length) throw new TypeError("a secret is whsec_ and base64, as the service told it");
  return key;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function header(headers: Headers | Record<string, string | string[] | undefined>, name: string): string {
  const found =
    headers instanceof Headers
      ? headers.get(name)
      : Object.entries(headers).find(([other]) => other.toLowerCase() === name)?.[1];
  if (typeof found !== "string" || !found) throw new WebhookNotVerified(`there is no ${name}`);
  return found;
}

/** Those of version 1; others, of versions to come, are passed over. */
function signaturesOf(value: string): Uint8Array<ArrayBuffer>[] {
  return value
    .split(" ", SIGNATURES_MAX)
    .filter((one) => one.startsWith("v1,"))
    .map((one) => bytesOf(one.slice(3)))
    .filter((one) => one !== undefined);
}

function checkTime(timestamp: string, nowSeconds: number): void {
  if (!/^[0-9]{1,12}$/.test(timestamp)) throw new WebhookNotVerified("webhook-timestamp is no time");
  if (Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) {
    throw new WebhookNotVerified("webhook-timestamp is more than five minutes away");
  }
}

function eventOf(raw: Uint8Array): WebhookEvent {
  let event: unknown;
  try {
    event = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw new WebhookNotVerified("the body is no JSON");
  }
  if (typeof event !== "object" || event === null || Array.isArray(event)) throw new WebhookNotVerified("the body is no event");
  return event as WebhookEvent;
}
