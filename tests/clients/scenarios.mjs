// What the tests of the TypeScript client have it do: `node scenarios.mjs NAME URL KEY DEADLINE` prints the outcome as JSON.
import * as credits from "../../clients/typescript/dist/index.js";

const [, , name, baseUrl, secret, deadlineMs] = process.argv;
const times = { timeoutMs: 4_000, firstPauseMs: 20, deadlineMs: Number(deadlineMs) };
const client = new credits.CreditsClient({ baseUrl, credentials: { serviceKey: secret, appId: "chat" }, ...times });
const use = (amount, more = {}) =>
  client.call("internalUse", { body: { userId: "anna", amount, appId: "chat", description: "AI message" }, ...more });

async function error(work) {
  try {
    await work();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("nothing was thrown");
}

const scenarios = {
  async walk() {
    const used = await use(2.1);
    await client.call("internalRefund", { body: { userId: "anna", amount: 0.1, description: "no answer" } });
    const has = await client.call("internalBalance", { path: { userId: "anna" } });
    return { amount: used.transaction.amount, balance: has.balance };
  },
  async spend() {
    const used = await use(5);
    return { wasDoneBefore: used.newBalance === undefined, key: used.transaction.idempotencyKey };
  },
  async batch() {
    const item = { userId: "anna", amount: 2, appId: "chat", description: "AI message" };
    const spend = () => client.call("internalUseBatch", { body: { items: [item, item] }, key: "run-7" });
    const entries = async () => (await spend()).results.map((each) => each.transaction.id);
    const first = await entries();
    return { again: JSON.stringify(await entries()) === JSON.stringify(first), different: new Set(first).size };
  },
  async keyless() {
    const thrown = await error(() => client.call("internalInit", { body: { userId: "anna" }, key: "message-7" }));
    return String(thrown);
  },
  async reserve() {
    const seen = [];
    const balance = async () => seen.push((await client.call("internalBalance", { path: { userId: "anna" } })).balance);
    const wanted = { userId: "anna", amount: 5, reason: "research:run-7" };
    const result = await client.withReservation(wanted, async () => (await balance(), "done"));
    const thrown = await error(() => client.withReservation(wanted, async () => { throw new RangeError("model"); }));
    await balance();
    return { seen, result, thrown: thrown.name };
  },
  async lost_commit() {
    const wanted = { userId: "anna", amount: 5, reason: "research:run-7" };
    const nobody = { baseUrl: "http://127.0.0.1:1", credentials: { serviceKey: secret, appId: "chat" } };
    const unreachable = new credits.CreditsClient({ ...nobody, firstPauseMs: 20, deadlineMs: 200 });
    let id;
    const thrown = await error(() =>
      client.withReservation(wanted, async (reserved) => unreachable.commit((id = reserved.reservationId))),
    );
    await client.commit(id);
    return thrown.name;
  },
  async failing_put_back() {
    const wanted = { userId: "anna", amount: 5, reason: "research:run-7" };
    client.putBack = async () => { throw new TypeError("a defect"); };
    const thrown = await error(() => client.withReservation(wanted, async () => { throw new RangeError("model"); }));
    return thrown.name;
  },
  async refused() {
    const poor = await error(() => use(1000));
    await use(1, { key: "message-7" });
    const reused = await error(() => use(2, { key: "message-7" }));
    const bad = await error(() => use(-1));
    return {
      poor: [poor instanceof credits.InsufficientCredits, poor.required, poor.available, poor.status],
      reused: reused instanceof credits.IdempotencyKeyReused,
      bad: bad.details[0].field,
      has_request_id: Boolean(poor.requestId),
    };
  },
  async personal() {
    const own = new credits.CreditsClient({ baseUrl, credentials: { token: async () => secret }, ...times });
    return (await own.call("creditsBalance", {})).balance;
  },
  async token_lost() {
    const tokens = [secret];
    const token = async () => {
      if (tokens.length) return tokens.pop();
      throw new RangeError("the auth service is down");
    };
    const own = new credits.CreditsClient({ baseUrl, credentials: { token }, ...times });
    const body = { amount: 5, appId: "chat", description: "AI message" };
    const thrown = await error(() => own.call("creditsUse", { body }));
    tokens.push(...Array(1000).fill(secret));
    const used = await own.call("creditsUse", { body, key: thrown.key });
    return { name: thrown.name, cause: thrown.cause?.name, attempts: thrown.attempts, wasDoneBefore: used.newBalance === undefined };
  },
  async ask() {
    const began = Date.now();
    const thrown = await use(1).then(() => null, (reason) => reason);
    return { name: thrown?.name ?? null, seconds: (Date.now() - began) / 1000, attempts: thrown?.attempts ?? null, text: String(thrown?.stack) };
  },
  async unfit() {
    const made = await error(async () => new credits.CreditsClient({ baseUrl, credentials: { serviceKey: "top-secret\n", appId: "chat" } }));
    return String(made.stack);
  },
};

console.log(JSON.stringify(await scenarios[name]()));
